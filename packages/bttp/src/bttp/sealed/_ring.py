"""The group keys that one member holds: which to seal under, which to open under, and which never to take. Pure.

An epoch only grows. Publishers seal under the newest key and never after its end; what was sealed under one of the few
before it still opens until that one's end, since it was on its way when the key changed.
"""

from __future__ import annotations

from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.signing import Opener
from btlib.verification import VerifiedLinks

from ._bundle import CLOCK_SKEW, KeyBundle, open_bundle
from ._group_keys import GroupKey
from .errors import RefusedMessageError, TopicKeyError

MAX_KEYS = 8  #: epochs held: more changes than that while a message waits are not expected


class KeyRing:
    """The keys of one topic, for one member."""

    def __init__(self, topic: BlockPath, opener: Opener) -> None:
        self._topic, self._opener = topic, opener
        self._keys: dict[int, GroupKey] = {}  # ascending
        self._verified = VerifiedLinks()

    @property
    def epoch(self) -> int:
        """The newest; 0: none."""
        return next(reversed(self._keys), 0)

    def take(self, data: bytes | memoryview, now: int, revocations: Revocations = NO_REVOCATIONS) -> GroupKey:
        """The key of a bundle, from now on the newest. Raises TopicKeyError; nothing changes then."""
        bundle = KeyBundle.decode(data)
        key = open_bundle(bundle, self._topic, self._opener, now, revocations=revocations, verified=self._verified)
        if key.epoch < self.epoch:
            text = f"the keys of {self._topic} go back from epoch {self.epoch} to {key.epoch}"
            raise TopicKeyError(text, kind=Kind.ROLLBACK, hint="ask the keeper for the newest")
        known = self._keys.get(key.epoch)
        if known is not None and known.id != key.id:
            raise TopicKeyError(f"there are two keys of epoch {key.epoch} of {self._topic}", kind=Kind.CONFLICT)
        self._keys[key.epoch] = key
        if len(self._keys) > MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        return key

    def newest(self, now: int) -> GroupKey:
        """To seal under. Raises TopicKeyError."""
        if not self._keys:
            raise TopicKeyError(f"there are no keys of {self._topic} yet", hint="fetch them from its keeper")
        key = self._keys[self.epoch]
        if now > key.not_after:
            text = f"the keys of epoch {key.epoch} of {self._topic} have ended, and none were fetched since"
            raise TopicKeyError(text, kind=Kind.EXPIRED, hint="fetch newer ones from its keeper")
        return key

    def find(self, epoch: int, key_id: bytes, now: int) -> GroupKey:
        """To open under. Raises TopicKeyError of kind STALE for one newer than all, RefusedMessageError for others."""
        key = self._keys.get(epoch)
        if key is None and epoch > self.epoch:
            text = f"a message is sealed under epoch {epoch} of {self._topic}, and the newest here is {self.epoch}"
            raise TopicKeyError(text, hint="fetch the keys from the keeper of the topic")
        if key is None or now > key.not_after + CLOCK_SKEW:
            text = f"a message is sealed under epoch {epoch} of {self._topic}, which has ended"
            raise RefusedMessageError(text, kind=Kind.EXPIRED)
        if key.id != key_id:
            raise RefusedMessageError(f"a message is sealed under another key of epoch {epoch} than the keeper's")
        return key
