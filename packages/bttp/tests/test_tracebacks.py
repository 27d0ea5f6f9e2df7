"""What a caller hears of a handler's defect: nothing; or the end of its traceback, where the router says so."""

from __future__ import annotations

import re
import traceback
from contextlib import AbstractContextManager

import anyio
import bttp
import bttp.blocking
import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from bttp._frames import MAX_TEXT, FrameKind, text_frame
from bttp._tracebacks import remote_error, told_with_traceback
from hypothesis import given, settings
from hypothesis import strategies as st

DOMAIN = make_domain_identities("server", "alice")
PATH = DOMAIN.path.child("fails")


def fail(_request: object) -> None:
    raise ZeroDivisionError("a secret of the server")


def serving(*, tracebacks: bool = False) -> AbstractContextManager[bttp.blocking.BlockingServer]:
    router = bttp.Router(tracebacks=tracebacks)
    router.add(PATH, fail)
    router.add_stream(PATH, fail)
    return bttp.blocking.serve(["127.0.0.1:0"], DOMAIN["server"], router, roots=[DOMAIN.principal])


def failure_of_stream(link: bttp.blocking.BlockingLink) -> bttp.RemoteError:
    with link.stream(PATH) as stream, pytest.raises(bttp.RemoteError) as failed:
        stream.receive()
    return failed.value


def test_by_default_a_defect_tells_nothing_of_itself() -> None:
    with (
        serving() as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
    ):
        with pytest.raises(bttp.RemoteError) as failed:
            link.call(PATH)
        for error in (failed.value, failure_of_stream(link)):
            assert (error.kind, error.traceback) == (Kind.INTERNAL, None)
            assert "secret" not in "".join(traceback.format_exception(error))


def test_a_router_may_tell_where_its_handlers_fail() -> None:
    with (
        serving(tracebacks=True) as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
    ):
        with pytest.raises(bttp.RemoteError) as failed:
            link.call(PATH, key=b"once")
        with pytest.raises(bttp.RemoteError) as again:
            link.call(PATH, key=b"once")
        for error in (failed.value, again.value, failure_of_stream(link)):
            assert (error.kind, str(error)) == (Kind.INTERNAL, "the handler failed")
            assert error.traceback is not None
            assert error.traceback.endswith("ZeroDivisionError: a secret of the server")
            assert re.search(r"line \d+, in fail", error.traceback)
            assert "at the peer:" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_hear_it_too(backend: str) -> None:
    async def main(endpoint: str) -> None:
        async with bttp.connect(endpoint, DOMAIN["alice"], root=DOMAIN.principal) as link:
            with pytest.raises(bttp.RemoteError) as failed:
                await link.call(PATH)
            assert "ZeroDivisionError" in (failed.value.traceback or "")

    with serving(tracebacks=True) as server:
        anyio.run(main, server.endpoints[0], backend=backend)


def test_errors_that_a_handler_means_have_no_traceback() -> None:
    def refuse(_request: bttp.Request) -> bytes:
        raise bttp.BttpError("there is no such thing", kind=Kind.NOT_FOUND)

    router = bttp.Router(tracebacks=True)
    router.add(PATH, refuse)
    with (
        bttp.blocking.serve(["127.0.0.1:0"], DOMAIN["server"], router, roots=[DOMAIN.principal]) as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=DOMAIN.principal) as link,
        pytest.raises(bttp.RemoteError) as failed,
    ):
        link.call(PATH)
    assert (failed.value.kind, str(failed.value), failed.value.traceback) == (
        Kind.NOT_FOUND,
        "there is no such thing",
        None,
    )


@settings(deadline=None)
@given(st.text(max_size=3000), st.integers(0, 60))
def test_the_end_of_any_traceback_fits_an_error_frame(text: str, depth: int) -> None:
    def dig(left: int) -> None:
        if left:
            return dig(left - 1)
        raise ValueError(text)

    try:
        dig(depth)
    except ValueError as error:
        told = told_with_traceback(error)
    assert len(told.encode(errors="replace")) <= MAX_TEXT
    frame = text_frame(FrameKind.ERROR, 1, Kind.INTERNAL, told)
    heard = remote_error(frame[8:])
    assert str(heard) == "the handler failed"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_a_peer_says_is_fit_for_a_terminal_or_a_typed_error(payload: bytes) -> None:
    try:
        error = remote_error(payload)
    except bttp.RemoteProtocolError:
        return
    assert str(error).isprintable()
    assert all(line.isprintable() for line in (error.traceback or "").split("\n"))
