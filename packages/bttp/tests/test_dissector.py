"""Frames in words: the vectors of the specification, whole links, and bytes that are none."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import bttp
import bttp.blocking
import pytest
from bttp import RemoteProtocolError
from bttp._frames import CHUNK, FrameKind, frame
from bttp.dissector import Direction, Dissector
from bttp.testing import Pair
from bttp.testing._evil import DOMAIN, ECHO, ROOT, WAIT, serving
from bttp.testing._pair import opened
from hypothesis import given
from hypothesis import strategies as st

VECTORS = Path(__file__).parent / "vectors"


def vector(name: str) -> bytes:
    return bytes.fromhex(json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["bytes"])


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("call", "CALL 1: route 1, 30 s, 5 bytes"),
        ("send", "SEND: route 1, 5 bytes"),
        ("reply", "REPLY 1: 5 bytes"),
        ("large-reply", "REPLY 1: 65538 bytes"),
        ("error", "ERROR 1: NOT_FOUND: nothing listens"),
        ("cancel", "CANCEL 1"),
        ("credit", "CREDIT: 262144 bytes more"),
        ("open", "OPEN 1: route 1, 30 s, 5 bytes"),
        ("item", "ITEM 1: 5 bytes"),
        ("end", "END 1"),
        ("reset", "RESET 1: CANCELLED: enough"),
        ("ping", "PING: 8 bytes"),
        (
            "extended-call",
            "EXTENDED 1: CALL 1: route 1, 30 s, 5 bytes, key 6f72646572203636, "
            "sent before, 1.5 s ago, to 0123456789abcdef, "
            "trace 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        (
            "hello",
            "HELLO: version 1, auths 1, max_calls 1024, max_body 67108864, send_window 1048576, "
            "stream_window 262144, link_window 16777216, instance 81985529216486895",
        ),
    ],
)
def test_each_kind_of_frame_has_its_words(name: str, line: str) -> None:
    assert Dissector().feed(vector(name))[0] == line


def test_a_route_is_shown_and_remembered() -> None:
    dissector = Dissector()
    (route,) = dissector.feed(vector("route"))
    path = route.removeprefix("ROUTE 1: ")
    assert path.endswith("/hosts/nas")
    assert dissector.feed(vector("call")) == [f"CALL 1: route 1 ({path}), 30 s, 5 bytes"]


def test_what_is_malformed_is_shown_as_such() -> None:
    lines = Dissector().feed(frame(FrameKind.CALL, 1, b"x") + frame(99, 2, b"abc") + frame(FrameKind.ROUTE, 1, b"\xff"))
    assert lines[0].startswith("CALL 1: malformed, 1 bytes")
    assert lines[1] == "kind 99 2: unknown, 3 bytes"
    assert lines[2].startswith("ROUTE 1: malformed")
    with pytest.raises(RemoteProtocolError):
        Dissector().feed(b"\x11\xff\xff\xff\1\0\0\0")


def test_a_text_of_the_peer_reaches_no_terminal_as_it_is() -> None:
    lines = Dissector().feed(frame(FrameKind.ERROR, 1, b"\0\x1b[2Jred") + frame(FrameKind.ROUTE, 1, b"/\x1b[2J"))
    assert len(lines) == 2
    assert "\x1b" not in "".join(lines)


@given(st.binary(max_size=400))
def test_any_bytes_are_lines_or_no_frames(data: bytes) -> None:
    try:
        Dissector().feed(data)
    except RemoteProtocolError:
        return


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_lines_are_the_same_however_the_bytes_are_cut(sizes: list[int]) -> None:
    data = b"".join(vector(name) for name in ("route", "call", "item", "end", "extended-open"))
    dissector, place, turn = Dissector(), 0, 0
    lines: list[str] = []
    while place < len(data):
        size = sizes[turn % len(sizes)]
        lines += dissector.feed(data[place : place + size])
        place, turn = place + size, turn + 1
    assert lines == Dissector().feed(data)


def tapped(pair: Pair) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    dissectors = {direction: Dissector() for direction in Direction}

    def tap(direction: Direction, plaintext: bytes) -> None:
        seen.extend((direction.value, line) for line in dissectors[direction].feed(plaintext))

    pair.client.tap(tap)
    return seen


@pytest.mark.parametrize("size", [5, 3 * CHUNK])
def test_a_tap_sees_both_directions_of_a_link_from_the_next_frame_on(size: int) -> None:
    pair = opened()
    pair.client.call(DOMAIN.path, b"before", 1, None, 0.0)
    pair.run()
    seen = tapped(pair)
    pair.server.reply(1, bytes(size))
    pair.client.call(DOMAIN.path, bytes(size), 2, None, 0.0)
    pair.run()
    assert ("sent", f"CALL 3: route 1, {size} bytes") in seen
    assert ("received", f"REPLY 1: {size} bytes") in seen
    chunks = [line for line in seen if "DATA" in line[1]]
    assert len(chunks) == (6 if size > CHUNK else 0)
    pair.client.tap(None)
    count = len(seen)
    pair.server.reply(3, b"after")
    pair.run()
    assert len(seen) == count


@pytest.mark.parametrize("place", [3, 30, 100, CHUNK // 2, CHUNK + 300])
def test_a_tap_that_comes_in_the_middle_of_a_frame_waits_for_the_next(place: int) -> None:
    pair = opened()
    pair.client.call(DOMAIN.path, b"", 1, None, 0.0)
    pair.run()
    pair.server.reply(1, bytes(2 * CHUNK))
    data = pair.server.data_to_send()
    pair.client.receive_data(data[:place], 0.0)
    seen = tapped(pair)
    pair.client.receive_data(data[place:], 0.0)
    pair.server.drain("over")
    pair.run()
    assert ("received", "GOAWAY: UNREACHABLE: over") in seen


def test_a_tap_that_fails_is_taken_off_and_the_link_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with (
        serving(bttp.Limits()) as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=ROOT) as link,
        caplog.at_level(logging.ERROR, "bttp"),
    ):
        link.tap(lambda _direction, _plaintext: print(1 // 0))
        assert bytes(link.call(ECHO, b"on", timeout=WAIT)) == b"on"
        lines: list[bytes] = []
        link.tap(lambda _direction, plaintext: lines.append(plaintext))
        assert bytes(link.call(ECHO, b"looked at", timeout=WAIT)) == b"looked at"
        assert any(b"looked at" in line for line in lines)
    assert [record.__dict__["fields"]["event"] for record in caplog.records] == ["tap failed"]
