"""The errors of sealed topics. Each says whose fault it is and what to do."""

from __future__ import annotations

from typing import ClassVar

from btlib.kinds import Kind

from ..errors import BttpError


class RefusedMessageError(BttpError):
    """A message is not what a publisher of the topic sent, there and now: the fault of the broker, or of who pretends
    to publish. Its kind: INTEGRITY (forged, damaged, of another topic), FORBIDDEN and EXPIRED (the publisher's chain),
    ROLLBACK (replayed, overtaken, too old), PROTOCOL (no sealed message at all). Nothing to retry."""

    default_kind: ClassVar[Kind] = Kind.INTEGRITY


class TopicKeyError(BttpError):
    """There is no group key for this: STALE (it is newer than those held: fetch the keys), EXPIRED (fetch newer ones),
    FORBIDDEN (they are not for this principal: ask the keeper), and as above for keys that are not the keeper's."""

    default_kind: ClassVar[Kind] = Kind.STALE
