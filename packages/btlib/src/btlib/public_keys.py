"""Public key sets: what verifies a principal's signatures and what to seal to, and the principal's fingerprint.

    PublicKeys = suite U8 ‖ signing bytes ‖ sealing bytes        principal = SHA-256(PRINCIPAL label ‖ encoding)

The suite is chosen when the keys are made and is part of what the principal is, so there is nothing to downgrade.
A set that exists is valid: its keys are canonical, on their curves and of full order.
"""

from __future__ import annotations

import enum
from functools import cached_property

import msgspec
from btserde import DecodeError, decode, encode

from ._ed25519 import Ed25519X25519
from ._hybrid import HybridPq
from ._p256 import P256
from ._suite_code import SuiteCode
from .errors import PrincipalError, SignatureError
from .labels import Label, tagged_hash
from .principals import Principal


class Suite(enum.Enum):
    """A set of algorithms. The numbers are part of the formats: add, never change."""

    ED25519_X25519 = 1  #: the default of software
    P256 = 2  #: what a TPM can hold
    HYBRID_PQ = 3  #: classic and post-quantum at once, for what must stay secret or proven for decades

    @property
    def text(self) -> str:
        """The name in commands and documents."""
        return suite_code(self).name

    @classmethod
    def parse(cls, text: str) -> Suite:
        """The suite of that name. Raises PrincipalError that lists the names."""
        for suite in cls:
            if suite.text == text:
                return suite
        names = ", ".join(suite.text for suite in cls)
        raise PrincipalError(f"there is no key suite {text[:40]!a}", hint=f"choose one of {names}")


_CODE: dict[Suite, SuiteCode] = {
    Suite.ED25519_X25519: Ed25519X25519(),
    Suite.P256: P256(),
    Suite.HYBRID_PQ: HybridPq(),
}


def suite_code(suite: Suite) -> SuiteCode:
    """The operations of a suite."""
    return _CODE[suite]


class PublicKeys(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The public half of a principal's keys."""

    suite: Suite
    signing: bytes
    sealing: bytes

    def __post_init__(self) -> None:
        try:
            suite_code(self.suite).check_keys(self.signing, self.sealing)
        except ValueError as error:
            raise PrincipalError(f"not a public key set of suite {self.suite.text}: {error}") from error

    @classmethod
    def decode(cls, data: bytes) -> PublicKeys:
        """From its encoding. Raises PrincipalError."""
        try:
            return decode(data, cls)
        except DecodeError as error:
            raise PrincipalError(f"not a public key set: {error}") from error

    @cached_property
    def principal(self) -> Principal:
        """Whose keys these are."""
        return Principal(tagged_hash(Label.PRINCIPAL, encode(self)))

    def verify(self, label: Label, message: bytes, signature: bytes) -> None:
        """Return if this principal signed `message` for this purpose; raise SignatureError otherwise."""
        if not suite_code(self.suite).verify(self.signing, label.value + message, signature):
            raise SignatureError(f"the {label.name.lower()} signature is not by {self.principal}")

    def seal(self, label: Label, info: bytes, plaintext: bytes) -> bytes:
        """Encrypt for this principal alone (HPKE base, fresh randomness each time).

        `info` is not contained in the result; whoever opens it must name the same. Says nothing about who sealed.
        """
        return suite_code(self.suite).seal(self.sealing, label.value + info, plaintext)

    def __repr__(self) -> str:
        return f"PublicKeys({self.suite.text}, {self.principal})"
