"""Two cores joined in memory under a virtual clock: what a link promises, step by step."""

from __future__ import annotations

import os

import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities, make_identity
from bttp import (
    AuthenticationError,
    ConnectionLostError,
    LimitError,
    Limits,
    LocalProtocolError,
    RemoteError,
    RemoteProtocolError,
    UnreachableError,
)
from bttp import _frames as wire
from bttp._core import LinkCore
from bttp._events import (
    CallCancelled,
    CallFailed,
    CallReceived,
    Event,
    LinkClosed,
    LinkOpened,
    PeerDraining,
    PeerProven,
    ReplyReceived,
    SendReceived,
    Writable,
)
from bttp._frames import CHUNK, FrameKind, frame
from bttp._states import State
from bttp.errors import DeadlineError
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN

PATH = DOMAIN.path.child("echo")
ROUTE = frame(FrameKind.ROUTE, 1, str(PATH).encode())


def opened(**options: Limits) -> Pair:
    pair = Pair(**options)  # type: ignore[arg-type]
    pair.run()
    assert pair.client.state is State.OPEN
    assert pair.server.state is State.OPEN
    pair.client_events.clear()
    pair.server_events.clear()
    return pair


def inject(core: LinkCore, *frames: bytes) -> None:
    """Have this side say something that it never would."""
    core._exchange.outbox.frames += frames


def kinds_of(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


def received(pair: Pair) -> CallReceived:
    (call,) = [event for event in pair.server_events if isinstance(event, CallReceived)]
    return call


def test_both_sides_prove_themselves_and_open() -> None:
    pair = Pair(client=[DOMAIN["client"], DOMAIN["server"]])
    pair.run()
    assert kinds_of(pair.client_events) == kinds_of(pair.server_events) == [PeerProven, LinkOpened]
    assert pair.client.peer.principals == (DOMAIN["server"].principal,)
    assert pair.server.peer.principals == (DOMAIN["client"].principal, DOMAIN["server"].principal)


def test_no_identity_crosses_in_the_clear() -> None:
    pair, seen = Pair(), bytearray()
    carry = pair._carry

    def look(data: bytes, to: LinkCore) -> None:
        seen.extend(data)
        carry(data, to)

    pair._carry = look  # type: ignore[method-assign]
    pair.run()
    for name in ("client", "server"):
        assert DOMAIN[name].public.signing not in seen
        assert DOMAIN[name].principal.digest not in seen


def test_a_client_shows_nothing_to_a_server_that_it_does_not_admit() -> None:
    def admit(core: LinkCore, event: PeerProven) -> None:
        core.refuse(Kind.FORBIDDEN, "not this one")

    pair = Pair(admit=admit)
    pair.run()
    assert isinstance(pair.client.reason, AuthenticationError)
    assert isinstance(pair.server.reason, AuthenticationError)
    assert "not this one" in str(pair.server.reason)
    assert pair.server.peer.anonymous


def test_an_anonymous_client_is_the_servers_to_judge() -> None:
    pair = Pair(client=[])
    pair.run()
    assert pair.server.peer.anonymous
    assert pair.server.state is State.OPEN


def test_a_server_without_identity_is_refused() -> None:
    pair = Pair(server=[])
    pair.run()
    assert isinstance(pair.client.reason, RemoteProtocolError)


def test_a_principal_may_not_prove_itself_twice() -> None:
    pair = Pair(client=[DOMAIN["client"], DOMAIN["client"]])
    pair.run()
    assert "twice" in str(pair.server.reason)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3])
