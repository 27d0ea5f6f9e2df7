"""Two cores joined in memory under a virtual clock: what an open link promises, step by step."""

from __future__ import annotations

import os

import pytest
from btlib.kinds import Kind
from bttp import (
    ConnectionLostError,
    LimitError,
    Limits,
    RemoteError,
    TraceParent,
    UnreachableError,
)
from bttp import _frames as wire
from bttp._events import (
    CallCancelled,
    CallFailed,
    CallReceived,
    Event,
    LinkClosed,
    PeerDraining,
    ReplyReceived,
    SendReceived,
    StreamReceived,
    Writable,
)
from bttp._fields import Fields, encode_fields
from bttp._frames import CHUNK, FrameKind, frame
from bttp._states import State
from bttp.errors import DeadlineError
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN, inject, opened

PATH = DOMAIN.path.child("echo")
ROUTE = frame(FrameKind.ROUTE, 1, str(PATH).encode())


def kinds_of(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


def received(pair: Pair) -> CallReceived:
    (call,) = [event for event in pair.server_events if isinstance(event, CallReceived)]
    return call


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
    pair.client._exchange.calling[3] = "token"
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


def test_a_call_that_crosses_the_going_away_is_answered() -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.server.drain("maintenance")
    said = pair.server.data_to_send()
    pair.server.receive_data(pair.client.data_to_send(), 0.0)
    pair.client.receive_data(said, 0.0)
    pair.run()
    assert LinkClosed not in kinds_of(pair.client_events)
    pair.server.reply(received(pair).number, b"done")
    pair.run()
    assert kinds_of(pair.client_events)[-2:] == [ReplyReceived, LinkClosed]


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


@pytest.mark.parametrize("size", [0, 5, CHUNK, CHUNK + 1])
def test_fields_arrive_with_their_call_message_or_stream_alone(size: int) -> None:
    pair, trace = opened(), TraceParent(trace_id=bytes(15) + b"1", parent_id=bytes(7) + b"2")
    pair.client.call(PATH, bytes(size), "token", 5.0, 0.0, encode_fields(b"key", trace))
    pair.client.call(PATH, bytes(size), "token", 5.0, 0.0)
    pair.client.send(PATH, bytes(size), encode_fields(None, trace))
    pair.client.send(PATH, bytes(size))
    pair.client.open(PATH, b"first", "token", 5.0, 0.0, encode_fields(None, trace))
    pair.run()
    got = [event.fields for event in pair.server_events if isinstance(event, CallReceived)]
    assert got == [Fields(key=b"key", trace=trace), None]
    sent = [event.fields for event in pair.server_events if isinstance(event, SendReceived)]
    assert sent == [Fields(trace=trace), None]
    opens = [event.fields for event in pair.server_events if isinstance(event, StreamReceived)]
    assert opens == [Fields(trace=trace)]


def test_each_side_names_its_replay_cache() -> None:
    pair = Pair(instances=(0, 7))
    pair.run()
    assert (pair.client.peer_instance, pair.server.peer_instance) == (7, 0)
