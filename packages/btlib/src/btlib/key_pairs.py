"""Keys in memory: a `KeyPair` signs and opens as one principal.

    signing material = HKDF-SHA256(seed, no salt, SEED_SIGN label ‖ suite U8, 64 bytes)
    sealing material = HKDF-SHA256(seed, no salt, SEED_SEAL label ‖ suite U8, 64 bytes)

So 32 random bytes are the whole secret: they fit on paper as words, and make the same keys again at any time. A pair
shows neither seed nor keys in its representation, cannot be pickled or copied, and gives the seed to nobody.
"""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ._p256 import scalar
from ._suite_code import MATERIAL_SIZE
from .errors import CredentialError
from .labels import Label
from .public_keys import PublicKeys, Suite, suite_code

SEED_SIZE = 32


def random_seed() -> bytes:
    """A new secret, from the operating system's generator."""
    return secrets.token_bytes(SEED_SIZE)


class KeyPair:
    """Signs and opens as one principal, with keys in memory. Thread-safe."""

    __slots__ = ("_private", "public")

    def __init__(self, suite: Suite, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise CredentialError(f"a seed has {SEED_SIZE} bytes, not {len(seed)}")
        self._private = suite_code(suite).derive(
            _material(seed, Label.SEED_SIGN, suite), _material(seed, Label.SEED_SEAL, suite)
        )
        self.public = PublicKeys(
            suite=suite, signing=self._private.signing_public, sealing=self._private.sealing_public
        )

    @classmethod
    def generate(cls, suite: Suite = Suite.ED25519_X25519) -> KeyPair:
        """New keys that nobody can make again; for keys to keep, save the `random_seed` they come from."""
        return cls(suite, random_seed())

    @classmethod
    def from_seed(cls, suite: Suite, seed: bytes) -> KeyPair:
        """The keys that this seed always gives. Raises CredentialError unless it has 32 bytes."""
        return cls(suite, seed)

    def sign(self, label: Label, message: bytes) -> bytes:
        """See `Signer.sign`."""
        return self._private.sign(label.value + message)

    def open(self, label: Label, info: bytes, sealed: bytes) -> bytes:
        """See `Opener.open`."""
        return self._private.open(label.value + info, sealed)

    def __repr__(self) -> str:
        return f"KeyPair({self.public!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a KeyPair is not copied or pickled")


def p256_private_keys(seed: bytes) -> tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey]:
    """The signing and the sealing key that a seed gives in suite `p256`, to hand over to a chip."""
    materials = (_material(seed, label, Suite.P256) for label in (Label.SEED_SIGN, Label.SEED_SEAL))
    signing, sealing = (ec.derive_private_key(scalar(material), ec.SECP256R1()) for material in materials)
    return signing, sealing


def sealing_material(suite: Suite, seed: bytes) -> bytes:
    """What of a seed opens seals and signs nothing, for a group to hand to its members. A secret."""
    return _material(seed, Label.SEED_SEAL, suite)


def _material(seed: bytes, label: Label, suite: Suite) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=MATERIAL_SIZE, salt=None, info=label.value + bytes([suite.value]))
    return kdf.derive(seed)
