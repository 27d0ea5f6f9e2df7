"""The conformance suite: idempotency keys and trace context."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from btlib.kinds import Kind
from btlib.testing import make_domain_identities

from .._fields import Repeat
from .._limits import Limits
from .._trace import TraceParent
from ..errors import ConnectionLostError, RemoteError
from ._stage import WAIT, ShellUnderTest, Stage, expect, linked

_TRACE = TraceParent(trace_id=bytes(range(16)), parent_id=bytes(range(1, 9)))


def check_repeated_keys(shell: ShellUnderTest) -> None:
    """A call with a key is done once; repeated, it gets the recorded outcome, or hears why not."""
    with linked(shell) as (stage, link):
        for name in ("count", "count-inline"):
            path, key, before = stage.place.child(name), name.encode(), stage.counted
            first, again = (bytes(link.call(path, b"go", timeout=WAIT, key=key)) for _ in range(2))
            assert first == again == b"%d" % (before + 1), name
            other = expect(RemoteError, Kind.CONFLICT, lambda: link.call(path, b"other", timeout=WAIT, key=key))  # noqa: B023
            assert "another request" in str(other)
            for _ in range(2):
                failed = expect(
                    RemoteError,
                    Kind.NO_SPACE,
                    lambda: link.call(path, b"no", timeout=WAIT, key=key + b"2"),  # noqa: B023
                )
                assert failed.message == f"failed at {before + 2}"
            assert stage.counted == before + 2
            assert bytes(link.call(path, b"go", timeout=WAIT)) == b"%d" % (before + 3)


def check_a_keyed_call_outlives_its_link(shell: ShellUnderTest) -> None:
    """The handler goes on when the link is lost; on another, the key finds it under way, and then its answer."""
    stage = Stage()
    root, path = stage.domain.principal, stage.place.child("slow-async")
    with shell.serve(stage.domain["server"], stage.router, root, Limits()) as server:
        try:
            with (
                shell.connect(server.endpoints[0], stage.domain["alice"], root, stage.place) as link,
                ThreadPoolExecutor(1) as one,
            ):
                lost = one.submit(link.call, path, b"", timeout=WAIT, key=b"k")
                assert stage.started.wait(WAIT)
                link.close()
                expect(ConnectionLostError, Kind.UNREACHABLE, lambda: lost.result(WAIT))
            with shell.connect(server.endpoints[0], stage.domain["alice"], root, stage.place) as link:
                expect(RemoteError, Kind.BUSY, lambda: link.call(path, b"", timeout=WAIT, key=b"k"))
                stage.release.set()
                assert stage.done.wait(WAIT)
                assert bytes(link.call(path, b"", timeout=WAIT, key=b"k")) == b"1"
        finally:
            stage.release.set()


def check_traces(shell: ShellUnderTest) -> None:
    """A trace context reaches the handlers of calls, messages and streams; where none is given, there is none."""
    with linked(shell) as (stage, link):
        path, text = stage.place.child("traced"), str(_TRACE).encode()
        assert bytes(link.call(path, timeout=WAIT)) == b"None"
        assert bytes(link.call(path, timeout=WAIT, trace=_TRACE)) == text
        assert bytes(link.call(path, bytes(100_000), timeout=WAIT, trace=_TRACE, key=b"k")) == text
        stage.sent.clear()
        link.send(path, trace=_TRACE)
        link.send(path, bytes(100_000), trace=_TRACE)
        link.send(path)
        for name in ("traced", "traced-thread"):
            with link.stream(stage.place.child(name), timeout=WAIT, trace=_TRACE) as stream:
                assert bytes(stream.receive() or b"") == text, name
        assert bytes(link.call(path, timeout=WAIT)) == b"None"
        assert stage.sent == [text, text, b"None", b"None"]


def check_another_server_never_does_it_again(shell: ShellUnderTest) -> None:
    """A repeated call is done where its record would be, and nowhere else: there the caller hears that nobody knows."""
    domain = make_domain_identities("server", "alice")
    one, other = Stage(domain), Stage(domain)
    root, path = domain.principal, one.place.child("count")
    with (
        shell.serve(domain["server"], one.router, root, Limits()) as first,
        shell.serve(domain["server"], other.router, root, Limits()) as second,
        shell.connect(first.endpoints[0], domain["alice"], root, None) as here,
        shell.connect(second.endpoints[0], domain["alice"], root, None) as there,
    ):
        assert bytes(here.call(path, b"", timeout=WAIT, key=b"k")) == b"1"
        sent_here = Repeat(instance=here.peer_instance, elapsed=5)
        sent_there = Repeat(instance=there.peer_instance, elapsed=5)
        long_ago = Repeat(instance=there.peer_instance, elapsed=3_600_000)
        expect(RemoteError, Kind.STALE, lambda: there.call(path, b"", timeout=WAIT, key=b"k", repeat=sent_here))
        expect(RemoteError, Kind.STALE, lambda: there.call(path, b"", timeout=WAIT, key=b"k", repeat=long_ago))
        assert other.counted == 0
        assert bytes(here.call(path, b"", timeout=WAIT, key=b"k", repeat=sent_here)) == b"1"
        assert bytes(there.call(path, b"", timeout=WAIT, key=b"lost", repeat=sent_there)) == b"1"
        assert (one.counted, other.counted) == (1, 1)
