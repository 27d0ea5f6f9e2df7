"""Several runtimes that offer one service: which one a call asks, and where it goes on.

    rt.nearest("thumbnails")           the nearest in the tree; those that are as near share the load
    Providers([[a, b], c])             an order of one's own: a and b share the load; c, where neither takes the call

A call goes on to the next one where it certainly reached nobody (`error.untouched`): no link, no such service, active
elsewhere, no room in its mailbox. A call that may have acted is never repeated. While one says that the service is
active elsewhere, it is on its way from one runtime to another: then all are asked again, after a pause, until the time
is over. What it does not know: how loaded the others are; of those that are as near it asks the one that answers the
fewest of its own calls.
"""

from __future__ import annotations

import math
import random as _random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeAlias, TypeVar, overload

import anyio

from .errors import NoLinkError, NoSuchActorError, NotHereError, RunError
from .messages import Ask
from .refs import Ref

CALL_SECONDS = 30.0  #: default time-out of calls: long against work, short against a person's patience
FIRST_PAUSE = 0.02  #: seconds before providers are asked again: a hand-over in order takes about a round trip
LONGEST_PAUSE = 0.5  #: against a lease of 10 seconds, little
ELSEWHERE_SECONDS = 1.0  #: how long one that has not the service is asked last: a question a second costs nothing

R = TypeVar("R")

Group: TypeAlias = Ref | Sequence[Ref]  #: those in a sequence share the load


class Providers:
    """Those that offer one service. Its `refs` are what a call would ask."""

    def __init__(
        self,
        refs: Sequence[Group] | Callable[[], Sequence[Group]],
        *,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`refs`: one reference a runtime, in the order in which they are to be asked; or who knows them when asked."""
        self._groups = refs
        self._random = random
        self._under_way: Counter[str] = Counter()  # calls of ours, by where they are
        self._elsewhere: dict[str, float] = {}  # who has not the service, and until when that is believed

    @property
    def refs(self) -> Sequence[Ref]:
        """Those that a call would ask now, in this order. Raises NoLinkError where there are none."""
        groups = self._groups() if callable(self._groups) else self._groups
        refs = [ref for group in groups for ref in ([group] if isinstance(group, Ref) else self._shared(group))]
        if not refs:
            raise NoLinkError("no runtime offers the service", hint="attach links to those that do")
        if self._elsewhere:
            now = anyio.current_time()
            self._elsewhere = {path: until for path, until in self._elsewhere.items() if until > now}
            refs.sort(key=lambda ref: ref.path in self._elsewhere)
        return refs

    @overload
    def call(self, message: Ask[R], *, timeout: float | None = ...) -> Coroutine[object, object, R]: ...
    @overload
    def call(self, message: object, *, timeout: float | None = ...) -> Coroutine[object, object, object]: ...
    async def call(self, message: object, *, timeout: float | None = CALL_SECONDS) -> object:
        """See Ref.call; `timeout` is for all attempts. Raises the error of a provider that cannot have acted when none
        takes it. At most once: a call that may have acted is not repeated."""
        deadline = math.inf if timeout is None else anyio.current_time() + timeout
        pause = FIRST_PAUSE
        while True:
            refusals: list[RunError] = []
            for ref in self.refs:
                left = None if timeout is None else max(0.0, deadline - anyio.current_time())
                try:
                    return await self._ask(ref, message, left)
                except RunError as error:
                    if not error.untouched:
                        raise
                    refusals.append(error)
            elsewhere = [error for error in refusals if isinstance(error, NotHereError)]
            wait = pause * (1 - self._random() / 2)
            if not elsewhere or anyio.current_time() + wait >= deadline:
                raise (elsewhere or refusals)[0]
            await anyio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _ask(self, ref: Ref, message: object, timeout: float | None) -> object:
        path = ref.path
        self._under_way[path] += 1
        try:
            return await ref.call(message, timeout=timeout)
        except (NotHereError, NoSuchActorError) as error:
            if error.untouched:
                self._elsewhere[path] = anyio.current_time() + ELSEWHERE_SECONDS
            raise
        finally:
            self._under_way[path] -= 1
            if not self._under_way[path]:
                del self._under_way[path]

    def _shared(self, group: Sequence[Ref]) -> list[Ref]:
        """Those of a group: the least busy with calls of ours first, at random where that is the same."""
        if len(group) == 1:
            return list(group)
        return sorted(group, key=lambda ref: (self._under_way[ref.path], self._random()))
