"""The suite `ed25519-x25519`: Ed25519 signatures (RFC 8032), HPKE over X25519 (RFC 9180, mode base).

    signing key   32 bytes, canonical and not of small order      signature   64 bytes, S < L (OpenSSL refuses others)
    sealing key   32 bytes, canonical and not of low order        sealed      32 bytes enc ‖ ciphertext ‖ 16 bytes tag
    HPKE          DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM

A key of small order would verify one signature for nearly every message; nobody makes one by accident.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from ._suite_code import OPEN_FAILURES, does_not_open

KEY_SIZE = 32
SIGNATURE_SIZE = 64

_FIELD = 2**255 - 19
_SIGN_BIT = 1 << 255
_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

# The y coordinates of the eight points of small order on edwards25519; the u coordinates of the same on curve25519,
# and of the one of order four on its twist.
_ORDER_EIGHT_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD - 1, _ORDER_EIGHT_Y, _FIELD - _ORDER_EIGHT_Y})
_LOW_ORDER_U = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)

# Loading a key costs little here; the bound only stops growth.
_CACHED_KEYS = 4096


class Ed25519X25519:
    """The suite's operations."""

    name = "ed25519-x25519"

    def check_keys(self, signing: bytes, sealing: bytes) -> None:
        y = _coordinate(signing, "signing") & ~_SIGN_BIT
        if y >= _FIELD or y in _SMALL_ORDER_Y:
            raise ValueError("its signing key is not canonical or of small order")
        u = _coordinate(sealing, "sealing")
        if u >= _FIELD or u in _LOW_ORDER_U:
            raise ValueError("its sealing key is not canonical or of low order")

    def verify(self, signing: bytes, message: bytes, signature: bytes) -> bool:
        try:
            _verifier(signing).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def seal(self, sealing: bytes, info: bytes, plaintext: bytes) -> bytes:
        return _HPKE.encrypt(plaintext, X25519PublicKey.from_public_bytes(sealing), info)

    def derive(self, sign_material: bytes, seal_material: bytes) -> Ed25519X25519Private:
        return Ed25519X25519Private(sign_material[:KEY_SIZE], seal_material[:KEY_SIZE])


class Ed25519X25519Private:
    """Both private keys, in memory."""

    __slots__ = ("_sealing", "_signing", "sealing_public", "signing_public")

    def __init__(self, signing: bytes, sealing: bytes) -> None:
        self._signing = Ed25519PrivateKey.from_private_bytes(signing)
        self._sealing = X25519PrivateKey.from_private_bytes(sealing)
        self.signing_public = self._signing.public_key().public_bytes_raw()
        self.sealing_public = self._sealing.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._signing.sign(message)

    def open(self, info: bytes, sealed: bytes) -> bytes:
        try:
            return _HPKE.decrypt(sealed, self._sealing, info)
        except OPEN_FAILURES as error:
            raise does_not_open() from error


def _coordinate(raw: bytes, use: str) -> int:
    if len(raw) != KEY_SIZE:
        raise ValueError(f"its {use} key has {len(raw)} bytes instead of {KEY_SIZE}")
    return int.from_bytes(raw, "little")


@lru_cache(_CACHED_KEYS)
def _verifier(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)
