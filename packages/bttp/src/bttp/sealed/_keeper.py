"""`TopicKeeper`: makes the group keys of a topic and hands them to its members. It does not publish or subscribe.

Whenever somebody comes, goes, or half a key's life is over, there is a new key under a higher epoch: who goes cannot
read what comes later, who comes cannot read what was before. An epoch is the time in seconds, or one more than the
last, so a keeper remembers nothing: started anew, it makes a new key. Two keepers of one topic would undo each other's
work.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable

from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys

from .._router import Request
from ._bundle import issue_bundle
from ._group_keys import KEY_SIZE, GroupKey

LIFETIME = 24 * 3600  #: seconds that publishers may use a key: how long a broker that withholds newer ones wins


class TopicKeeper:
    """The keys of one topic. Thread-safe."""

    def __init__(
        self,
        identity: Identity,
        topic: BlockPath,
        members: Iterable[PublicKeys],
        *,
        lifetime: int = LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`identity` may WRITE at the topic and delegate that; `members`: publishers and subscribers.

        Raises CapabilityError, TopicKeyError where it may not or they are too many.
        """
        self.topic = topic
        self._identity, self._lifetime, self._clock = identity, lifetime, clock
        self._members = {public.principal: public for public in members}
        self._lock = threading.Lock()
        self._epoch = self._renew_at = 0
        self._bundle = b""
        self.rotate()

    @property
    def members(self) -> tuple[Principal, ...]:
        """Who gets the keys."""
        return tuple(self._members)

    @property
    def bundle(self) -> bytes:
        """The keys as members take them; new ones when half their life is over. No secret."""
        with self._lock:
            if int(self._clock()) >= self._renew_at:
                self._make(self._members)
            return self._bundle

    def admit(self, *members: PublicKeys) -> None:
        """Let them read what is published from now on (and publish, if they may WRITE). Raises as the constructor."""
        with self._lock:
            self._make({**self._members, **{public.principal: public for public in members}})

    def remove(self, *members: Principal) -> None:
        """Let them not read what is published once publishers have the new key. Raises as the constructor."""
        with self._lock:
            self._make({one: public for one, public in self._members.items() if one not in members})

    def rotate(self) -> None:
        """Make a new key at once, for instance because one may have leaked. Raises as the constructor."""
        with self._lock:
            self._make(self._members)

    def answer(self, request: Request) -> bytes:
        """A handler that gives the bundle: `router.add(path, keeper.answer)`."""
        return self.bundle

    def _make(self, members: dict[Principal, PublicKeys]) -> None:
        now = int(self._clock())
        epoch = max(self._epoch + 1, now)
        key = GroupKey(
            topic=self.topic,
            epoch=epoch,
            key=secrets.token_bytes(KEY_SIZE),
            not_before=now,
            not_after=now + self._lifetime,
        )
        self._bundle = issue_bundle(self._identity, key, members.values()).encode()
        self._members, self._epoch, self._renew_at = members, epoch, now + self._lifetime // 2
