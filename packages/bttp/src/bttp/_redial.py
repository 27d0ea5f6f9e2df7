"""When to dial whom, and when to call again: the decisions of a reconnecting link. Pure.

A **round** tries all candidates (addresses of the endpoints), each `stagger` seconds after the one before or as soon as
all that run have failed; the first link that opens wins (RFC 8305, with the opened link in place of the connection).
Between rounds that found nobody the pause doubles, from `first_pause` to `max_pause`, each time by chance between half
and all of it. A link that lived for `stable_seconds` begins from the start.

Time and chance are arguments.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from math import ldexp

import msgspec
from btlib.kinds import Kind

from ._endpoints import Endpoint, TcpEndpoint
from ._fields import Repeat
from .errors import (
    AuthenticationError,
    BttpError,
    ConnectionLostError,
    DeadlineError,
    NotSentError,
    RemoteError,
    RemoteProtocolError,
    UnreachableError,
)

_POLL = 0.1  # seconds until a repeated call that is still under way is asked for again; then twice as long, up to …
_MAX_POLL = 2.0
_MAX_ASKING = 60.0  # seconds that it is asked for where the caller has no deadline


class Reconnection(msgspec.Struct, frozen=True, kw_only=True):
    """How a reconnecting link dials. Settings of the same names."""

    stagger: float = 0.25  #: seconds between the starts of attempts (RFC 8305 advises 0.25)
    first_pause: float = 0.1  #: seconds after the first round that found nobody
    max_pause: float = 30.0  #: the longest pause: what a server that comes back has to wait for
    stable_seconds: float = 5.0  #: a link that lived so long was a good one: no pause after it
    attempt_seconds: float = 10.0  #: from the first packet to an open link


class Pauses:
    """How long to wait before the next round."""

    def __init__(self, settings: Reconnection) -> None:
        self._settings = settings
        self._failures = 0

    def failed(self, chance: float) -> float:
        """A round found nobody, or its link did not last; `chance` from 0 to 1."""
        whole = min(self._settings.max_pause, ldexp(self._settings.first_pause, min(self._failures, 60)))
        self._failures += 1
        return whole * (0.5 + chance / 2)

    def lost(self, lived: float, chance: float) -> float:
        """A link ended that had lived for so many seconds."""
        if lived < self._settings.stable_seconds:
            return self.failed(chance)
        self._failures = 0
        return 0.0


class Round:
    """One try of all candidates."""

    def __init__(self, candidates: Sequence[Endpoint], stagger: float, now: float) -> None:
        self._waiting = deque(candidates)
        self._stagger = stagger
        self._due = now
        self._running = 0
        self.errors: list[BttpError] = []
        self.won = False

    @property
    def over(self) -> bool:
        """Whether one has won, or all have failed."""
        return self.won or not (self._waiting or self._running)

    def next_time(self) -> float | None:
        """When the next attempt is due, if nobody wins or fails before."""
        return self._due if self._waiting else None

    def start(self, now: float) -> Endpoint | None:
        """The candidate whose attempt is due."""
        if self.won or not self._waiting or now < self._due:
            return None
        self._running += 1
        self._due = now + self._stagger
        return self._waiting.popleft()

    def failed(self, error: BttpError, now: float) -> None:
        """An attempt failed: the next one need not wait for its time if nobody else is under way."""
        self._running -= 1
        self.errors.append(error)
        if not self._running:
            self._due = min(self._due, now)

    @property
    def refusal(self) -> BttpError | None:
        """The answer of a server that does not want this client, where that is all that was heard: waiting is vain."""
        wanted = [error for error in self.errors if not isinstance(error, AuthenticationError | RemoteProtocolError)]
        return self.errors[0] if self.errors and not wanted else None


class Retry:
    """One call of a reconnecting link, over as many links as it takes."""

    def __init__(self, key: bytes | None, timeout: float | None, now: float) -> None:
        self.key = key
        self._timeout = timeout
        self.deadline = None if timeout is None else now + timeout
        self._first: tuple[int, float] | None = None  # the instance to which the key was sent first, and when
        self._asked = 0
        self._asking_since = 0.0

    def remaining(self, now: float) -> float | None:
        """Seconds until the deadline. Raises DeadlineError after it."""
        if self.deadline is None:
            return None
        if now >= self.deadline:
            raise self.late(None)
        return self.deadline - now

    def late(self, last: BttpError | None) -> DeadlineError:
        """The deadline passed while there was no link."""
        why = "" if last is None else f" (last: {last.message})"
        return DeadlineError(f"no link within {self._timeout:g} s{why}; the call was not answered")

    def sending(self, instance: int, now: float) -> Repeat | None:
        """What to say beside the key, on a link to this instance."""
        if self.key is None:
            return None
        if self._first is None:
            self._first = (instance, now)
            return None
        return Repeat(instance=self._first[0], elapsed=int((now - self._first[1]) * 1000) + 1)

    def after(self, error: BttpError, repeated: bool, now: float) -> float:
        """After a failed sending: how many seconds to wait before the next. Raises the error where there is none."""
        if isinstance(error, NotSentError | UnreachableError):
            if not repeated:
                self._first = None  # nothing left: the key is as new as before
            return 0.0
        if isinstance(error, ConnectionLostError) and self.key is not None:
            return 0.0
        if repeated and isinstance(error, RemoteError) and error.kind is Kind.BUSY:
            self._asking_since = self._asking_since or now
            pause = min(_MAX_POLL, ldexp(_POLL, min(self._asked, 60)))
            self._asked += 1
            if self.deadline is not None or now + pause < self._asking_since + _MAX_ASKING:
                return pause
        raise error


def interleave(addresses: Iterable[tuple[int, TcpEndpoint]]) -> list[TcpEndpoint]:
    """Addresses of one host, families in turn, that of the first one first (RFC 8305, section 4)."""
    by_family: dict[int, list[TcpEndpoint]] = {}
    for family, address in addresses:
        places = by_family.setdefault(family, [])
        if address not in places:
            places.append(address)
    turns = itertools.zip_longest(*by_family.values())
    return [address for turn in turns for address in turn if address is not None]
