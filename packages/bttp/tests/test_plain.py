"""Plain frames in one loop: the compiled twin takes what the reference takes, and both take what the receiver would."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from btlib import BlockPath, KeyPair, Suite
from bttp._auth import Role
from bttp._events import CallReceived, Event, Route
from bttp._frames import CHUNK, FrameKind, call_frame, frame, reply_frame, send_frame
from bttp._limits import SEND_COST, Limits
from bttp._plain import Places, Taken, make_places, take_plain_reference
from bttp._receiver import Receiver
from bttp._statistics import LinkStatistics
from bttp.errors import BttpError
from hypothesis import given
from hypothesis import strategies as st

Take = Callable[[Places, bytearray, int, int, int, float], Taken]

TWINS: list[Take] = [take_plain_reference]
try:
    import btspeed
except ImportError:
    compiled = take_plain_reference
else:
    compiled = btspeed.take_plain_frames
    TWINS.append(compiled)

needs_compiled = pytest.mark.skipif(len(TWINS) == 1, reason="btspeed is not installed")

PATH = BlockPath(KeyPair.from_seed(Suite.ED25519_X25519, bytes(32)).public.principal, ("there",))
ROUTE = Route(PATH)
MAX_CALLS = 3


def places() -> Places:
    """Of a server: it waits for answers to its calls 2 and 4, of which 2 has a deadline, and serves call 1."""
    return make_places({2: "two", 4: "four"}, {2: 7.5}, {1}, {1: ROUTE}, 0, MAX_CALLS)


def taken(take: Take, data: bytes, start: int = 0, window: int = 1000) -> tuple[Any, ...]:
    """What came of it, and what it left behind."""
    where = places()
    stop, events, calls, sends, window = take(where, bytearray(data), start, len(data), window, 5.0)
    assert all(event.body.obj is not data for event in events)
    return stop, [(type(event), *_values(event)) for event in events], calls, sends, window, where[:3]


def _values(event: Any) -> list[object]:
    values = [getattr(event, name) for name in event.__struct_fields__]
    return [bytes(value) if isinstance(value, memoryview) else value for value in values]


small = st.binary(max_size=40)
streams = st.integers(0, 9)
wire_frames = st.one_of(
    st.builds(
        lambda s, r, t, b: call_frame(s, r, t, len(b), b), streams, st.integers(0, 2), st.integers(0, 9000), small
    ),
    st.builds(lambda s, r, b: send_frame(s, r, len(b), b), st.sampled_from([0, 0, 0, 3]), st.integers(1, 2), small),
    st.builds(lambda s, b: reply_frame(s, len(b), b), streams, small),
    st.builds(lambda s, more: reply_frame(s, more, b"body"), streams, st.integers(0, 9)),
    st.builds(frame, st.integers(0, 30), streams, small),
)


@needs_compiled
@given(st.lists(wire_frames, max_size=6), st.integers(0, 400), st.data())
def test_the_compiled_twin_does_what_the_reference_does(sent: list[bytes], window: int, data: st.DataObject) -> None:
    whole = bytearray(b"".join(sent))
    whole = whole[: data.draw(st.integers(0, len(whole)))]
    if whole and data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
    assert taken(compiled, bytes(whole), 0, window) == taken(take_plain_reference, bytes(whole), 0, window)


def exchange() -> tuple[Receiver, deque[Event]]:
    events: deque[Event] = deque()
    receiver = Receiver(Role.SERVER, Limits(max_calls=MAX_CALLS, send_window=300), LinkStatistics(), events)
    receiver.calling.update({2: "two", 4: "four"})
    receiver._routes_in[1] = ROUTE
    receiver.arriving(5.0)
    return receiver, events


@given(st.lists(wire_frames, max_size=6))
def test_what_is_taken_at_once_is_what_one_frame_after_the_other_gives(sent: list[bytes]) -> None:
    fast, fast_events = exchange()
    data = bytearray(b"".join(sent))
    stop = fast.take_plain(data, 0, len(data))
    slow, slow_events = exchange()
    place = 0
    while place < stop:
        size = int.from_bytes(data[place + 1 : place + 4], "little")
        stream = int.from_bytes(data[place + 4 : place + 8], "little")
        slow.handlers[data[place]](stream, data, place + 8, place + 8 + size)
        place += 8 + size
    assert place == stop  # a whole number of frames
    assert list(fast_events) == list(slow_events)
    assert fast.calling == slow.calling
    assert fast._serving == slow._serving
    assert fast._window == slow._window
    assert fast._statistics == slow._statistics


@pytest.mark.parametrize("take", TWINS)
@pytest.mark.parametrize(
    "odd",
    [
        call_frame(3, 1, 0, 5, b"four"),
        call_frame(3, 2, 0, 4, b"four"),
        call_frame(2, 1, 0, 4, b"four"),
        call_frame(1, 1, 0, 4, b"four"),
        call_frame(0, 1, 0, 4, b"four"),
        call_frame(3, 1, 0, CHUNK + 1, b""),
        call_frame(3, 1, 0, CHUNK + 1, bytes(CHUNK + 1)),
        frame(FrameKind.CALL, 3, bytes(11)),
        send_frame(3, 1, 4, b"four"),
        send_frame(0, 2, 4, b"four"),
        send_frame(0, 1, 3, b"four"),
        send_frame(0, 1, CHUNK + 1, bytes(CHUNK + 1)),
        frame(FrameKind.SEND, 0, bytes(7)),
        reply_frame(6, 4, b"four"),
        reply_frame(2, 3, b"four"),
        reply_frame(2, CHUNK + 1, b""),
        frame(FrameKind.REPLY, 2, bytes(3)),
        frame(FrameKind.PING, 0, bytes(8)),
        bytes(7),
    ],
)
def test_what_is_not_plain_is_left_as_it_is(take: Take, odd: bytes) -> None:
    first = send_frame(0, 1, 2, b"ok")
    stop, events, calls, sends, window, where = taken(take, first + odd + first)
    assert (stop, len(events), calls, sends, window) == (len(first), 1, 0, 1, 1000 - 2 - SEND_COST)
    assert where == places()[:3]
    assert taken(take, first + odd[:-1])[0] == len(first)


@pytest.mark.parametrize("take", TWINS)
def test_it_stops_at_the_limits(take: Take) -> None:
    calls = b"".join(call_frame(stream, 1, 0, 0, b"") for stream in (3, 5, 7))
    assert taken(take, calls)[0] == len(calls) * 2 // 3  # with the one that is served already, three
    sends = send_frame(0, 1, 0, b"") * 3
    assert taken(take, sends, window=SEND_COST + 1)[3:5] == (2, 1 - SEND_COST)


@pytest.mark.parametrize("take", TWINS)
def test_a_body_stays_when_the_buffer_is_filled_anew(take: Take) -> None:
    data = bytearray(call_frame(3, 1, 1500, 4, b"four") + reply_frame(2, 3, b"two"))
    events = take(places(), data, 0, len(data), 0, 5.0)[1]
    data[:] = bytes(len(data))
    assert [bytes(event.body) for event in events] == [b"four", b"two"]
    assert isinstance(events[0], CallReceived)
    assert events[0].deadline == 6.5


@needs_compiled
@pytest.mark.parametrize(("start", "end"), [(-1, 4), (5, 4), (0, 9)])
def test_the_compiled_twin_reads_nothing_beside_its_buffer(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="stretch of the buffer"):
        compiled(places(), bytearray(8), start, end, 0, 0.0)


def test_a_flood_beyond_what_may_wait_goes_the_long_way() -> None:
    receiver, events = exchange()
    receiver._backlog = receiver._max_queued + 1
    data = bytearray(call_frame(3, 1, 0, 0, b""))
    assert receiver.take_plain(data, 0, len(data)) == 0
    assert not events


def test_an_error_of_the_long_way_is_not_hidden() -> None:
    receiver, _ = exchange()
    data = bytearray(call_frame(3, 2, 0, 0, b""))
    assert receiver.take_plain(data, 0, len(data)) == 0
    with pytest.raises(BttpError, match="not announced"):
        receiver.handlers[17](3, data, 8, len(data))
