r"""The suite `hybrid-pq`: each half classic and post-quantum, so that both must be broken.

    signing key   1984 bytes   ML-DSA-65 (1952, FIPS 204) ‖ Ed25519 (32)
    signature     3373 bytes   ML-DSA-65 (3309) ‖ Ed25519 (64), both over the same representative; both must verify
    sealing key   1216 bytes   ML-KEM-768 (1184, FIPS 203) ‖ X25519 (32): an X-Wing key
    sealed        1120 bytes enc ‖ ciphertext ‖ 16 bytes tag
    HPKE          X-Wing (KEM 0x647a), HKDF-SHA256, AES-256-GCM

    representative = "CompositeAlgorithmSignatures2025" ‖ LABEL ‖ 0x00 ‖ SHA-512(message)
    LABEL          = "COMPSIG-MLDSA65-Ed25519-SHA512", also the context of the ML-DSA half

The signatures are id-MLDSA65-Ed25519-SHA512 of draft-ietf-lamps-pq-composite-sigs with an empty context, the seals
those of draft-ietf-hpke-pq. The representative keeps either half from counting as a signature of a suite of its own.
ML-DSA is hedged with fresh randomness, so two signatures of one message differ; only the keys make a second one.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from ._ed25519 import Ed25519X25519
from ._suite_code import OPEN_FAILURES, does_not_open

MLDSA_KEY_SIZE = 1952
MLDSA_SIGNATURE_SIZE = 3309
MLKEM_KEY_SIZE = 1184
CLASSIC_KEY_SIZE = 32
CLASSIC_SIGNATURE_SIZE = 64
SIGNING_KEY_SIZE = MLDSA_KEY_SIZE + CLASSIC_KEY_SIZE
SEALING_KEY_SIZE = MLKEM_KEY_SIZE + CLASSIC_KEY_SIZE
SIGNATURE_SIZE = MLDSA_SIGNATURE_SIZE + CLASSIC_SIGNATURE_SIZE

LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
_PREFIX = b"CompositeAlgorithmSignatures2025" + LABEL + b"\0"
_SEED_SIZE = 32
_MLKEM_SEED_SIZE = 64
_HPKE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_CLASSIC = Ed25519X25519()

# Some 20 KB each: what a domain's daily work meets stays below.
_CACHED_KEYS = 256


class HybridPq:
    """The suite's operations."""

    name = "hybrid-pq"

    def check_keys(self, signing: bytes, sealing: bytes) -> None:
        # Each string of its size is an ML-DSA key; an ML-KEM key's coefficients must be below its modulus.
        for raw, size, use in ((signing, SIGNING_KEY_SIZE, "signing"), (sealing, SEALING_KEY_SIZE, "sealing")):
            if len(raw) != size:
                raise ValueError(f"its {use} key has {len(raw)} bytes instead of {size}")
        _CLASSIC.check_keys(signing[MLDSA_KEY_SIZE:], sealing[MLKEM_KEY_SIZE:])
        try:
            _recipient(sealing)
        except ValueError as error:
            raise ValueError("its sealing key is not canonical") from error

    def verify(self, signing: bytes, message: bytes, signature: bytes) -> bool:
        if len(signature) != SIGNATURE_SIZE:
            return False
        text = _representative(message)
        if not _CLASSIC.verify(signing[MLDSA_KEY_SIZE:], text, signature[MLDSA_SIGNATURE_SIZE:]):
            return False
        try:
            _verifier(signing[:MLDSA_KEY_SIZE]).verify(signature[:MLDSA_SIGNATURE_SIZE], text, LABEL)
        except InvalidSignature:
            return False
        return True

    def seal(self, sealing: bytes, info: bytes, plaintext: bytes) -> bytes:
        return _HPKE.encrypt(plaintext, _recipient(sealing), info)

    def derive(self, sign_material: bytes, seal_material: bytes) -> HybridPqPrivate:
        return HybridPqPrivate(sign_material[: 2 * _SEED_SIZE], seal_material[:_SEED_SIZE])


class HybridPqPrivate:
    """All four private keys, in memory."""

    __slots__ = ("_classic", "_lattice", "_sealing", "sealing_public", "signing_public")

    def __init__(self, signing: bytes, sealing: bytes) -> None:
        self._lattice = MLDSA65PrivateKey.from_seed_bytes(signing[:_SEED_SIZE])
        self._classic = Ed25519PrivateKey.from_private_bytes(signing[_SEED_SIZE:])
        lattice, classic = _expand(sealing)
        self._sealing = MLKEM768X25519PrivateKey(lattice, classic)
        self.signing_public = (
            self._lattice.public_key().public_bytes_raw() + self._classic.public_key().public_bytes_raw()
        )
        self.sealing_public = lattice.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        text = _representative(message)
        return self._lattice.sign(text, LABEL) + self._classic.sign(text)

    def open(self, info: bytes, sealed: bytes) -> bytes:
        try:
            return _HPKE.decrypt(sealed, self._sealing, info)
        except OPEN_FAILURES as error:
            raise does_not_open() from error


def _representative(message: bytes) -> bytes:
    return _PREFIX + hashlib.sha512(message).digest()


def _expand(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """Both private keys of an X-Wing decapsulation key, which is 32 bytes (draft-connolly-cfrg-xwing-kem, 5.2)."""
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_SIZE + CLASSIC_KEY_SIZE)
    lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_SIZE])
    return lattice, X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_SIZE:])


@lru_cache(_CACHED_KEYS)
def _verifier(raw: bytes) -> MLDSA65PublicKey:
    return MLDSA65PublicKey.from_public_bytes(raw)


@lru_cache(_CACHED_KEYS)
def _recipient(raw: bytes) -> MLKEM768X25519PublicKey:
    lattice = MLKEM768PublicKey.from_public_bytes(raw[:MLKEM_KEY_SIZE])
    return MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(raw[MLKEM_KEY_SIZE:]))
