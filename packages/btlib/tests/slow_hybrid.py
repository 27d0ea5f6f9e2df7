"""The compositions of the suite `hybrid-pq`, written from their drafts over plain primitives. To check the code's by.

X-Wing (draft-connolly-cfrg-xwing-kem) inside HPKE (draft-ietf-hpke-pq), and the composite signature of ML-DSA-65 and
Ed25519 (draft-ietf-lamps-pq-composite-sigs). ML-KEM, ML-DSA and the curves themselves are the library's.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .slow_hpke import AES_256_GCM, SlowHpke

XWING = 0x647A
ENC_SIZE = 1088 + 32
_XWING_LABEL = b"\\.//^\\"


def xwing_private(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])


def xwing_public(seed: bytes) -> bytes:
    lattice, classic = xwing_private(seed)
    return lattice.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()


def xwing_encapsulate(public: bytes, ephemeral: bytes) -> tuple[bytes, bytes]:
    """The shared secret and its encapsulation; the lattice half takes its randomness from the library."""
    lattice = MLKEM768PublicKey.from_public_bytes(public[:1184])
    own = X25519PrivateKey.from_private_bytes(ephemeral)
    secret, ciphertext = lattice.encapsulate()
    exchanged = own.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    sent = own.public_key().public_bytes_raw()
    return _combine(secret, exchanged, sent, public[1184:]), ciphertext + sent


def xwing_decapsulate(seed: bytes, enc: bytes) -> bytes:
    lattice, classic = xwing_private(seed)
    secret = lattice.decapsulate(enc[:1088])
    exchanged = classic.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    return _combine(secret, exchanged, enc[1088:], classic.public_key().public_bytes_raw())


def _combine(lattice: bytes, classic: bytes, sent: bytes, public: bytes) -> bytes:
    return hashlib.sha3_256(lattice + classic + sent + public + _XWING_LABEL).digest()


class SlowHybridHpke:
    """HPKE, mode base, single shot, over X-Wing: its shared secret goes into the key schedule as it is."""

    def seal(self, public: bytes, ephemeral: bytes, info: bytes, aad: bytes, plain: bytes) -> bytes:
        shared, enc = xwing_encapsulate(public, ephemeral)
        key, nonce = SlowHpke(XWING, AES_256_GCM).schedule(shared, info)
        return enc + AESGCM(key).encrypt(nonce, plain, aad)

    def open(self, private: bytes, info: bytes, aad: bytes, sealed: bytes) -> bytes:
        shared = xwing_decapsulate(private, sealed[:ENC_SIZE])
        key, nonce = SlowHpke(XWING, AES_256_GCM).schedule(shared, info)
        return AESGCM(key).decrypt(nonce, sealed[ENC_SIZE:], aad)


def representative(message: bytes) -> bytes:
    """What both halves of a composite signature sign, with an empty context."""
    label = b"COMPSIG-MLDSA65-Ed25519-SHA512"
    return b"CompositeAlgorithmSignatures2025" + label + b"\0" + hashlib.sha512(message).digest()


def composite_public(private: bytes) -> bytes:
    lattice, classic = _signing_keys(private)
    return lattice.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()


def composite_sign(private: bytes, message: bytes) -> bytes:
    """`private` is the seed of ML-DSA, then that of Ed25519."""
    lattice, classic = _signing_keys(private)
    text = representative(message)
    return lattice.sign(text, b"COMPSIG-MLDSA65-Ed25519-SHA512") + classic.sign(text)


def composite_verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Raises InvalidSignature unless both halves hold."""
    text = representative(message)
    lattice = MLDSA65PublicKey.from_public_bytes(public[:1952])
    lattice.verify(signature[:3309], text, b"COMPSIG-MLDSA65-Ed25519-SHA512")
    Ed25519PublicKey.from_public_bytes(public[1952:]).verify(signature[3309:], text)


def _signing_keys(private: bytes) -> tuple[MLDSA65PrivateKey, Ed25519PrivateKey]:
    return MLDSA65PrivateKey.from_seed_bytes(private[:32]), Ed25519PrivateKey.from_private_bytes(private[32:])
