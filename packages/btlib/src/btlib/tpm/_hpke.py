"""HPKE (RFC 9180) for a key that others hold: what is left to do when the chip has done the Diffie-Hellman. Pure.

    enc ‖ ciphertext = sealed                              dh = x coordinate of (private key · enc), from the chip
    shared           = LabeledExpand(LabeledExtract("", "eae_prk", dh), "shared_secret", enc ‖ own public key, 32)
    key, nonce       = key schedule (mode base) of shared and info

The library's HPKE takes private keys only as objects of its own, so section 4.1 (decapsulation) and 5.1 (key schedule)
are here, over the library's HKDF and AES-256-GCM. The tests compare with the library, and with a second writing.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .._suite_code import does_not_open

ENC_SIZE = 65  #: an uncompressed point of P-256

_KEY_SIZE = 32
_NONCE_SIZE = 12
_TAG_SIZE = 16
_HASH_SIZE = 32
_KEM = b"KEM" + b"\x00\x10"  # DHKEM(P-256, HKDF-SHA256)
_HPKE = b"HPKE" + b"\x00\x10" + b"\x00\x01" + b"\x00\x02"  # with HKDF-SHA256 and AES-256-GCM
_BASE = b"\x00"


def split_sealed(sealed: bytes) -> tuple[bytes, bytes]:
    """The encapsulated key, checked to be a point of the curve, and the ciphertext. Raises SealError."""
    enc, ciphertext = sealed[:ENC_SIZE], sealed[ENC_SIZE:]
    if len(enc) != ENC_SIZE or enc[0] != 4 or len(ciphertext) < _TAG_SIZE:
        raise does_not_open()
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
    except ValueError as error:
        raise does_not_open() from error
    return enc, ciphertext


def open_shared(dh: bytes, sealed: bytes, own: bytes, info: bytes) -> bytes:
    """The plaintext, given the Diffie-Hellman result for the sealed bytes. `own`: compressed. Raises SealError."""
    enc, ciphertext = split_sealed(sealed)
    secret = _extract(_KEM, b"", b"eae_prk", dh)
    shared = _expand(_KEM, secret, b"shared_secret", enc + _uncompressed(own), _HASH_SIZE)
    context = _BASE + _extract(_HPKE, b"", b"psk_id_hash", b"") + _extract(_HPKE, b"", b"info_hash", info)
    secret = _extract(_HPKE, shared, b"secret", b"")
    key = _expand(_HPKE, secret, b"key", context, _KEY_SIZE)
    nonce = _expand(_HPKE, secret, b"base_nonce", context, _NONCE_SIZE)
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, b"")
    except InvalidTag as error:
        raise does_not_open() from error


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    mac = HMAC(salt or bytes(_HASH_SIZE), SHA256())
    mac.update(b"HPKE-v1" + suite + label + material)
    return mac.finalize()


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    full = size.to_bytes(2) + b"HPKE-v1" + suite + label + info
    return HKDFExpand(algorithm=SHA256(), length=size, info=full).derive(secret)


def _uncompressed(point: bytes) -> bytes:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
