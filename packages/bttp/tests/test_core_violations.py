"""Two cores joined in memory: what is too much of a peer, and what is dropped. What else it may not do: the vectors."""

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
from bttp._frames import CHUNK, FrameKind, frame
from bttp._states import State
from bttp.testing._pair import DOMAIN, inject, opened

PATH = DOMAIN.path.child("echo")
ROUTE = frame(FrameKind.ROUTE, 1, str(PATH).encode())


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        (
            "does not fit",
            [
                ROUTE,
                wire.call_frame(1, 1, 0, CHUNK + 1, b""),
                wire.data_head(1, CHUNK) + bytes(CHUNK),
                wire.data_head(1, 2) + bytes(2),
            ],
        ),
        ("credit", [ROUTE, *[wire.send_frame(0, 1, CHUNK, bytes(CHUNK))] * 17]),
    ],
)
def test_too_much_ends_the_link_and_both_sides_know_why(what: str, frames: list[bytes]) -> None:
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