def test_a_call_and_its_answer_arrive_whole(size: int) -> None:
    pair, body = opened(), os.urandom(size)
    pair.client.call(PATH, body, "token", None, 0.0)
    pair.run()
    call = received(pair)
    assert (call.route.path, bytes(call.body), call.deadline) == (PATH, body, None)
    pair.server.reply(call.number, [body[: size // 2], memoryview(body)[size // 2 :]])
    pair.run()
    assert pair.client_events == [ReplyReceived("token", memoryview(body))]
    assert pair.client.idle
    assert pair.server.idle


def test_either_side_calls() -> None:
    pair = opened()
    pair.server.call(str(PATH), b"from the server", 1, None, 0.0)
    pair.client.call(PATH, b"from the client", 2, None, 0.0)
    pair.run()
    (at_client,), (at_server,) = pair.client_events, pair.server_events
    assert isinstance(at_client, CallReceived)
    assert isinstance(at_server, CallReceived)
    assert (bytes(at_client.body), bytes(at_server.body)) == (b"from the server", b"from the client")


def test_an_error_arrives_as_kind_and_text() -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.run()
    pair.server.fail(received(pair).number, Kind.NOT_FOUND, "nothing here")
    pair.run()
    (failed,) = pair.client_events
    assert isinstance(failed, CallFailed)
    assert isinstance(failed.error, RemoteError)
    assert (failed.error.kind, str(failed.error)) == (Kind.NOT_FOUND, "nothing here")


def test_a_deadline_ends_the_call_on_both_sides() -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", 2.5, 0.0)
    pair.run()
    call = received(pair)
    assert call.deadline == 2.5
    pair.server.hold(call)
    pair.advance(2.4)
    assert pair.client_events == []
    pair.advance(0.2)
    (failed,) = pair.client_events
    assert isinstance(failed, CallFailed)
    assert isinstance(failed.error, DeadlineError)
    assert pair.server_events[1:] == [CallCancelled(call.number)]
    assert pair.client.statistics.deadlines_passed == 1


def test_a_deadline_reaches_the_handler_though_the_network_is_dead() -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", 2.5, 0.0)
    pair.run()
    call = received(pair)
    pair.server.hold(call)
    pair.advance(3.0, deliver=False)
    assert pair.server_events[1:] == [CallCancelled(call.number)]


def test_a_cancelled_call_stops_the_handler_and_its_answer_is_dropped() -> None:
    pair = opened()
    number = pair.client.call(PATH, b"", "token", None, 0.0)
    pair.run()
    call = received(pair)
    pair.client.cancel(number)
    pair.server.reply(call.number, b"crossing")
    pair.run()
    assert pair.client_events == []
    assert pair.client.statistics.late_replies == 1
    pair.server.reply(call.number, b"again")
    pair.run()
    assert pair.client.idle
    assert pair.server.idle


def test_cancelling_in_the_middle_of_a_body_frees_both_ends() -> None:
    pair = opened()
    number = pair.client.call(PATH, bytes(20 * CHUNK), "token", None, 0.0)
    pair.server.receive_data(pair.client.data_to_send(), 0.0)
    assert len(pair.server._exchange.bodies) == 1
    pair.client.cancel(number)
    pair.run()
    assert CallReceived not in kinds_of(pair.server_events)
    assert pair.client.idle
    assert pair.server.idle


def test_a_small_call_overtakes_a_large_body() -> None:
    pair = opened()
    pair.client.call(PATH, bytes(60 * CHUNK), "large", None, 0.0)
    pair.server.receive_data(pair.client.data_to_send(), 0.0)
    pair.client.call(PATH, b"small", "small", None, 0.0)
    pair.server.receive_data(pair.client.data_to_send(), 0.0)
    event = pair.server.next_event()
    assert isinstance(event, CallReceived)
    assert bytes(event.body) == b"small"


def test_messages_wait_for_credit_and_go_on_when_it_comes() -> None:
    pair = opened(server_limits=Limits(send_window=1000))
    count = 0
    while pair.client.send(PATH, bytes(36)):
        count += 1
    assert count == 10
    pair.run()
    sent = [event for event in pair.server_events if isinstance(event, SendReceived)]
    assert len(sent) == count
    for event in sent:
        pair.server.consumed(event.cost)
    pair.run()
    assert pair.client_events == [Writable()]
    assert pair.client.send(PATH, bytes(3 * CHUNK))
    pair.run()
    last = pair.server_events[-1]
    assert isinstance(last, SendReceived)
    assert len(last.body) == 3 * CHUNK


def test_limits_of_the_peer_are_refused_here_by_name() -> None:
    pair = opened(server_limits=Limits(max_calls=1, max_body=10))
    with pytest.raises(LimitError, match="max_body"):
        pair.client.call(PATH, [bytes(11)], 1, 1.0, 0.0)
    assert pair.client.next_timeout() == Limits().ping_seconds
    pair.client.call(PATH, [bytes(10)], 2, None, 0.0)
    with pytest.raises(LimitError, match="max_calls"):
        pair.client.call(PATH, b"", 3, None, 0.0)


def test_more_calls_than_announced_are_answered_with_the_limit() -> None:
    pair = opened(server_limits=Limits(max_calls=1))
    inject(pair.client, ROUTE, wire.call_frame(1, 1, 0, 0, b""), wire.call_frame(3, 1, 0, 0, b""))
    pair.client._exchange._calling[3] = "token"
    pair.run()
    (failed,) = pair.client_events
    assert isinstance(failed, CallFailed)
    assert failed.error.kind is Kind.LIMIT
    assert pair.server.statistics.refused_calls == 1


def test_requests_wait_while_their_answers_are_not_read() -> None:
    pair = opened(server_limits=Limits(max_queued=100))
    pair.client.call(PATH, b"1", 1, None, 0.0)
    pair.run()
    pair.server.reply(received(pair).number, bytes(1000))
    pair.client.call(PATH, b"2", 2, None, 0.0)
    pair.server.receive_data(pair.client.data_to_send(), 0.0)
    assert pair.server.next_event() is None
    pair.run()
    assert kinds_of(pair.server_events) == [CallReceived, CallReceived]


def test_an_answer_beyond_what_the_caller_takes_is_an_error_there() -> None:
    pair = opened(client_limits=Limits(max_body=10))
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.run()
    pair.server.reply(received(pair).number, [bytes(11)])
    pair.run()
    (failed,) = pair.client_events
    assert isinstance(failed, CallFailed)
    assert failed.error.kind is Kind.TOO_LARGE


def test_paths_beyond_the_number_of_routes_take_turns() -> None:
    pair = opened()
    paths = [DOMAIN.path.child(str(n)) for n in range(300)]
    for path in [*paths, *paths]:
        pair.client.call(path, b"", path, None, 0.0)
        pair.run()
        call = pair.server_events.pop()
        assert isinstance(call, CallReceived)
        assert call.route.path == path
        pair.server.reply(call.number, b"")
    with pytest.raises(ValueError, match="no block path"):
        pair.client.call("nonsense", b"", 0, None, 0.0)


def test_silence_is_asked_and_then_the_link_is_lost() -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.run()
    pair.advance(100)
    assert pair.client.state is State.OPEN
    pair.advance(39.9, deliver=False)
    assert pair.client.state is State.OPEN
    pair.advance(10.2, deliver=False)
    assert kinds_of(pair.client_events) == [CallFailed, LinkClosed]
    assert isinstance(pair.client.reason, ConnectionLostError)
    assert "no sign of life" in str(pair.client.reason)


def test_draining_finishes_what_is_under_way_and_takes_nothing_new() -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.run()
    pair.server.drain("maintenance")
    pair.run()
    assert pair.client_events == [PeerDraining(Kind.UNREACHABLE, "maintenance")]
    with pytest.raises(UnreachableError, match="draining"):
        pair.client.call(PATH, b"", "token", None, 0.0)
    pair.server.reply(received(pair).number, b"done")
    pair.run()
    assert kinds_of(pair.client_events)[1:] == [ReplyReceived, LinkClosed]
    assert pair.client.reason is None
    assert pair.server.reason is None


def test_closing_lets_leave_what_is_queued_and_fails_what_waits() -> None:
    pair = opened()
    pair.client.send(PATH, bytes(5 * CHUNK))
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.client.close()
    pair.run()
    assert kinds_of(pair.client_events) == [CallFailed, LinkClosed]
    assert SendReceived in kinds_of(pair.server_events)
    assert isinstance(pair.server_events[-1], LinkClosed)
    with pytest.raises(ConnectionLostError):
        pair.client.send(PATH, b"")


def test_a_lost_network_fails_the_calls_and_counts_what_never_left() -> None:
    pair = opened()
    pair.client.send(PATH, b"1")
    pair.client.send(PATH, b"2")
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.client.receive_eof()
    pair.run()
    failed, closed = pair.client_events
    assert isinstance(failed, CallFailed)
    assert isinstance(failed.error, ConnectionLostError)
    assert isinstance(closed, LinkClosed)
    assert closed.undelivered == 4  # the route counts as one


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        ("no place", [frame(FrameKind.HELLO, 0, bytes(16))]),
        ("no place", [frame(FrameKind.ACCEPT, 0)]),
        ("no place", [frame(FrameKind.REFUSE, 0, b"\0")]),
        ("kind 27", [frame(27, 1)]),
        ("kind 255", [frame(255, 0)]),
        ("stream 0", [frame(FrameKind.PING, 1, bytes(8))]),
        ("8 bytes", [frame(FrameKind.PING, 0, bytes(7))]),
        ("8 bytes", [frame(FrameKind.PONG, 0)]),
        ("no block path", [frame(FrameKind.ROUTE, 1, b"/nobody")]),
        ("no block path", [frame(FrameKind.ROUTE, 1, b"\xff")]),
        ("a number from 1", [frame(FrameKind.ROUTE, 0, str(PATH).encode())]),
        ("a number from 1", [frame(FrameKind.ROUTE, 257, str(PATH).encode())]),
        ("not announced", [wire.call_frame(1, 1, 0, 0, b"")]),
        ("not announced", [wire.send_frame(0, 9, 0, b"")]),
        ("too short", [frame(FrameKind.CALL, 1, bytes(11))]),
        ("too short", [frame(FrameKind.SEND, 0, bytes(7))]),
        ("too short", [frame(FrameKind.REPLY, 1, bytes(3))]),
        ("not free", [ROUTE, wire.call_frame(2, 1, 0, 0, b"")]),
        ("not free", [ROUTE, wire.call_frame(0, 1, 0, 0, b"")]),
        ("not free", [ROUTE, wire.call_frame(1, 1, 0, 0, b""), wire.call_frame(1, 1, 0, 0, b"")]),
        ("not free", [ROUTE, wire.send_frame(2, 1, CHUNK + 1, b"")]),
        ("does not hold", [ROUTE, wire.call_frame(1, 1, 0, 2, b"x")]),
        ("does not hold", [ROUTE, wire.call_frame(1, 1, 0, 0, b"x")]),
        ("does not hold", [ROUTE, wire.send_frame(0, 1, 0, b"x")]),
        ("does not hold", [ROUTE, wire.send_frame(1, 1, 1, b"x")]),
        ("DATA frames", [ROUTE, wire.call_frame(1, 1, 0, CHUNK + 1, b"x")]),
        ("max_body", [ROUTE, wire.call_frame(1, 1, 0, 2**32 - 1, b"")]),
        ("does not fit", [ROUTE, wire.call_frame(1, 1, 0, CHUNK + 1, b""), wire.data_head(1, 0)]),
        (
            "does not fit",
            [
                ROUTE,
                wire.call_frame(1, 1, 0, CHUNK + 1, b""),
                wire.data_head(1, CHUNK) + bytes(CHUNK),
                wire.data_head(1, 2) + bytes(2),
            ],
        ),
        ("second body", [ROUTE, wire.send_frame(1, 1, CHUNK + 1, b""), wire.send_frame(1, 1, CHUNK + 1, b"")]),
        ("empty", [frame(FrameKind.CANCEL, 1, b"x")]),
        ("gives back more", [wire.credit_frame(1, 7)]),
        ("malformed", [frame(FrameKind.CREDIT, 0, bytes(3))]),
        ("malformed", [frame(FrameKind.ERROR, 1)]),
        ("malformed", [frame(FrameKind.GOAWAY, 0)]),
        ("exceeds the limit", [wire._HEAD.pack((wire.MAX_PAYLOAD + 1) << 8 | 1, 0)]),
        ("credit", [ROUTE, *[wire.send_frame(0, 1, CHUNK, bytes(CHUNK))] * 17]),
    ],
)
def test_a_violation_ends_the_link_and_both_sides_know_why(what: str, frames: list[bytes]) -> None:
    pair = opened()
    inject(pair.client, *frames)
    pair.run()
    assert isinstance(pair.server.reason, RemoteProtocolError)
    assert what in str(pair.server.reason)
    assert isinstance(pair.client.reason, RemoteProtocolError)
    assert what in str(pair.client.reason)
    assert isinstance(pair.server_events[-1], LinkClosed)


@pytest.mark.parametrize("late", [wire.reply_frame(9, 0, b""), wire.data_head(9, 1) + b"x"])
def test_what_comes_late_is_dropped_and_counted(late: bytes) -> None:
    pair = opened()
    inject(pair.server, late, wire.text_frame(FrameKind.ERROR, 9, Kind.IO, "late"), frame(FrameKind.CANCEL, 9))
    pair.run()
    assert pair.client.state is State.OPEN
    assert pair.client.statistics.late_replies == 2


def test_a_peer_that_provokes_answers_and_reads_none_is_cut_off() -> None:
    pair = opened(server_limits=Limits(max_queued=100))
    for _ in range(30):
        inject(pair.client, frame(FrameKind.PING, 0, bytes(8)))
        pair.server.receive_data(pair.client.data_to_send(), 0.0)
    assert isinstance(pair.server.reason, LimitError)


def test_a_link_that_does_not_open_in_time_is_given_up() -> None:
    pair = Pair()
    pair.advance(10.1, deliver=False)
    for core in (pair.client, pair.server):
        assert isinstance(core.reason, UnreachableError)
        assert "not open after 10 s" in str(core.reason)


def test_more_bytes_than_a_handshake_needs_end_it() -> None:
    chains = [make_domain_identities("bob", root=f"root {n}")["bob"].chains[0] for n in range(8)]
    pair = Pair(client=[make_identity("bob", *chains)], server_limits=Limits(handshake_bytes=3000))
    pair.run()
    assert isinstance(pair.server.reason, LimitError)
    assert "handshake_bytes" in str(pair.server.reason)


def test_the_wrong_certificate_is_refused_though_its_key_is_proven() -> None:
    pair = Pair()
    while data := pair.client.data_to_send():
        pair.server.receive_data(data, 0.0)
    pair.server._peer_certificate = b"another"
    pair.run()
    assert "not that of its preface" in str(pair.server.reason)


def test_misuse_raises_at_the_caller() -> None:
    pair = opened()
    for core in (pair.client, pair.server):
        with pytest.raises(LocalProtocolError):
            core.admit()


def test_tls_bytes_are_never_taken_for_a_refusal() -> None:
    for _ in range(20):  # the handshake's bytes are random: byte by byte, some piece begins like a refusal
        pair = Pair(chunk=lambda: 1)
        pair.run()
        assert pair.client.state is State.OPEN


def test_nothing_is_sent_before_the_link_is_open() -> None:
    pair = Pair()
    with pytest.raises(ConnectionLostError, match="not open yet"):
        pair.client.call(PATH, b"", 1, None, 0.0)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_anywhere_in_the_handshake_never_opens_a_wrong_link(seed: int) -> None:
    pair, place = Pair(), 37 * seed
    seen = 0
    carry = pair._carry

    def flip(data: bytes, to: LinkCore) -> None:
        nonlocal seen
        changed = bytearray(data)
        if seen <= place < seen + len(data):
            changed[place - seen] ^= 1 << seed % 8
        seen += len(data)
        carry(bytes(changed), to)

    pair._carry = flip  # type: ignore[method-assign]
    pair.run()
    if seen > place:
        assert not (pair.client.state is State.OPEN and pair.server.state is State.OPEN)
