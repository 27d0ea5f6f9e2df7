"""OpenTelemetry for calls, messages and streams (extra `otel`): spans at both ends, in one trace over all links.

    with telemetry.calling(path) as trace:                 the caller's side, from a thread or a task
        await link.call(path, body, trace=trace)

    router.add(path, telemetry.traced(handler))            the other side; likewise for handlers of streams

The trace context crosses the wire by itself, whether or not anybody here records. This module only makes spans of it;
where they go is for the program that sets up an OpenTelemetry SDK, and without one they cost next to nothing. Bodies
and keys never stand in a span: only the path, the peer's principals and the kind of a failure do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar, cast

from btlib.errors import BlocktreeError
from btlib.paths import BlockPath

from ._peer import Peer
from ._trace import TraceParent

try:
    from opentelemetry import trace as otel
    from opentelemetry.context import Context
except ImportError as error:
    raise ImportError("bttp.telemetry needs OpenTelemetry; install the extra: pip install 'bttp[otel]'") from error

_tracer = otel.get_tracer("bttp")
_H = TypeVar("_H", bound=Callable[..., object])


class Received(Protocol):
    """What a handler gets: a `Request` or a stream."""

    @property
    def path(self) -> BlockPath: ...

    @property
    def peer(self) -> Peer: ...

    @property
    def trace(self) -> TraceParent | None: ...


def current_trace() -> TraceParent | None:
    """The place of the current span in its trace, for `trace=` of a call; None: there is none."""
    context = otel.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return TraceParent(
        trace_id=context.trace_id.to_bytes(16),
        parent_id=context.span_id.to_bytes(8),
        flags=int(context.trace_flags),
    )


@contextmanager
def calling(path: BlockPath) -> Iterator[TraceParent | None]:
    """A span around a call, message or stream to `path`; gives what to pass as `trace=`."""
    with _span("bttp call", otel.SpanKind.CLIENT, {"bttp.path": str(path)}, None):
        yield current_trace()


@contextmanager
def handling(received: Received) -> Iterator[None]:
    """A span around the handling of a request or stream, as a child of the caller's."""
    attributes = {"bttp.path": str(received.path), "bttp.peer": str(received.peer)}
    with _span("bttp handle", otel.SpanKind.SERVER, attributes, _context_of(received.trace)):
        yield


def traced(handler: _H) -> _H:
    """The handler, of calls or streams, with a span around each of its runs. It is added to a router as before."""
    if inspect.iscoroutinefunction(handler):
        waited = cast("Callable[[Received], Awaitable[object]]", handler)

        @functools.wraps(handler)
        async def handle_async(received: Received) -> object:
            with handling(received):
                return await waited(received)

        return cast("_H", handle_async)

    @functools.wraps(handler)
    def handle(received: Received) -> object:
        with handling(received):
            return handler(received)

    return cast("_H", handle)


@contextmanager
def _span(name: str, kind: otel.SpanKind, attributes: dict[str, str], parent: Context | None) -> Iterator[None]:
    """The current span for as long as it lasts; a failure is told by its kind and text, without a traceback."""
    beginning = _tracer.start_as_current_span(
        name, context=parent, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    )
    with beginning as span:
        try:
            yield
        except Exception as error:
            failure = error.kind.name if isinstance(error, BlocktreeError) else type(error).__name__
            span.set_attribute("bttp.kind", failure)
            span.set_status(otel.StatusCode.ERROR, str(error) if isinstance(error, BlocktreeError) else failure)
            raise


def _context_of(trace: TraceParent | None) -> Context | None:
    """The caller's span as a parent; None: the current one here, or none."""
    if trace is None:
        return None
    remote = otel.SpanContext(
        trace_id=int.from_bytes(trace.trace_id),
        span_id=int.from_bytes(trace.parent_id),
        is_remote=True,
        trace_flags=otel.TraceFlags(trace.flags),
    )
    return otel.set_span_in_context(otel.NonRecordingSpan(remote))
