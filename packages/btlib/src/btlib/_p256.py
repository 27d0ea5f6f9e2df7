"""The suite `p256`: ECDSA with SHA-256 over P-256 (FIPS 186-5), HPKE over P-256 (RFC 9180, mode base).

A TPM can hold such keys.

    signing key   33 bytes, compressed point                      signature   r ‖ s, 32 bytes each, big-endian, s ≤ n/2
    sealing key   33 bytes, compressed point                      sealed      65 bytes enc ‖ ciphertext ‖ 16 bytes tag
    HPKE          DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM

Of the two valid values of s only the lower is accepted, so that a signature cannot be turned into another one.
Signatures made here are deterministic (RFC 6979); a TPM's are random, and just as valid.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ._suite_code import OPEN_FAILURES, does_not_open

KEY_SIZE = 33
SIGNATURE_SIZE = 64
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_HALF = SIGNATURE_SIZE // 2
_SCALAR_MATERIAL = 48  # bytes for an unbiased scalar: FIPS 186-5, A.2.1 asks for 64 bits more than the order has
_CURVE = ec.SECP256R1()
_VERIFY = ec.ECDSA(SHA256())
_SIGN = ec.ECDSA(SHA256(), deterministic_signing=True)
_HPKE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

# Decompressing a point costs a third of a verification; the keys that come up again and again are few.
_CACHED_KEYS = 4096


class P256:
    """The suite's operations."""

    name = "p256"

    def check_keys(self, signing: bytes, sealing: bytes) -> None:
        for raw, use in ((signing, "signing"), (sealing, "sealing")):
            if len(raw) != KEY_SIZE or raw[0] not in (2, 3):
                raise ValueError(f"its {use} key is no compressed point of {KEY_SIZE} bytes")
            try:
                _load(raw)
            except ValueError as error:
                raise ValueError(f"its {use} key is no point of the curve") from error

    def verify(self, signing: bytes, message: bytes, signature: bytes) -> bool:
        if len(signature) != SIGNATURE_SIZE:
            return False
        r, s = int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:])
        if not (0 < r < ORDER and 0 < s <= ORDER // 2):
            return False
        try:
            _load(signing).verify(encode_dss_signature(r, s), message, _VERIFY)
        except InvalidSignature:
            return False
        return True

    def seal(self, sealing: bytes, info: bytes, plaintext: bytes) -> bytes:
        return _HPKE.encrypt(plaintext, _load(sealing), info)

    def derive(self, sign_material: bytes, seal_material: bytes) -> P256Private:
        return P256Private(scalar(sign_material), scalar(seal_material))


class P256Private:
    """Both private keys, in memory."""

    __slots__ = ("_sealing", "_signing", "sealing_public", "signing_public")

    def __init__(self, signing: int, sealing: int) -> None:
        self._signing = ec.derive_private_key(signing, _CURVE)
        self._sealing = ec.derive_private_key(sealing, _CURVE)
        self.signing_public = _compressed(self._signing.public_key())
        self.sealing_public = _compressed(self._sealing.public_key())

    def sign(self, message: bytes) -> bytes:
        return canonical_signature(self._signing.sign(message, _SIGN))

    def open(self, info: bytes, sealed: bytes) -> bytes:
        try:
            return _HPKE.decrypt(sealed, self._sealing, info)
        except OPEN_FAILURES as error:
            raise does_not_open() from error


def canonical_signature(der: bytes) -> bytes:
    """The one form of an ECDSA signature that verifies here, from the DER that libraries and chips give."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(_HALF) + min(s, ORDER - s).to_bytes(_HALF)


def scalar(material: bytes) -> int:
    """The private key that uniformly random bytes give."""
    return int.from_bytes(material[:_SCALAR_MATERIAL]) % (ORDER - 1) + 1


def _compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


@lru_cache(_CACHED_KEYS)
def _load(raw: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, raw)
