"""`SealedTopic`: one member's side of a topic whose broker cannot read it. Thread-safe; it does no I/O.

What it seals goes through a link by `Publisher`, what it opens comes from `subscribe`, in async code or in
`bttp.blocking.sealed`. Keep one for as long as the topic matters: it remembers what was heard, over all links.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import msgspec
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import VerifiedLinks

from .._frames import Buffer
from .._router import Request
from .._topics import Message
from ._group_keys import SESSION_SIZE
from ._message import Envelope, check
from ._receiver import Receiver, SealedMessage
from ._ring import KeyRing
from ._sender import Sender

MAX_AGE = 300.0  #: seconds that the first message of a session may be old: clocks differ, links are slow


def _nothing_revoked(_root: Principal) -> Revocations:
    return NO_REVOCATIONS


class SealedTopic:
    """A topic (and all below it) as one of its members has it.

    Read it by one subscription at a time: a message that came by two would be taken for a replay.
    """

    def __init__(
        self,
        path: BlockPath,
        identity: Identity,
        keys: Buffer | None = None,
        *,
        max_age: float = MAX_AGE,
        revocations: Callable[[Principal], Revocations] = _nothing_revoked,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keys`: a bundle of its keeper, if one is at hand. `max_age`: see MAX_AGE. `clock` gives unix time.

        Raises TopicKeyError for a bundle that is not good.
        """
        self.path, self.identity = path, identity
        self._revocations, self._clock = revocations, clock
        self._ring = KeyRing(path, identity.opener)
        self._receiver = Receiver(self._ring, int(max_age * 1000))
        self._lock = threading.Lock()
        if keys is not None:
            self.take_keys(keys)

    @property
    def epoch(self) -> int:
        """Of the newest group key that it holds; 0: it holds none."""
        with self._lock:
            return self._ring.epoch

    def take_keys(self, bundle: Buffer) -> int:
        """Seal under the key of this bundle from now on; its epoch. Raises TopicKeyError; nothing changes then."""
        with self._lock:
            return self._ring.take(bytes(bundle), int(self._clock()), self._revoked()).epoch

    def open(self, message: Message) -> SealedMessage:
        """What a subscription delivered, checked. Raises RefusedMessageError; TopicKeyError of kind STALE for one that
        opens with newer keys."""
        with self._lock:
            opened = self._receiver.open(message.body, message.topic, self._milliseconds(), self._revoked())
        return msgspec.structs.replace(opened, lost=message.lost, gap=message.gap)

    def session(self) -> Session:
        """A new session to publish in: one for each link, and each process."""
        return Session(self)

    def _seal(self, sender: Sender, body: Buffer, at: BlockPath) -> bytes:
        with self._lock:
            now = self._milliseconds()
            return sender.seal(body, at, self._ring.newest(now // 1000), now, self._revoked())

    def _milliseconds(self) -> int:
        return int(self._clock() * 1000)

    def _revoked(self) -> Revocations:
        return self._revocations(self.path.root)


class Session:
    """What one publisher sends on one way, in order. What it sealed must leave in that order."""

    def __init__(self, topic: SealedTopic) -> None:
        self.topic = topic
        self._sender = Sender(topic.path, topic.identity, secrets.token_bytes(SESSION_SIZE))

    def seal(self, body: Buffer, at: BlockPath | None = None) -> bytes:
        """The message to the topic (or `at` one below). It is signed here: an identity in a chip, which takes long, has
        process keys for that (`btlib.process_keys.for_process`).

        Raises CapabilityError where this member may not publish, TopicKeyError where it has no key that lasts,
        CredentialError.
        """
        return self.topic._seal(self._sender, body, at or self.topic.path)


def broker_check(
    revocations: Callable[[Principal], Revocations] = _nothing_revoked, clock: Callable[[], float] = time.time
) -> Callable[[Request], None]:
    """For `Broker(check=…)`: only sealed messages of who may WRITE at the topic pass. The broker has no key for it."""
    verified = VerifiedLinks()

    def check_publication(request: Request) -> None:
        revoked = revocations(request.path.root)
        envelope = Envelope.decode(request.body)
        check(envelope, request.path, int(clock()), revocations=revoked, verified=verified)

    return check_publication
