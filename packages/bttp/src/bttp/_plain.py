"""Frames that are one small call, message or answer each, and nothing unusual: many in one loop, since most are. Pure.

    take_plain(places, buffer, start, end, window, now) -> (start, events, calls, sends, window)

takes them from `buffer[start:end]` up to the first frame that is anything else, for whatever reason, also for a
violation: that one it leaves untouched, and `_receiver`, which has all the rules, takes it or says what is wrong. So a
wrong answer here can only be one that takes too much. `calls` and `sends` count what came; `window` is what the peer
may still send. Where `btspeed` is installed, its compiled twin runs instead; the tests run both.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TypeAlias

from ._events import CallReceived, ReplyReceived, Route, SendReceived
from ._frames import CHUNK
from ._limits import SEND_COST

#: Who waits for which answer; when calls run out; which calls are served; the routes; this side's parity; max_calls;
#: CHUNK; SEND_COST; and the three types of events.
Places: TypeAlias = tuple[
    dict[int, object],
    dict[int, float],
    set[int],
    dict[int, Route],
    int,
    int,
    int,
    int,
    type[CallReceived],
    type[SendReceived],
    type[ReplyReceived],
]
Plain: TypeAlias = CallReceived | SendReceived | ReplyReceived
Taken: TypeAlias = tuple[int, list[Plain], int, int, int]

_REPLY = Struct("<III").unpack_from  # with their heads
_CALL = Struct("<IIIII").unpack_from
_SEND = Struct("<IIII").unpack_from
_HEAD = Struct("<I").unpack_from


def make_places(
    calling: dict[int, object],
    dues: dict[int, float],
    serving: set[int],
    routes: dict[int, Route],
    parity: int,
    max_calls: int,
) -> Places:
    """What the loop looks at and changes: the exchange's own dictionaries, which stay the same objects."""
    return (
        calling,
        dues,
        serving,
        routes,
        parity,
        max_calls,
        CHUNK,
        SEND_COST,
        CallReceived,
        SendReceived,
        ReplyReceived,
    )


def take_plain_reference(places: Places, buffer: bytearray, start: int, end: int, window: int, now: float) -> Taken:
    """What the module says, in Python."""
    calling, dues, serving, routes, parity, max_calls = places[:6]
    events: list[Plain] = []
    calls = sends = 0
    while end - start >= 12:
        head = _HEAD(buffer, start)[0]
        kind, size = head & 0xFF, head >> 8
        stop = start + 8 + size
        if stop > end:
            break
        if kind == 19 and size >= 4:
            _, stream, total = _REPLY(buffer, start)
            if total != size - 4 or total > CHUNK or stream not in calling:
                break
            dues.pop(stream, None)
            events.append(ReplyReceived(calling.pop(stream), memoryview(buffer[start + 12 : stop])))
        elif kind == 17 and size >= 12:
            _, stream, number, timeout, total = _CALL(buffer, start)
            route = routes.get(number)
            if total != size - 12 or total > CHUNK or route is None or len(serving) >= max_calls:
                break
            if stream in serving or not stream or stream & 1 == parity:
                break
            serving.add(stream)
            calls += 1
            deadline = now + timeout / 1000 if timeout else None
            events.append(CallReceived(stream, route, memoryview(buffer[start + 20 : stop]), deadline))
        elif kind == 18 and size >= 8:
            _, stream, number, total = _SEND(buffer, start)
            route = routes.get(number)
            if total != size - 8 or total > CHUNK or route is None or stream or window <= 0:
                break
            sends += 1
            window -= total + SEND_COST
            events.append(SendReceived(route, memoryview(buffer[start + 16 : stop]), total + SEND_COST))
        else:
            break
        start = stop
    return start, events, calls, sends, window


take_plain: Callable[[Places, bytearray, int, int, int, float], Taken]
try:
    from btspeed import take_plain_frames as take_plain
except ImportError:
    take_plain = take_plain_reference
