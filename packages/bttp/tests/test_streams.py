"""Streams between two cores in memory: order, credit, half-close, reset, and what a peer may not do."""

from __future__ import annotations

import os

import pytest
from btlib.kinds import Kind
from bttp import ConnectionLostError, LimitError, Limits, LocalProtocolError, RemoteError, RemoteProtocolError
from bttp import _frames as wire
from bttp._events import (
    CallReceived,
    Event,
    ItemReceived,
    StreamEnded,
    StreamReceived,
    StreamReset,
    StreamWritable,
)
from bttp._frames import CHUNK, FrameKind, frame
from bttp._limits import ITEM_COST, MAX_STREAM_QUEUED
from bttp._states import State
from bttp.errors import DeadlineError
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN

PATH = DOMAIN.path.child("stream")
ROUTE = frame(FrameKind.ROUTE, 1, str(PATH).encode())
OPEN = wire.open_frame(1, 1, 0, b"")
SMALL = Limits(stream_window=10_000, link_window=15_000)


def opened(**options: Limits) -> Pair:
    pair = Pair(**options)  # type: ignore[arg-type]
    pair.run()
    pair.client_events.clear()
    pair.server_events.clear()
    return pair


def streaming(**options: Limits) -> tuple[Pair, int]:
    pair = opened(**options)
    number = pair.client.open(PATH, b"hello", "mine")
    pair.run()
    (event,) = pair.server_events
    assert isinstance(event, StreamReceived)
    assert (event.number, event.route.path, bytes(event.body)) == (number, PATH, b"hello")
    event.stream.token = "theirs"
    pair.server_events.clear()
    return pair, number


def items(events: list[Event]) -> list[ItemReceived]:
    return [event for event in events if isinstance(event, ItemReceived)]


def only_reset(events: list[Event]) -> Exception:
    (event,) = [event for event in events if isinstance(event, StreamReset)]
    return event.error


@pytest.mark.parametrize("sizes", [[0], [1, 2, 3], [CHUNK, CHUNK + 1, 5, 3 * CHUNK, 0, 1]])
def test_items_arrive_whole_and_in_order_in_both_directions(sizes: list[int]) -> None:
    wide = Limits(stream_window=1 << 20)
    pair, number = streaming(client_limits=wide, server_limits=wide)
    for core, events, token in (
        (pair.client, pair.server_events, "theirs"),
        (pair.server, pair.client_events, "mine"),
    ):
        sent = [os.urandom(size) for size in sizes]
        for item in sent:
            if not core.streams.write(number, [item[:1], memoryview(item)[1:]]):
                pair.run()
                assert core.streams.write(number, item)
        core.streams.finish(number)
        pair.run()
        assert [bytes(event.body) for event in items(events)] == sent
        assert {event.stream.token for event in items(events)} == {token}
        assert isinstance(events[-1], StreamEnded)
    assert pair.client.idle
    assert pair.server.idle


def test_a_finished_side_still_receives() -> None:
    pair, number = streaming()
    pair.client.streams.finish(number)
    with pytest.raises(LocalProtocolError, match="finished"):
        pair.client.streams.write(number, b"")
    assert pair.server.streams.write(number, b"late")
    pair.run()
    assert [bytes(event.body) for event in items(pair.client_events)] == [b"late"]
    pair.server.streams.finish(number)
    with pytest.raises(LocalProtocolError, match="over"):
        pair.server.streams.write(number, b"")


