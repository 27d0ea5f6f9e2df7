"""A second implementation of `docs/spec/topics.md`, byte by byte from hashes, HMAC and AES-GCM.

It shares with the first only what btlib gives (signatures, seals, chains and their encodings).
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from btlib import Chain, Identity, PublicKeys
from btlib.labels import Label
from btserde import encode
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def topic_id(topic: str) -> bytes:
    return hashlib.sha256(b"blocktree/1 topic\0" + topic.encode()).digest()


def key_id(topic: str, epoch: int, key: bytes) -> bytes:
    return hashlib.sha256(b"blocktree/1 topic key id\0" + topic_id(topic) + struct.pack("<I", epoch) + key).digest()


def session_key(topic: str, epoch: int, key: bytes, publisher: bytes, session: bytes) -> bytes:
    """RFC 5869 with SHA-256: extract with 32 zeros for a salt, then one block of expand."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    info = b"blocktree/1 topic key\0" + topic_id(topic) + struct.pack("<I", epoch) + publisher + session
    return hmac.digest(extracted, info + b"\1", "sha256")


def length_of(data: bytes) -> bytes:
    """As btserde writes it."""
    if len(data) <= 252:
        return bytes([len(data)])
    assert len(data) < 2**16
    return b"\xfd" + struct.pack("<H", len(data))


def sized(data: bytes) -> bytes:
    return length_of(data) + data


def message(
    publisher: Identity,
    topic: str,
    key: bytes,
    epoch: int,
    session: bytes,
    sequence: int,
    sent: int,
    body: bytes,
    *,
    chain: Chain | None = None,
    group: str = "",
    signed_topic: str = "",
    key_of: bytes = b"",
    version: int = 1,
) -> bytes:
    """A sealed message. `group`: the topic of the group key, if it is another; `signed_topic`, `key_of`: lies."""
    principal = publisher.principal.digest
    header = struct.pack("<BI", version, epoch) + key_id(group or topic, epoch, key) + session
    header += struct.pack("<Qq", sequence, sent)
    bound = topic_id(signed_topic or topic) + principal + header
    secret = session_key(signed_topic or topic, epoch, key, key_of or principal, session)
    sealing = topic_id(signed_topic or topic) + (key_of or principal) + header
    sealed = AESGCM(secret).encrypt(struct.pack("<Q", sequence) + bytes(4), body, sealing)
    signature = publisher.signer.sign(Label.TOPIC_MESSAGE, bound + hashlib.sha256(sealed).digest())
    credential = encode(publisher.public) + encode(publisher.chains[0] if chain is None else chain)
    return header + sized(credential) + sized(signature) + sized(sealed)


def bundle_terms(
    topic: str, epoch: int, named_key: bytes, not_before: int, not_after: int, members: list[tuple[bytes, bytes]]
) -> bytes:
    """What a keeper signs; `members`: principals and seals, column by column as btserde writes records."""
    head = b"\1" + sized(topic.encode()) + struct.pack("<I", epoch) + named_key
    times = struct.pack("<qq", not_before, not_after)
    count = bytes([len(members)])
    whose = b"".join(who for who, _ in members)
    return head + times + count + whose + b"".join(length_of(seal) for _, seal in members) + _joined(members)


def _joined(members: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(seal for _, seal in members)


def bundle(keeper: Identity, terms: bytes, chain: Chain | None = None) -> bytes:
    signature = keeper.signer.sign(Label.TOPIC_KEYS, hashlib.sha256(terms).digest())
    keys: PublicKeys = keeper.public
    return terms + encode(keys) + encode(keeper.chains[0] if chain is None else chain) + sized(signature)
