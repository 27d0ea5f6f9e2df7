"""The conformance suite: streams."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from btlib.kinds import Kind
from btlib.paths import BlockPath

from .._limits import Limits
from .._stream import BlockingStream
from ..errors import ConnectionLostError, DeadlineError, LocalProtocolError, RemoteError
from ._stage import WAIT, ShellUnderTest, ask, expect, linked


def check_streams(shell: ShellUnderTest) -> None:
    """Items of all sizes come back in order; either side finishes on its own."""
    with linked(shell) as (stage, link):
        for name in ("echo", "echo-thread"):
            with link.stream(stage.place.child(name).child("below"), b"first", timeout=WAIT) as stream:
                sizes = (0, 1, 64 * 1024, 64 * 1024 + 1, 300_000, 7)
                items = [os.urandom(size) for size in sizes]
                for item in items:
                    stream.send(item)
                stream.send([b"ab", memoryview(b"cd")])
                stream.finish()
                assert [bytes(item) for item in stream] == [b"first", *items, b"abcd"], name
                assert stream.receive() is None


def check_stream_back_pressure(shell: ShellUnderTest) -> None:
    """Who does not read, stops the other; the link's calls go on, and reading lets it go on."""
    limits = Limits(stream_window=4096, link_window=8192)
    with (
        linked(shell, limits) as (stage, link),
        ThreadPoolExecutor(1) as pool,
        link.stream(stage.place.child("echo"), b"first", timeout=WAIT) as stream,
    ):
        items = [bytes([n % 256]) * 3000 for n in range(600)]

        def write() -> None:
            for item in items:
                stream.send(item)
            stream.finish()

        writing = pool.submit(write)
        assert bytes(stream.receive() or b"") == b"first"
        assert ask(link, stage.place.child("inline"), b"on") == b"on"
        assert [bytes(item) for item in stream] == items
        writing.result(WAIT)


def check_stream_cancellation(shell: ShellUnderTest) -> None:
    """A cancelled stream stops the handler, which learns why; so does leaving the context, and a deadline."""
    for name in ("stuck", "stuck-thread"):
        with linked(shell) as (stage, link):
            with link.stream(stage.place.child(name)) as stream:
                assert stage.started.wait(WAIT)
                stream.cancel(Kind.CONFLICT, "somebody was first")
                expect(LocalProtocolError, Kind.CONFLICT, lambda stream=stream: stream.receive())  # type: ignore[misc]
            reason = stage.reason.result(WAIT)
            assert isinstance(reason, RemoteError)
            assert (reason.kind, reason.message) == (Kind.CONFLICT, "somebody was first")
    with linked(shell) as (stage, link):
        with link.stream(stage.place.child("stuck")):
            assert stage.started.wait(WAIT)
        left = stage.reason.result(WAIT)
        assert left is not None
        assert left.kind is Kind.CANCELLED
    with linked(shell) as (stage, link):
        with link.stream(stage.place.child("stuck"), timeout=0.2) as stream:
            expect(DeadlineError, Kind.DEADLINE, stream.receive)
        late = stage.reason.result(WAIT)
        assert late is not None
        assert late.kind is Kind.DEADLINE


def check_stream_failures(shell: ShellUnderTest) -> None:
    """Refusals and failures arrive as kind and text; a handler that returns says that it reads no more."""
    with linked(shell) as (stage, link):
        place = stage.place

        def complete(path: BlockPath) -> None:
            with link.stream(path, timeout=WAIT) as stream:
                stream.complete()

        refused = expect(RemoteError, Kind.NOT_FOUND, lambda: complete(place.child("refuses")))
        assert str(refused) == "there is no such thing; make one"
        assert "secret" not in str(expect(RemoteError, Kind.INTERNAL, lambda: complete(place.child("fails"))))
        expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: complete(place.child("nobody")))
        expect(RemoteError, Kind.NO_SUCH_TARGET, lambda: complete(place.child("thread")))
        with link.stream(place.child("hasty"), timeout=WAIT) as stream:
            assert [bytes(item) for item in stream] == [b"\0", b"\1", b"\2"]
            expect(RemoteError, Kind.CANCELLED, lambda: _send_for_ever(stream))
        assert ask(link, place.child("inline"), b"well") == b"well"


def _send_for_ever(stream: BlockingStream) -> None:
    while True:
        stream.send(bytes(1000))


def check_streams_end_with_their_link(shell: ShellUnderTest) -> None:
    """A closed link ends its streams on both sides."""
    with linked(shell) as (stage, link), ThreadPoolExecutor(1) as pool:
        with link.stream(stage.place.child("stuck")) as stream:
            assert stage.started.wait(WAIT)
            waiting = pool.submit(stream.receive)
            link.close()
            expect(ConnectionLostError, Kind.UNREACHABLE, lambda: waiting.result(WAIT))
        assert isinstance(stage.reason.result(WAIT), ConnectionLostError)