def test_a_writer_waits_until_its_items_are_taken() -> None:
    pair, number = streaming(server_limits=SMALL)
    sent = 0
    while pair.client.streams.write(number, bytes(1000)):
        sent += 1
        pair.run()
    assert sent == -(-10_000 // (1000 + ITEM_COST))
    got = items(pair.server_events)
    assert len(got) == sent
    assert not pair.client_events
    for event in got[:4]:
        pair.server.streams.taken(number, event.cost)
    pair.run()
    assert [type(event) for event in pair.client_events] == [StreamWritable]
    assert pair.client.streams.write(number, b"again")


def test_all_streams_share_the_window_of_the_link() -> None:
    pair = opened(server_limits=SMALL)
    numbers = [pair.client.open(PATH, b"", n) for n in range(3)]
    for number in numbers:
        while pair.client.streams.write(number, bytes(1000)):
            pass
    pair.run()
    got = items(pair.server_events)
    assert sum(event.cost for event in got) <= SMALL.link_window + 1000 + ITEM_COST
    for event in got:
        pair.server.streams.taken(event.number, event.cost)
    pair.run()
    assert {event.stream.token for event in pair.client_events if isinstance(event, StreamWritable)} == {0, 1, 2}


def test_little_read_of_many_streams_is_given_back_before_all_stand() -> None:
    pair = opened(server_limits=Limits(stream_window=100_000, link_window=15_000))
    for round_ in range(40):
        number = pair.client.open(PATH, b"", round_)
        assert pair.client.streams.write(number, bytes(1000)), round_
        pair.run()
        pair.server.streams.taken(number, items(pair.server_events)[-1].cost)
        pair.run()


@pytest.mark.parametrize("who", ["client", "server"])
def test_credit_survives_streams_that_are_reset_at_any_point(who: str) -> None:
    pair = opened(server_limits=Limits(stream_window=5 * CHUNK, link_window=6 * CHUNK))
    for round_ in range(30):
        number = pair.client.open(PATH, b"", round_)
        assert pair.client.streams.write(number, bytes(1000)), round_
        assert pair.client.streams.write(number, bytes(3 * CHUNK)), round_
        if round_ % 3:
            for _ in range(round_ % 3):
                pair.server.receive_data(pair.client.data_to_send(), 0.0)
        if who == "server":
            pair.run()
        (pair.client if who == "client" else pair.server).streams.reset(number, Kind.CANCELLED, "enough")
        pair.run()
        for event in items(pair.server_events):
            pair.server.streams.taken(event.number, event.cost)
        pair.server_events.clear()
        pair.run()
        assert pair.client.state is State.OPEN, pair.client.reason
    assert pair.client.idle
    assert pair.server.idle


def test_a_small_call_overtakes_a_stream() -> None:
    pair, number = streaming(server_limits=Limits(stream_window=1 << 30, link_window=1 << 30))
    while pair.client.streams.write(number, bytes(CHUNK)):
        pass
    pair.client.call(PATH, b"quick", "token")
    pair.server.receive_data(pair.client.data_to_send(), 0.0)
    assert isinstance(pair.server.next_event(), CallReceived)
    assert isinstance(pair.server.next_event(), ItemReceived)


def test_a_stream_holds_little_that_waits_to_leave_whatever_the_credit() -> None:
    pair, number = streaming(server_limits=Limits(stream_window=1 << 30, link_window=1 << 30))
    count = 0
    while pair.client.streams.write(number, bytes(10_000)):
        count += 1
    assert count * 10_000 <= MAX_STREAM_QUEUED + 10_000
    pair.run()
    assert [type(event) for event in pair.client_events] == [StreamWritable]


@pytest.mark.parametrize("behind", [False, True])
def test_a_reset_carries_its_reason_and_drops_or_follows_what_was_written(behind: bool) -> None:
    pair, number = streaming()
    pair.client.streams.write(number, b"last words")
    pair.client.streams.reset(number, Kind.NO_SPACE, "the disk is full", behind=behind)
    pair.run()
    error = only_reset(pair.server_events)
    assert isinstance(error, RemoteError)
    assert (error.kind, error.message) == (Kind.NO_SPACE, "the disk is full")
    assert len(items(pair.server_events)) == behind
    assert pair.client.idle
    assert pair.server.idle


def test_what_crosses_a_reset_is_dropped_and_counted() -> None:
    pair, number = streaming()
    pair.server.streams.write(number, b"crossing")
    pair.server.streams.finish(number)
    crossing = pair.server.data_to_send()
    pair.client.streams.reset(number, Kind.CANCELLED, "enough")
    pair.client.receive_data(crossing, 0.0)
    pair.run()
    assert pair.client.statistics.late_replies == 2
    assert not pair.client_events
    pair.client.streams.reset(number, Kind.CANCELLED, "again")
    assert pair.client.state is State.OPEN


def test_a_deadline_ends_the_stream_on_both_sides() -> None:
    pair = opened()
    pair.client.open(PATH, b"", "mine", 5.0, pair.now)
    pair.run()
    pair.advance(6)
    assert isinstance(only_reset(pair.client_events), DeadlineError)
    assert isinstance(only_reset(pair.server_events), DeadlineError)
    assert pair.server.idle


def test_a_stream_ends_with_the_right_to_it() -> None:
    pair, number = streaming()
    pair.server.limit_stream(number, 3.0)
    pair.advance(4)
    error = only_reset(pair.client_events)
    assert isinstance(error, RemoteError)
    assert error.kind is Kind.EXPIRED


def test_a_lost_link_resets_its_streams() -> None:
    pair, _ = streaming()
    pair.client.abort(ConnectionLostError("cut"))
    pair.run()
    assert isinstance(only_reset(pair.client_events), ConnectionLostError)
    pair.server.receive_eof()
    pair.run()
    assert isinstance(only_reset(pair.server_events), ConnectionLostError)


def test_draining_refuses_new_streams_and_lets_old_ones_finish() -> None:
    pair, number = streaming()
    pair.server.drain()
    pair.run()
    with pytest.raises(Exception, match="draining"):
        pair.client.open(PATH, b"", "new")
    pair.client.streams.write(number, b"still")
    pair.client.streams.finish(number)
    pair.server.streams.finish(number)
    pair.run()
    assert [bytes(event.body) for event in items(pair.server_events)] == [b"still"]
    assert pair.client.state is State.CLOSED
    assert pair.client.reason is None


def test_streams_count_as_calls() -> None:
    pair = opened(server_limits=Limits(max_calls=2))
    number = pair.client.open(PATH, b"", 1)
    pair.client.call(PATH, b"", 2)
    with pytest.raises(LimitError, match="max_calls"):
        pair.client.open(PATH, b"", 3)
    pair.client.streams.reset(number, Kind.CANCELLED, "enough")
    pair.client.open(PATH, b"", 3)
    pair.client._exchange._peer_calls = 9  # a peer that does not count
    pair.client.open(PATH, b"", 4)
    pair.run()
    error = only_reset(pair.client_events)
    assert error.kind is Kind.LIMIT  # type: ignore[attr-defined]


def test_what_is_too_long_is_refused_before_it_leaves() -> None:
    pair, number = streaming(server_limits=Limits(max_body=100_000))
    with pytest.raises(LimitError, match="max_body"):
        pair.client.streams.write(number, bytes(100_001))
    with pytest.raises(LimitError, match="opens with"):
        pair.client.open(PATH, bytes(CHUNK + 1), "token")


def test_items_beyond_the_memory_for_unfinished_bodies_end_their_stream_alone() -> None:
    pair, number = streaming(server_limits=Limits(max_receiving=CHUNK))
    pair.client.streams.write(number, bytes(2 * CHUNK))
    pair.run()
    assert "max_receiving" in str(only_reset(pair.client_events))
    assert "max_receiving" in str(only_reset(pair.server_events))
    assert pair.server.state is State.OPEN


ITEM = wire.item_frame(1, 1, b"x")


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        ("too long", [frame(FrameKind.OPEN, 1, bytes(9 + CHUNK))]),
        ("stream_window", [ROUTE, OPEN, *[wire.item_frame(1, CHUNK, bytes(CHUNK))] * 17]),
        ("link_window", [wire.item_frame(1, CHUNK, bytes(CHUNK))] * 700),
    ],
)
def test_too_much_ends_the_link_and_both_sides_know_why(what: str, frames: list[bytes]) -> None:
    pair = opened(
        server_limits=Limits(link_window=3 * (1 << 20), max_body=1 << 20) if what == "link_window" else Limits()
    )
    if what == "link_window":
        pair.server.streams._put_stray = lambda _cost: False  # type: ignore[method-assign,assignment]
    pair.client._exchange.outbox.frames += frames
    pair.run()
    assert isinstance(pair.server.reason, RemoteProtocolError)
    assert what in str(pair.server.reason)
    assert what in str(pair.client.reason)


