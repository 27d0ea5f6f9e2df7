"""Sealed messages: sealed to the members of a topic, signed by their publisher, checked also without any key. Pure.

    message    = header (69) ‖ credential ‖ signature ‖ sealed                              encoded by btserde
    header     = format U8 ‖ epoch U32 ‖ key id (32) ‖ session (16) ‖ sequence U64 ‖ sent I64, unix milliseconds
    credential = publisher's public keys ‖ chain, that gives it WRITE at the topic
    bound      = topic id (32) ‖ publisher (32) ‖ header
    sealed     = AES-256-GCM(session key, nonce = sequence U64 ‖ 0 U32, body, associated data = bound)
    signature  by the publisher over     TOPIC_MESSAGE label ‖ bound ‖ SHA-256(sealed)

The topic does not stand in a message: it is where the message was published, and both seal and signature bind it. So is
the publisher in the seal, so that nobody can put his signature on what another has sealed. A session key seals one
sequence, and the sequence never repeats: nonces do not either.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from struct import Struct
from typing import Annotated

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.signing import Signer
from btlib.verification import VerifiedLinks
from btlib.writecaps import Chain
from btserde import I64, U8, U32, U64, DecodeError, Encoder, Fixed, Limits, View, decode
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .._frames import Buffer
from ._group_keys import GroupKey, topic_id
from ._writers import decide_writing
from .errors import RefusedMessageError

FORMAT = 1
MAX_CREDENTIAL = 64 * 1024  #: as an AUTH frame: eight post-quantum writecaps fit
MAX_MESSAGE = 64 * 1024 * 1024 + 128 * 1024  #: a body of a link, and what stands before it
MAX_SEQUENCE = 2**64 - 1

_HEADER = Struct("<BI32s16sQq")
_NONCE_TAIL = bytes(4)
_CREDENTIALS = 64  #: credentials that are decoded once; a topic has few publishers, and they are not checked yet

_LIMITS = Limits(max_size=MAX_MESSAGE)
_CREDENTIAL_LIMITS = Limits(max_size=MAX_CREDENTIAL, max_count=64)


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Who publishes, and why it may."""

    public: PublicKeys
    chain: Chain


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed message as it travels. One that exists is well-formed; whether it is genuine is for `check`."""

    format: U8 = FORMAT
    epoch: U32
    key_id: Annotated[bytes, Fixed[32]]
    session: Annotated[bytes, Fixed[16]]
    sequence: U64
    sent: I64  #: unix milliseconds, by the publisher's clock
    credential: bytes
    signature: bytes
    sealed: View

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise RefusedMessageError(f"there is no format {self.format} of sealed messages", kind=Kind.NOT_SUPPORTED)
        if len(self.credential) > MAX_CREDENTIAL:
            raise RefusedMessageError(f"a credential has at most {MAX_CREDENTIAL} bytes", kind=Kind.PROTOCOL)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Envelope:
        """From its encoding. Raises RefusedMessageError."""
        try:
            return decode(data, cls, _LIMITS)
        except (DecodeError, BlocktreeError) as error:
            raise RefusedMessageError(f"not a sealed message: {error}", kind=Kind.PROTOCOL) from error

    @property
    def header(self) -> bytes:
        return _HEADER.pack(self.format, self.epoch, self.key_id, self.session, self.sequence, self.sent)


_ENVELOPE: Encoder[Envelope] = Encoder(Envelope)
_CREDENTIAL: Encoder[Credential] = Encoder(Credential)


def encode_credential(credential: Credential) -> bytes:
    """Raises RefusedMessageError where the chain is too long for one."""
    data = _CREDENTIAL.encode(credential)
    if len(data) > MAX_CREDENTIAL:
        text = f"the chain of {credential.public.principal} has {len(data)} bytes, more than {MAX_CREDENTIAL}"
        raise RefusedMessageError(text, kind=Kind.TOO_LARGE, hint="publish with a shorter chain")
    return data


@lru_cache(_CREDENTIALS)
def decode_credential(data: bytes) -> Credential:
    """Raises RefusedMessageError."""
    try:
        return decode(data, Credential, _CREDENTIAL_LIMITS)
    except (DecodeError, BlocktreeError) as error:
        raise RefusedMessageError(f"a sealed message shows no publisher: {error}", kind=Kind.PROTOCOL) from error


class SessionKey:
    """What one publisher seals with, or what its messages of one session are opened with. Never shows its key."""

    __slots__ = ("_aead", "epoch", "key_id", "publisher", "session", "topic")

    def __init__(self, key: GroupKey, topic: BlockPath, publisher: Principal, session: bytes) -> None:
        self._aead = AESGCM(key.session_key(topic, publisher, session))
        self.epoch, self.key_id = key.epoch, key.id
        self.topic, self.publisher, self.session = topic, publisher, session

    def seal(self, signer: Signer, credential: bytes, sequence: int, sent: int, body: Buffer) -> bytes:
        """The message. `sequence` was never used with this key before; `credential` is the signer's, encoded."""
        header = _HEADER.pack(FORMAT, self.epoch, self.key_id, self.session, sequence, sent)
        bound = _bound(self.topic, self.publisher, header)
        sealed = self._aead.encrypt(_nonce(sequence), body, bound)
        envelope = Envelope(
            epoch=self.epoch,
            key_id=self.key_id,
            session=self.session,
            sequence=sequence,
            sent=sent,
            credential=credential,
            signature=signer.sign(Label.TOPIC_MESSAGE, bound + hashlib.sha256(sealed).digest()),
            sealed=sealed,
        )
        return _ENVELOPE.encode(envelope)

    def open(self, envelope: Envelope) -> bytes:
        """The body of a message whose signature was checked. Raises RefusedMessageError."""
        bound = _bound(self.topic, self.publisher, envelope.header)
        try:
            return self._aead.decrypt(_nonce(envelope.sequence), envelope.sealed, bound)
        except (InvalidTag, ValueError):
            text = f"a message of {self.publisher} to {self.topic} does not open, though it is signed"
            raise RefusedMessageError(text) from None


def check(
    envelope: Envelope,
    topic: BlockPath,
    now: int,
    *,
    revocations: Revocations = NO_REVOCATIONS,
    verified: VerifiedLinks | None = None,
) -> Credential:
    """Who published this to `topic`, and may. Needs no key: a broker can do it. Raises RefusedMessageError."""
    credential = decode_credential(envelope.credential)
    publisher = credential.public.principal
    decision = decide_writing(credential.chain, publisher, topic, now, revocations, verified)
    if not decision.allowed:
        raise RefusedMessageError(f"{publisher} may not publish to {topic}: {decision.reason}", kind=decision.kind)
    signed = _bound(topic, publisher, envelope.header) + hashlib.sha256(envelope.sealed).digest()
    try:
        credential.public.verify(Label.TOPIC_MESSAGE, signed, envelope.signature)
    except BlocktreeError as error:
        text = f"a message to {topic} is not what {publisher} signed for it: forged, damaged, or of another topic"
        raise RefusedMessageError(text) from error
    return credential


def _bound(topic: BlockPath, publisher: Principal, header: bytes) -> bytes:
    return topic_id(topic) + publisher.digest + header


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(8, "little") + _NONCE_TAIL
