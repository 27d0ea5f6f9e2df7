"""HPKE (RFC 9180), mode base, single shot, written from the RFC over plain primitives. To check the library's by.

With the ephemeral key as an argument, so that its results can be compared with published ones.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

X25519, P256 = 0x0020, 0x0010
HKDF_SHA256 = 0x0001
AES_128_GCM, AES_256_GCM = 0x0001, 0x0002
KEY_SIZE = {AES_128_GCM: 16, AES_256_GCM: 32}
ENC_SIZE = {X25519: 32, P256: 65}


@dataclass(frozen=True)
class SlowHpke:
    """One suite of KEM and AEAD; the KDF is HKDF-SHA256."""

    kem: int
    aead: int

    def seal(self, public: bytes, ephemeral: bytes, info: bytes, aad: bytes, plain: bytes) -> bytes:
        """enc ‖ ciphertext, for a serialized public key of the recipient."""
        enc = public_of(self.kem, ephemeral)
        shared = self._shared(exchange(self.kem, ephemeral, public), enc, public)
        key, nonce = self.schedule(shared, info)
        return enc + AESGCM(key).encrypt(nonce, plain, aad)

    def open(self, private: bytes, info: bytes, aad: bytes, sealed: bytes) -> bytes:
        enc, ciphertext = sealed[: ENC_SIZE[self.kem]], sealed[ENC_SIZE[self.kem] :]
        shared = self._shared(exchange(self.kem, private, enc), enc, public_of(self.kem, private))
        key, nonce = self.schedule(shared, info)
        return AESGCM(key).decrypt(nonce, ciphertext, aad)

    def _shared(self, dh: bytes, enc: bytes, public: bytes) -> bytes:
        suite = b"KEM" + self.kem.to_bytes(2)
        secret = labeled_extract(suite, b"", b"eae_prk", dh)
        return labeled_expand(suite, secret, b"shared_secret", enc + public, 32)

    def schedule(self, shared: bytes, info: bytes) -> tuple[bytes, bytes]:
        suite = b"HPKE" + self.kem.to_bytes(2) + HKDF_SHA256.to_bytes(2) + self.aead.to_bytes(2)
        context = (
            b"\0" + labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
        )
        secret = labeled_extract(suite, shared, b"secret", b"")
        key = labeled_expand(suite, secret, b"key", context, KEY_SIZE[self.aead])
        return key, labeled_expand(suite, secret, b"base_nonce", context, 12)


def labeled_extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def labeled_expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    full = size.to_bytes(2) + b"HPKE-v1" + suite + label + info
    block, out = b"", b""
    while len(out) < size:
        block = hmac.digest(secret, block + full + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:size]


def exchange(kem: int, private: bytes, public: bytes) -> bytes:
    if kem == X25519:
        own = x25519.X25519PrivateKey.from_private_bytes(private)
        return own.exchange(x25519.X25519PublicKey.from_public_bytes(public))
    other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    return ec.derive_private_key(int.from_bytes(private), ec.SECP256R1()).exchange(ec.ECDH(), other)


def public_of(kem: int, private: bytes) -> bytes:
    if kem == X25519:
        return x25519.X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    key = ec.derive_private_key(int.from_bytes(private), ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def uncompressed(public: bytes) -> bytes:
    """A P-256 public key in the form that HPKE uses."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
