"""What a trace tells of one message, and who listens. See `inspection`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from ._handlers import CALLED, Route

if TYPE_CHECKING:
    from ._cell import Cell
    from .actor import Actor


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One message that was handled."""

    path: str
    message: object
    seconds: float
    error: str | None = None  #: the class of what the handler raised


class TracedRoutes(dict[type, Route]):
    """The routes of an actor, each with a listener around it."""

    def __init__(self, cell: Cell, tracer: Callable[[Trace], None]) -> None:
        super().__init__()
        self._cell = cell
        self._tracer = tracer

    def __missing__(self, message: type) -> Route:
        route = self._cell.routes[message]
        if route is CALLED:  # the message in the call has a route of its own
            return route
        loop, path, tracer = self._cell.runtime.loop, self._cell.path, self._tracer

        async def traced(actor: Actor, item: object) -> object:
            began, error = loop.now(), None
            try:
                result = route.function(actor, item)
                return await result if route.is_async else result
            except BaseException as raised:
                error = type(raised).__name__
                raise
            finally:
                tracer(Trace(path=path, message=item, seconds=loop.now() - began, error=error))

        self[message] = Route(traced, shielded=route.shielded, answer=None)
        return self[message]


Listener: TypeAlias = Callable[[Trace], None]


class Tracers:
    """Whoever listens in one runtime. `listener` is all of them in one, or None: what each actor looks at."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self._own: Listener | None = None
        self._others: list[Listener] = []

    def set_own(self, listener: Listener | None) -> None:
        """See Runtime.trace."""
        self._own = listener
        self._join()

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Let it listen, beside others, until the context ends."""
        self._others.append(listener)
        self._join()
        try:
            yield
        finally:
            self._others.remove(listener)
            self._join()

    def _join(self) -> None:
        listeners = (*self._others, *(() if self._own is None else (self._own,)))

        def tell(trace: Trace) -> None:
            for listener in listeners:
                listener(trace)

        self.listener = listeners[0] if len(listeners) == 1 else tell if listeners else None