def test_a_long_item_may_overtake_shorter_ones_of_other_streams() -> None:
    pair = opened(server_limits=Limits(stream_window=3 * CHUNK, link_window=5 * CHUNK))
    one, other = (pair.client.open(PATH, b"", name, None, 0.0) for name in ("one", "other"))
    for number, size in ((one, 1), (one, CHUNK + 1), (one, 1), (other, 4 * CHUNK + 1)):
        assert pair.client.streams.write(number, bytes(size))
    pair.run()
    sizes = [len(event.body) for event in pair.server_events if isinstance(event, ItemReceived)]
    assert sorted(sizes) == [1, 1, CHUNK + 1, 4 * CHUNK + 1]
    assert pair.server.state is State.OPEN


def test_what_a_reset_drops_makes_room_for_other_streams() -> None:
    pair = opened(server_limits=Limits(link_window=10_000))
    first, second = pair.client.open(PATH, b"", 1), pair.client.open(PATH, b"", 2)
    pair.run()
    while pair.client.streams.write(first, bytes(5000)):
        pass
    assert not pair.client.streams.write(second, b"")
    pair.server.streams.reset(first, Kind.CANCELLED, "enough")
    pair.client.receive_data(pair.server.data_to_send(), 0.0)
    events = [pair.client.next_event() for _ in range(3)]
    assert {event.stream.token for event in events if isinstance(event, StreamWritable)} == {1, 2}
    assert pair.client.streams.write(second, b"")
