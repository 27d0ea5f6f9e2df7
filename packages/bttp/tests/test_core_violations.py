"""Two cores joined in memory: what the peer may not do, and what is dropped."""

from __future__ import annotations

import pytest
from btlib.kinds import Kind
from bttp import (
    LimitError,
    Limits,
    RemoteProtocolError,
)
from bttp import _frames as wire
from bttp._events import (
    LinkClosed,
)
from bttp._fields import extended
from bttp._frames import CHUNK, FrameKind, frame
from bttp._states import State
from bttp.testing._pair import DOMAIN, inject, opened

PATH = DOMAIN.path.child("echo")
ROUTE = frame(FrameKind.ROUTE, 1, str(PATH).encode())


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        ("no place", [frame(FrameKind.HELLO, 0, bytes(16))]),
        ("was not sent", [frame(FrameKind.ACCEPT, 0)]),
        ("was not sent", [frame(FrameKind.REFUSE, 0, b"\0")]),
        ("malformed", [frame(FrameKind.AUTH, 0, b"\0")]),
        ("stream 0", [frame(FrameKind.AUTH, 1, b"\0")]),
        ("kind 28", [frame(28, 1)]),
        ("too short", [frame(FrameKind.EXTENDED, 1, bytes(3))]),
        ("kind 24", [frame(FrameKind.EXTENDED, 1, b"\x18\0\0\0" + bytes(4))]),
        ("kind 27", [frame(FrameKind.EXTENDED, 1, b"\x1b\0\0\0" + bytes(4))]),
        ("kind 17", [frame(FrameKind.EXTENDED, 1, b"\x11\1\0\0" + bytes(12))]),
        ("do not fit", [frame(FrameKind.EXTENDED, 1, b"\x11\0\2\0" + bytes(1))]),
        ("do not fit", [frame(FrameKind.EXTENDED, 1, b"\x11\0\1\2" + bytes(600))]),
        ("do not fit", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"")]),
        ("cut off", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\2k")]),
        ("ascending", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\7\0\7\0")]),
        ("64 bytes", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\0")]),
        ("64 bytes", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\x41" + bytes(65))]),
        ("beside a key", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\2\x0c" + bytes(12))]),
        ("12 bytes", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\1k\2\1x")]),
        ("only a CALL", [ROUTE, extended(wire.send_frame(0, 1, 0, b""), b"\1\1k")]),
        ("too short", [ROUTE, extended(frame(FrameKind.CALL, 1, bytes(11)), b"\1\1k")]),
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
        ("exceeds the limit", [wire.HEAD.pack((wire.MAX_PAYLOAD + 1) << 8 | 1, 0)]),
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
