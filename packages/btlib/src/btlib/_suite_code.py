"""What a suite of algorithms must be able to do; one module implements it for each suite.

Messages arrive here already labelled. Everything cryptographic is done by the `cryptography` package; this and the
suites' modules compose it, and refuse keys and signatures that have more than one form.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidTag

from .errors import SealError


class PrivateKeys(Protocol):
    """The secret half of a key set."""

    @property
    def signing_public(self) -> bytes: ...

    @property
    def sealing_public(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """Raises SealError."""
        ...


class SuiteCode(Protocol):
    """The operations of one suite on raw bytes."""

    @property
    def name(self) -> str: ...

    def check_keys(self, signing: bytes, sealing: bytes) -> None:
        """Raises ValueError unless both are canonical public keys of full order."""
        ...

    def verify(self, signing: bytes, message: bytes, signature: bytes) -> bool:
        """Whether this is the signature; the second form of a malleable one is not."""
        ...

    def seal(self, sealing: bytes, info: bytes, plaintext: bytes) -> bytes: ...

    def derive(self, sign_material: bytes, seal_material: bytes) -> PrivateKeys:
        """Private keys from two times `MATERIAL_SIZE` uniformly random bytes."""
        ...


# Two seeds of 32 bytes, as the hybrid suite's signing key takes them; the other suites use the beginning.
MATERIAL_SIZE = 64

# What the HPKE code raises on sealed bytes that do not open: a wrong tag, or an encapsulated key that is none.
OPEN_FAILURES = (InvalidTag, ValueError)


def does_not_open() -> SealError:
    """The one error of opening: nothing can be said about the cause."""
    return SealError("the sealed text does not open: it is for another principal or purpose, or damaged")
