"""Credentials in a file. The shell around `_format`: reads, writes and says in errors which file is meant."""

from __future__ import annotations

import secrets
from pathlib import Path

from ..identity import Identity
from ..public_keys import PublicKeys, Suite
from ..writecaps import Chain
from . import _format
from ._format import DEFAULT_COST, PassphraseCost
from ._interface import Credentials
from ._kept import read_kept, write_kept


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
        write_kept(self.path, content, replace=replace)

    def generate(self, suite: Suite, passphrase: str) -> PublicKeys:
        """See `CredentialStore`."""
        credentials = Credentials.generate(suite)
        self.save(credentials, passphrase)
        return credentials.public

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
        """See `CredentialStore`."""
        return self._load(passphrase)

    def _load(self, passphrase: str) -> Credentials:
        return _format.open_credentials(self._read(), passphrase, str(self.path))

    def _read(self) -> bytes:
        return read_kept(self.path, _format.MAX_FILE_BYTES)

    def __repr__(self) -> str:
        return f"FileCredentialStore({str(self.path)!r})"
