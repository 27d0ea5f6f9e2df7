"""Spans at both ends of a link belong to one trace, whichever shell and kind of handler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import bttp
import bttp.blocking
import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities

pytest.importorskip("opentelemetry.sdk", reason="the extra otel and opentelemetry-sdk are not installed")

from bttp import telemetry
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

DOMAIN = make_domain_identities("server", "alice")
PATHS = {name: DOMAIN.path.child(name) for name in ("thread", "inline", "async", "fails", "defect")}
EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def _provider() -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    otel.set_tracer_provider(provider)


@pytest.fixture
def spans() -> Callable[[], dict[str, ReadableSpan]]:
    EXPORTER.clear()
    return lambda: {span.name: span for span in EXPORTER.get_finished_spans()}


def serving() -> Any:
    async def wait(request: bttp.Request) -> memoryview:
        await anyio.lowlevel.checkpoint()
        return request.body

    def refuse(_request: bttp.Request) -> bytes:
        raise bttp.BttpError("there is no such thing", kind=Kind.NOT_FOUND)

    def fail(_request: bttp.Request) -> bytes:
        raise ZeroDivisionError("a secret")

    async def echo(stream: bttp.Stream) -> None:
        async for item in stream:
            await stream.send(item)

    router = bttp.Router()
    router.add(PATHS["thread"], telemetry.traced(lambda request: request.body))
    router.add(PATHS["inline"], telemetry.traced(lambda request: request.body), inline=True)
    router.add(PATHS["async"], telemetry.traced(wait))
    router.add(PATHS["fails"], telemetry.traced(refuse))
    router.add(PATHS["defect"], telemetry.traced(fail))
    router.add_stream(PATHS["async"], telemetry.traced(echo))
    return bttp.blocking.serve(["127.0.0.1:0"], DOMAIN["server"], router, roots=[DOMAIN.principal])


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def check_family(found: dict[str, ReadableSpan], path: str) -> None:
    caller, handler = found["bttp call"], found["bttp handle"]
    assert handler.parent is not None
    assert (handler.parent.trace_id, handler.parent.span_id) == ids(caller)
    assert handler.parent.is_remote
    assert caller.attributes == {"bttp.path": str(PATHS[path])}
    peer = str(DOMAIN["alice"].principal)
    assert handler.attributes == {"bttp.path": str(PATHS[path]), "bttp.peer": peer}
    assert caller.kind is otel.SpanKind.CLIENT
    assert handler.kind is otel.SpanKind.SERVER


@pytest.mark.parametrize("name", ["thread", "inline", "async"])
def test_a_call_of_a_thread_and_its_handler_are_one_trace(
    spans: Callable[[], dict[str, ReadableSpan]], name: str
) -> None:
    with (
        serving() as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
        telemetry.calling(PATHS[name]) as trace,
    ):
        assert bytes(link.call(PATHS[name], b"x", trace=trace)) == b"x"
    check_family(spans(), name)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stream_of_a_task_and_its_handler_are_one_trace(
    spans: Callable[[], dict[str, ReadableSpan]], backend: str
) -> None:
    async def main(endpoint: str) -> None:
        async with bttp.connect(endpoint, DOMAIN["alice"], root=DOMAIN.principal) as link:
            with telemetry.calling(PATHS["async"]) as trace:
                async with link.stream(PATHS["async"], trace=trace) as stream:
                    await stream.send(b"x")
                    assert bytes(await stream.receive() or b"") == b"x"
                    await stream.complete()

    with serving() as server:
        anyio.run(main, server.endpoints[0], backend=backend)
    check_family(spans(), "async")


@pytest.mark.parametrize(
    ("name", "kind", "handler_kind", "text"),
    [("fails", "NOT_FOUND", "NOT_FOUND", "there is no such thing"), ("defect", "INTERNAL", "ZeroDivisionError", None)],
)
def test_failures_are_told_by_their_kind_and_defects_tell_nothing_more(
    spans: Callable[[], dict[str, ReadableSpan]], name: str, kind: str, handler_kind: str, text: str | None
) -> None:
    with (
        serving() as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
        pytest.raises(bttp.RemoteError),
        telemetry.calling(PATHS[name]) as trace,
    ):
        link.call(PATHS[name], b"x", trace=trace)
    caller, handler = spans()["bttp call"], spans()["bttp handle"]
    assert caller.attributes is not None
    assert handler.attributes is not None
    assert (caller.attributes["bttp.kind"], handler.attributes["bttp.kind"]) == (kind, handler_kind)
    assert handler.status.status_code is otel.StatusCode.ERROR
    assert handler.status.description == (text or handler_kind)
    assert not handler.events


def test_a_request_without_a_trace_begins_one(spans: Callable[[], dict[str, ReadableSpan]]) -> None:
    with (
        serving() as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
    ):
        link.call(PATHS["thread"], b"x")
    assert spans()["bttp handle"].parent is None


def test_outside_of_a_span_there_is_no_trace() -> None:
    assert telemetry.current_trace() is None


def test_without_opentelemetry_the_module_says_what_to_install() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None; import bttp.telemetry"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'bttp[otel]'" in done.stderr
