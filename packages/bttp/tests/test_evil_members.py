"""Evil peers that were let in: members who flood, stall, outstay their rights, or want more than their share."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time

import anyio
import bttp
import bttp.blocking
import pytest
from anyio.from_thread import start_blocking_portal
from btlib.kinds import Kind
from bttp import _frames as wire
from bttp._auth import Role, prove
from bttp._certificates import EphemeralKeys
from bttp._fields import encode_fields, extended
from bttp._frames import CHUNK, FrameKind, frame, hello_frame
from bttp.testing._evil import DOMAIN, ECHO, HELLO, ROOT, WAIT, Evil, serving, wait_until

KEYS = EphemeralKeys()
ALICE = DOMAIN["alice"]
CALL = wire.call_frame(1, 1, 0, 0, b"")


def flood(evil: Evil, piece: bytes) -> None:
    """Say it again and again, and read nothing, until the server does not take it any more."""
    until = time.monotonic() + WAIT
    with contextlib.suppress(OSError, ssl.SSLError):
        while time.monotonic() < until:
            evil.say(piece)
        raise AssertionError("the server takes whatever comes")


# --- half-open and slow


# --- floods


@pytest.mark.parametrize("piece", [frame(FrameKind.PING, 0, bytes(8)), frame(FrameKind.CANCEL, 9) + CALL])
def test_a_flood_whose_answers_are_not_read_ends_the_link(piece: bytes) -> None:
    with serving(bttp.Limits(max_queued=100_000)) as server, Evil(server, KEYS) as evil:
        evil.open(ALICE)
        flood(evil, piece * 1000)
        wait_until(lambda: server.statistics.links == 0)


def test_answers_that_are_not_read_stop_the_handlers_not_the_server() -> None:
    """Large answers wait in memory up to the limit; no more requests reach a handler meanwhile."""
    asked = 0

    def large(_request: bttp.Request) -> bytes:
        nonlocal asked
        asked += 1
        return bytes(900_000)

    router = bttp.Router()
    router.add(DOMAIN.path, large, inline=True)
    with serving(bttp.Limits(max_queued=2_000_000), router) as server, Evil(server, KEYS) as evil:
        evil.open(ALICE)
        evil.say(frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
        evil.say(*(wire.call_frame(number, 2, 0, 0, b"") for number in range(1, 201, 2)))
        with bttp.blocking.connect(server.endpoints[0], ALICE, root=ROOT) as link:
            assert bytes(link.call(ECHO, b"others", timeout=WAIT)) == b"others"
            wait_until(lambda: asked > 1)
            assert bytes(link.call(ECHO, b"others", timeout=WAIT)) == b"others"
        assert asked <= 10  # three in the limit, the others in the buffers of the network


def test_calls_beyond_the_limit_are_answered_so_and_reach_no_handler() -> None:
    started = threading.Semaphore(0)
    release = threading.Event()

    def slow(_request: bttp.Request) -> None:
        started.release()
        release.wait(WAIT)

    router = bttp.Router()
    router.add(DOMAIN.path, slow)
    with serving(bttp.Limits(max_calls=4), router) as server, Evil(server, KEYS) as evil:
        try:
            evil.open(ALICE, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
            evil.say(*(wire.call_frame(number, 2, 0, 0, b"") for number in range(1, 41, 2)))
            refused = [evil.hear(FrameKind.ERROR)]
            while sum(len(some) for some in refused) < 16:
                refused.append(evil.hear(FrameKind.ERROR))
            kinds = {wire.parse_text(payload)[0] for some in refused for _, payload in some}
            assert kinds == {Kind.LIMIT}
            for _ in range(4):
                assert started.acquire(timeout=WAIT)
            assert not started.acquire(blocking=False)
        finally:
            release.set()


def test_calls_that_are_cancelled_at_once_do_not_pile_up_behind_busy_handlers() -> None:
    """CALL and CANCEL by turns: each pair frees its number, but what it started is bounded all the same."""
    release = threading.Event()
    router = bttp.Router()
    router.add(DOMAIN.path, lambda _request: [] if release.wait(WAIT) else None)
    with serving(bttp.Limits(max_calls=8), router) as server, Evil(server, KEYS) as evil:
        try:
            evil.open(ALICE, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
            pair = wire.call_frame(1, 2, 0, 0, b"") + frame(FrameKind.CANCEL, 1)
            evil.say(pair * 1000)
            evil.say(wire.call_frame(3, 2, 0, 0, b""))
            said = evil.hear(FrameKind.ERROR)
            kind, text = wire.parse_text(said[-1][1])
            assert kind is Kind.LIMIT
            assert "twice max_calls" in text
        finally:
            release.set()


def test_handlers_that_were_cancelled_before_they_began_do_not_count_for_ever() -> None:
    async def slow(_request: bttp.Request) -> None:
        await anyio.sleep(0)

    async def stream(_stream: bttp.Stream) -> None:
        await anyio.sleep(0)

    router = bttp.Router()
    router.add(DOMAIN.path, slow)
    router.add_stream(DOMAIN.path, stream)
    with serving(bttp.Limits(max_calls=8), router) as server, Evil(server, KEYS) as evil:
        evil.open(ALICE, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
        call = wire.call_frame(1, 2, 0, 0, b"") + frame(FrameKind.CANCEL, 1)
        opening = wire.open_frame(1, 2, 0, b"") + wire.text_frame(FrameKind.RESET, 1, Kind.CANCELLED, "")
        for _ in range(20):
            evil.say(call + opening, frame(FrameKind.PING, 0, bytes(8)))
            evil.hear(FrameKind.PONG)
        evil.say(wire.call_frame(3, 2, 0, 0, b""))
        assert [kind for kind, _ in evil.hear(FrameKind.REPLY) if kind == FrameKind.ERROR] == []


def test_handlers_of_links_that_were_closed_count_for_their_principal() -> None:
    """A new link for each few calls that nobody waits for does not help."""
    started, release = threading.Semaphore(0), threading.Event()

    def stuck(_request: bttp.Request) -> None:
        started.release()
        release.wait(WAIT)

    router = bttp.Router()
    router.add(DOMAIN.path, stuck)
    with serving(bttp.Limits(), router, max_handlers_per_principal=4) as server:
        try:
            for _ in range(2):
                with Evil(server, KEYS) as evil:
                    evil.open(ALICE, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
                    evil.say(*(wire.call_frame(number, 2, 0, 0, b"") for number in (1, 3)))
                    for _ in range(2):
                        assert started.acquire(timeout=WAIT)
                wait_until(lambda: server.statistics.links == 0)
            with bttp.blocking.connect(server.endpoints[0], ALICE, root=ROOT) as link:
                with pytest.raises(bttp.RemoteError, match="max_handlers_per_principal") as caught:
                    link.call(DOMAIN.path, timeout=WAIT)
                assert caught.value.kind is Kind.LIMIT
            with bttp.blocking.connect(server.endpoints[0], DOMAIN["server"], root=ROOT) as other:
                release.set()
                other.call(DOMAIN.path, timeout=WAIT)
        finally:
            release.set()


def test_streams_that_are_reset_at_once_do_not_pile_up_threads() -> None:
    release = threading.Event()
    running = 0
    most = 0

    def stuck(stream: bttp.BlockingStream) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        release.wait(WAIT)
        running -= 1

    router = bttp.Router()
    router.add_stream(DOMAIN.path, stuck)
    with serving(bttp.Limits(max_calls=8), router) as server, Evil(server, KEYS) as evil:
        try:
            evil.open(ALICE, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
            over = wire.text_frame(FrameKind.RESET, 1, Kind.CANCELLED, "enough")
            evil.say((wire.open_frame(1, 2, 0, b"") + over) * 1000)
            evil.say(wire.open_frame(3, 2, 0, b""))
            said = evil.hear(FrameKind.RESET)
            kind, text = wire.parse_text(said[-1][1])
            assert kind is Kind.LIMIT
            assert "still run" in text
            assert most <= 16
        finally:
            release.set()


def test_a_flood_of_proofs_ends_the_link() -> None:
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil:
        evil.open(ALICE)
        proof = frame(FrameKind.AUTH, 0, prove(ALICE, Role.CLIENT, evil.transcript))
        evil.say(proof * 100)
        kind, text = evil.last_words()
        assert kind is Kind.PROTOCOL
        assert "AUTH frames within" in text


# --- oversize and malformed


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        ("max_body", [wire.call_frame(1, 1, 0, 2**32 - 1, b"")]),
        ("exceeds the limit", [b"\x11\xff\xff\xff\1\0\0\0"]),
        ("exceeds the limit", [b"\x1b\xff\xff\xff\1\0\0\0"]),
        ("does not hold", [wire.call_frame(1, 1, 0, 5, b"")]),
        ("do not fit", [frame(FrameKind.EXTENDED, 1, b"\x11\0\xff\xff" + bytes(700))]),
        ("kind 27", [extended(extended(CALL, encode_fields(b"k")), encode_fields(b"k"))]),
        ("send_window", [wire.send_frame(0, 1, CHUNK, bytes(CHUNK))] * 40),
        ("stream_window", [wire.open_frame(1, 1, 0, b""), *[wire.item_frame(1, CHUNK, bytes(CHUNK))] * 40]),
        ("no place", [hello_frame(HELLO)]),
    ],
)
def test_a_member_that_breaks_the_protocol_is_told_and_cut_off(what: str, frames: list[bytes]) -> None:
    router = bttp.Router()
    router.add_stream(ECHO, _never_reads)
    with serving(bttp.Limits(), router) as server, Evil(server, KEYS) as evil:
        evil.open(ALICE)
        with contextlib.suppress(OSError):
            for one in frames:
                evil.say(one)
        assert what in evil.last_words()[1]
        wait_until(lambda: server.statistics.links == 0)


async def _never_reads(_stream: bttp.Stream) -> None:
    await anyio.sleep_forever()


# --- more than its share


def test_links_of_one_principal_are_bounded_and_others_come_in() -> None:
    with serving(bttp.Limits(), max_links_per_principal=2) as server, contextlib.ExitStack() as stack:
        links = [
            stack.enter_context(bttp.blocking.connect(server.endpoints[0], DOMAIN["server"], root=ROOT))
            for _ in range(2)
        ]
        with pytest.raises(bttp.AuthenticationError, match="max_links_per_principal") as caught:
            bttp.blocking.connect(server.endpoints[0], DOMAIN["server"], root=ROOT)
        assert caught.value.kind is Kind.LIMIT
        with bttp.blocking.connect(server.endpoints[0], ALICE, root=ROOT) as other:
            assert bytes(other.call(ECHO, b"other", timeout=WAIT)) == b"other"
        links[0].close()
        wait_until(lambda: server.statistics.links == 1)
        with bttp.blocking.connect(server.endpoints[0], DOMAIN["server"], root=ROOT) as again:
            assert bytes(again.call(ECHO, b"again", timeout=WAIT)) == b"again"


def test_streams_of_one_principal_are_bounded_over_all_its_links() -> None:
    router = bttp.Router()
    router.add_stream(ECHO, _never_reads)
    with serving(bttp.Limits(), router, max_streams_per_principal=3) as server, contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(bttp.blocking.connect(server.endpoints[0], ALICE, root=ROOT)) for _ in range(2))
        for link in (one, one, two):
            stack.enter_context(link.stream(ECHO))
        assert bytes(two.call(ECHO, b"calls go on", timeout=WAIT)) == b"calls go on"
        assert bytes(one.call(ECHO, b"here, too", timeout=WAIT)) == b"here, too"
        fourth = stack.enter_context(two.stream(ECHO, timeout=WAIT))
        with pytest.raises(bttp.RemoteError, match="max_streams_per_principal") as caught:
            fourth.receive()
        assert caught.value.kind is Kind.LIMIT


def test_the_heaviest_link_of_a_principal_that_holds_too_much_is_ended() -> None:
    router = bttp.Router()
    router.add(DOMAIN.path, lambda _request: bytes(900_000), inline=True)
    with serving(bttp.Limits(), router, max_held_per_principal=3_000_000) as server, Evil(server, KEYS) as evil:
        evil.open(ALICE, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
        with bttp.blocking.connect(server.endpoints[0], ALICE, root=ROOT) as link:
            assert bytes(link.call(ECHO, b"before", timeout=WAIT)) == b"before"
            evil.say(*(wire.call_frame(number, 2, 0, 0, b"") for number in range(1, 41, 2)))
            wait_until(lambda: server.statistics.links == 1)
            assert bytes(link.call(ECHO, b"after", timeout=WAIT)) == b"after"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_link_that_ended_is_gone_though_its_peer_reads_nothing(backend: str) -> None:
    """What waits for it, and its last words, do not keep it: neither its memory nor its place."""
    router = bttp.Router()
    router.add(DOMAIN.path, lambda _request: bytes(900_000), inline=True)
    with start_blocking_portal(backend) as portal:
        serving_there = bttp.serve(["127.0.0.1:0"], DOMAIN["server"], router, roots=[ROOT])
        with portal.wrap_async_context_manager(serving_there) as server, Evil(server, KEYS) as evil:
            evil.open(ALICE, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
            evil.say(*(wire.call_frame(number, 2, 0, 0, b"") for number in range(1, 41, 2)))
            wait_until(lambda: any(link.bytes_held > 1_000_000 for link in server.links))
            evil.say(frame(255, 0))
            wait_until(lambda: not server.links)
            assert server.statistics.links == 0


# --- rights that end


def test_who_goes_on_after_the_end_of_its_rights_reaches_nothing() -> None:
    reached: list[bytes] = []
    router = bttp.Router()
    router.add(DOMAIN.path, lambda request: reached.append(bytes(request.body)), inline=True)
    short = DOMAIN.issue("carol", time=(0, int(time.time()) + 2))
    with serving(bttp.Limits(), router) as server, Evil(server, KEYS) as evil:
        evil.open(short, frame(FrameKind.ROUTE, 2, str(DOMAIN.path).encode()))
        evil.say(wire.call_frame(1, 2, 0, 2, b"in"))
        assert evil.hear(FrameKind.REPLY)[-1][0] == FrameKind.REPLY
        kind, text = evil.last_words()
        assert kind is Kind.EXPIRED
        assert "expired" in text
        with contextlib.suppress(OSError, ssl.SSLError):
            evil.say(wire.call_frame(3, 2, 0, 4, b"late"))
        wait_until(lambda: server.statistics.links == 0)
    assert reached == [b"in"]


def test_the_answer_to_anothers_key_is_nobody_elses() -> None:
    served: list[str] = []

    def serve(request: bttp.Request) -> bytes:
        served.append(str(request.peer.principals[0]))
        return served[-1].encode()

    router = bttp.Router()
    router.add(DOMAIN.path, serve)
    with serving(bttp.Limits(), router) as server:
        for who in (ALICE, DOMAIN["server"], ALICE):
            with bttp.blocking.connect(server.endpoints[0], who, root=ROOT) as link:
                assert bytes(link.call(DOMAIN.path, b"same", timeout=WAIT, key=b"same")).decode() == str(who.principal)
    assert len(served) == 2
