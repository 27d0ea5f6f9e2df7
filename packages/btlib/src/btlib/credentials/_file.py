"""Credentials in a file. The shell around `_format`: reads, writes and says in errors which file is meant."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .._private_files import NotPrivateError, read_private, write_private
from ..errors import CredentialError
from ..identity import Identity
from ..kinds import Kind
from ..public_keys import PublicKeys
from ..writecaps import Chain
from . import _format
from ._format import DEFAULT_COST, PassphraseCost
from ._interface import Credentials


class FileCredentialStore:
    """A `CredentialStore` in one file of mode 0600. `cost` is that of files written from now on."""

    def __init__(self, path: Path, cost: PassphraseCost = DEFAULT_COST) -> None:
        self.path = path
        self._cost = cost

    def exists(self) -> bool:
        """See `CredentialStore`; true also for a damaged file."""
        return self.path.exists()

    def public(self) -> PublicKeys:
        """See `CredentialStore`."""
        return _format.read_public(self._read(), str(self.path))

    def save(self, credentials: Credentials, passphrase: str, *, replace: bool = False) -> None:
        """See `CredentialStore`."""
        salt, nonce = secrets.token_bytes(_format.SALT_SIZE), secrets.token_bytes(_format.NONCE_SIZE)
        content = _format.seal_credentials(credentials, passphrase, self._cost, salt=salt, nonce=nonce)
        try:
            write_private(self.path, content, replace=replace)
        except FileExistsError as error:
            raise CredentialError(
                f"{self.path} exists, and keys that are overwritten are lost",
                kind=Kind.EXISTS,
                hint="move it away first",
            ) from error
        except OSError as error:
            raise self._failed("written", error) from error

    def unlock(self, passphrase: str) -> Identity:
        """See `CredentialStore`."""
        return self._load(passphrase).identity()

    def add_chains(self, passphrase: str, *chains: Chain) -> Identity:
        """See `CredentialStore`."""
        credentials = self._load(passphrase).with_chains(*chains)
        self.save(credentials, passphrase, replace=True)
        return credentials.identity()

    def change_passphrase(self, old: str, new: str) -> None:
        """See `CredentialStore`."""
        self.save(self._load(old), new, replace=True)

    def reveal(self, passphrase: str) -> Credentials:
        """The secret itself, for writing it down as words; whoever uses keys takes `unlock`. Raises as that does."""
        return self._load(passphrase)

    def _load(self, passphrase: str) -> Credentials:
        return _format.open_credentials(self._read(), passphrase, str(self.path))

    def _read(self) -> bytes:
        try:
            return read_private(self.path, _format.MAX_FILE_BYTES)
        except FileNotFoundError as error:
            raise CredentialError(
                f"there are no credentials at {self.path}",
                kind=Kind.NOT_FOUND,
                hint="make a domain with bt init, or join one with bt enroll",
            ) from error
        except NotPrivateError as error:
            raise CredentialError(
                f"others may use {self.path}, which is for its owner alone", hint=f"run: chmod 600 {self.path}"
            ) from error
        except OSError as error:
            raise self._failed("read", error) from error

    def _failed(self, verb: str, error: OSError) -> CredentialError:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return CredentialError(f"{self.path} cannot be {verb}: {reason}", kind=Kind.IO)

    def __repr__(self) -> str:
        return f"FileCredentialStore({str(self.path)!r})"
