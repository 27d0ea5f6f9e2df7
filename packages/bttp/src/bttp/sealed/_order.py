"""What a subscriber has heard: it finds what comes twice, too late or in another order, and counts what did not come.

    known session      the sequence must grow; numbers that were left out are missing
    unknown session    its first message must be fresh: not older than `max_age`, nor than a session that was forgotten

Pure: time is an argument. The order is that of one publisher in one session to one topic, which is how it is sent; what
is overtaken all the same counts as lost. What never came after the last message that was heard, nobody can tell.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from btlib.kinds import Kind

from .errors import RefusedMessageError

MAX_SESSIONS = 4096  #: sessions that are remembered, some 300 bytes each; of more, those not heard for longest go
AHEAD = 300_000  #: milliseconds by which a publisher's clock may be ahead


class Place(msgspec.Struct, frozen=True):
    """Where a message stands: its stream (topic id ‖ publisher ‖ session), number and time."""

    stream: bytes
    sequence: int
    sent: int


class Heard:
    """The memory of one subscriber. It outlives links: keep it as long as the topic matters."""

    def __init__(self, max_age: int, limit: int = MAX_SESSIONS) -> None:
        """`max_age`: milliseconds."""
        self._max_age, self._limit = max_age, limit
        self._last: OrderedDict[bytes, Place] = OrderedDict()
        self._floor = 0  # when what was forgotten was sent, at the latest

    def judge(self, place: Place, now: int) -> int:
        """How many messages are missing before this one. Raises RefusedMessageError. Changes nothing."""
        if place.sent > now + AHEAD:
            text = f"a message was sent {_seconds(place.sent - now)} in the future, says its publisher"
            raise RefusedMessageError(text, kind=Kind.INVALID, hint="set the clocks")
        last = self._last.get(place.stream)
        if last is None:
            self._check_fresh(place, now)
            return 0
        if place.sequence <= last.sequence:
            text = f"message {place.sequence} of a publisher comes after its message {last.sequence}"
            raise RefusedMessageError(f"{text}: replayed, or overtaken", kind=Kind.ROLLBACK)
        return place.sequence - last.sequence - 1

    def note(self, place: Place) -> None:
        """It was judged, opened and is delivered."""
        self._last[place.stream] = place
        self._last.move_to_end(place.stream)
        if len(self._last) > self._limit:
            _, forgotten = self._last.popitem(last=False)
            self._floor = max(self._floor, forgotten.sent)

    def _check_fresh(self, place: Place, now: int) -> None:
        age = now - place.sent
        if age > self._max_age:
            text = f"the first message of a session is {_seconds(age)} old: replayed, or held back"
            raise RefusedMessageError(f"{text} (max_age is {_seconds(self._max_age)})", kind=Kind.ROLLBACK)
        if place.sent <= self._floor:
            text = "the first message of a session is older than one that was forgotten (MAX_SESSIONS)"
            raise RefusedMessageError(text, kind=Kind.ROLLBACK)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s"
