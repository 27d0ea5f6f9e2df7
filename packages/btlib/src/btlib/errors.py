"""The errors of btlib, under the one root that every Blocktree package shares.

An error says who, what and why in its message, and the next step in its hint. Its `Kind` is what crosses a wire. Errors
about values (a path, a principal, a capability) are also `ValueError`s, so that a decoder can refuse them in place.
No error ever carries a secret: no key, seed, passphrase or recovery word, and no plaintext.
"""

from __future__ import annotations

from typing import ClassVar

from .kinds import Kind


class BlocktreeError(Exception):
    """Root of all errors of Blocktree.

    `message` is one sentence; `hint`, where there is one, names the next command or step; `str()` gives both.
    """

    default_kind: ClassVar[Kind] = Kind.INTERNAL

    def __init__(self, message: str, *, kind: Kind | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = self.default_kind if kind is None else kind
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}; {self.hint}"


class PathError(BlocktreeError, ValueError):
    """A text is no block path, or a name no name: the fault of whoever wrote it."""

    default_kind = Kind.INVALID


class PrincipalError(BlocktreeError, ValueError):
    """A text is no principal, or bytes are no public key set: the fault of whoever wrote or sent them."""

    default_kind = Kind.INVALID


class CredentialError(BlocktreeError):
    """Credentials cannot be used: wrong passphrase, damaged or missing file. The user can help."""

    default_kind = Kind.UNAUTHENTICATED


class SignatureError(BlocktreeError):
    """A signature does not match its message and key: the signer did not say this."""

    default_kind = Kind.INTEGRITY


class SealError(BlocktreeError):
    """A sealed text does not open: it is for another principal, for another purpose, or damaged."""

    default_kind = Kind.INTEGRITY


class CapabilityError(BlocktreeError, ValueError):
    """A capability does not allow this, or cannot be issued. The message names the principal, the path and the cap."""

    default_kind = Kind.FORBIDDEN


class PairingError(BlocktreeError):
    """An enrolment by a code did not come about: a wrong or used-up code, or a peer that does not keep the rules."""

    default_kind = Kind.PROTOCOL


class BlockError(BlocktreeError, ValueError):
    """A block is used beyond what it can be: our caller's fault."""

    default_kind = Kind.INVALID


class IntegrityError(BlocktreeError):
    """Stored bytes are not those that were signed: the fault of whoever kept or carried them."""

    default_kind = Kind.INTEGRITY
