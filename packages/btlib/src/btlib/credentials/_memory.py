"""Credentials in memory, for tests and for processes that live shortly. Gone with the process."""

from __future__ import annotations

import hmac

from ..errors import CredentialError
from ..identity import Identity
from ..kinds import Kind
from ..public_keys import PublicKeys, Suite
from ..writecaps import Chain
from ._format import check_passphrase
from ._interface import Credentials


class MemoryCredentialStore:
    """A `CredentialStore` that checks the passphrase but encrypts nothing."""

    def __init__(self) -> None:
        self._kept: tuple[Credentials, bytes] | None = None

    def exists(self) -> bool:
        """See `CredentialStore`."""
        return self._kept is not None

    def public(self) -> PublicKeys:
        """See `CredentialStore`."""
        return self._held()[0].public

    def save(self, credentials: Credentials, passphrase: str, *, replace: bool = False) -> None:
        """See `CredentialStore`."""
        if self._kept is not None and not replace:
            raise CredentialError("credentials are kept here already", kind=Kind.EXISTS)
        self._kept = credentials, check_passphrase(passphrase)

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

    def _held(self) -> tuple[Credentials, bytes]:
        if self._kept is None:
            raise CredentialError("there are no credentials here", kind=Kind.NOT_FOUND)
        return self._kept

    def _load(self, passphrase: str) -> Credentials:
        credentials, expected = self._held()
        if not hmac.compare_digest(check_passphrase(passphrase), expected):
            raise CredentialError("this is not the passphrase of these credentials", hint="try again")
        return credentials

    def __repr__(self) -> str:
        return f"MemoryCredentialStore({'full' if self.exists() else 'empty'})"
