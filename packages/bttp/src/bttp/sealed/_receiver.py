"""How a subscriber opens what a broker delivers: each check in its order, and no delivery before the last. Pure.

    decode → may who signed it publish there → is the signature his → which group key → is it new → does it open

The work for a message is bounded by its length, whatever numbers stand in it; nothing is remembered of one that fails.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.verification import VerifiedLinks
from btlib.writecaps import Chain

from ._group_keys import topic_id
from ._message import Envelope, SessionKey, check
from ._order import Heard, Place
from ._ring import KeyRing

_SESSIONS = 256  # keys of sessions that are not derived anew for each message


class SealedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose publisher, topic, freshness and integrity were checked."""

    topic: BlockPath
    body: bytes
    publisher: Principal  #: who signed it
    chain: Chain  #: why it may publish there
    sent: float  #: unix time by the publisher's clock
    sequence: int
    missing: int = 0  #: of this publisher's session, since its last message here: lost, or kept back by the broker
    lost: int = 0  #: messages that the broker says this subscriber lost since the one before
    gap: bool = False  #: the subscription was interrupted before it


class Receiver:
    """One member's side of a topic and all below it. Not thread-safe."""

    def __init__(self, ring: KeyRing, max_age: int) -> None:
        self._ring, self._heard = ring, Heard(max_age)
        self._keys: OrderedDict[bytes, SessionKey] = OrderedDict()
        self._verified = VerifiedLinks()

    def open(self, data: bytes | memoryview, topic: BlockPath, now: int, revocations: Revocations) -> SealedMessage:
        """The message that came to `topic`. `now`: unix milliseconds. Raises RefusedMessageError, TopicKeyError."""
        envelope = Envelope.decode(data)
        credential = check(envelope, topic, now // 1000, revocations=revocations, verified=self._verified)
        key = self._ring.find(envelope.epoch, envelope.key_id, now // 1000)
        publisher = credential.public.principal
        place = Place(topic_id(topic) + publisher.digest + envelope.session, envelope.sequence, envelope.sent)
        missing = self._heard.judge(place, now)
        name = key.id + place.stream
        session = self._keys.get(name) or SessionKey(key, topic, publisher, envelope.session)
        body = session.open(envelope)
        self._heard.note(place)
        self._keep(name, session)
        return SealedMessage(
            topic=topic,
            body=body,
            publisher=publisher,
            chain=credential.chain,
            sent=envelope.sent / 1000,
            sequence=envelope.sequence,
            missing=missing,
        )

    def _keep(self, name: bytes, session: SessionKey) -> None:
        self._keys[name] = session
        self._keys.move_to_end(name)
        if len(self._keys) > _SESSIONS:
            self._keys.popitem(last=False)
