"""Captures: what is kept of a frame, the file, and the lines for people."""

from __future__ import annotations

import contextlib

import pytest
from bttp import RemoteProtocolError
from bttp import _frames as wire
from bttp._fields import encode_fields, extended
from bttp._frames import FrameKind
from bttp.capture import (
    MAGIC,
    Captured,
    CaptureLines,
    CaptureReader,
    FrameCutter,
    What,
    encode_record,
    kept_of,
)
from hypothesis import given
from hypothesis import strategies as st

PATH = b"/bt1x/echo"


def captured(frame: bytes, *, bodies: bool = False, what: What = What.SENT) -> Captured:
    ((kind, stream, payload),) = FrameCutter().feed(frame)
    kept = kept_of(kind, payload, bodies=bodies)
    return Captured(
        time=3_723_000_042, process=7, link=3, what=what, kind=kind, stream=stream, size=len(payload), kept=kept
    )


def test_of_bodies_nothing_is_kept_and_their_sizes_are_still_right() -> None:
    lines = CaptureLines()
    said = [
        lines.line(captured(frame))
        for frame in (
            wire.frame(FrameKind.ROUTE, 1, PATH),
            wire.call_frame(5, 1, 30_000, 6, b"secret"),
            wire.send_frame(0, 1, 6, b"secret"),
            wire.reply_frame(5, 6, b"secret"),
            wire.open_frame(7, 1, 0, b"secret"),
            wire.item_frame(7, 6, b"secret"),
            wire.frame(FrameKind.DATA, 9, b"secret"),
        )
    ]
    assert said == [
        "01:02:03.000042  7/3 > ROUTE 1: /bt1x/echo",
        "01:02:03.000042  7/3 > CALL 5: route 1 (/bt1x/echo), 30 s, 6 bytes",
        "01:02:03.000042  7/3 > SEND: route 1 (/bt1x/echo), 6 bytes",
        "01:02:03.000042  7/3 > REPLY 5: 6 bytes",
        "01:02:03.000042  7/3 > OPEN 7: route 1 (/bt1x/echo), 6 bytes",
        "01:02:03.000042  7/3 > ITEM 7: 6 bytes",
        "01:02:03.000042  7/3 > DATA 9: 6 bytes",
    ]


@pytest.mark.parametrize("bodies", [False, True])
def test_of_an_auth_nothing_is_ever_kept(bodies: bool) -> None:
    record = captured(wire.frame(FrameKind.AUTH, 0, b"keys, chains, signature"), bodies=bodies)
    assert (record.kept, record.size) == (b"", 23)
    assert CaptureLines().line(record).endswith("AUTH: 23 bytes, not kept")
    assert CaptureLines().payload(record) == ""


def test_bodies_that_were_kept_are_shown_without_control_characters() -> None:
    record = captured(wire.call_frame(5, 1, 0, 7, b"a\x1b[2J\n!"), bodies=True)
    assert record.body == b"a\x1b[2J\n!"
    assert CaptureLines().payload(record) == r"'a\x1b[2J\n!'"
    long = captured(wire.frame(FrameKind.DATA, 5, bytes(5000)), bodies=True)
    assert CaptureLines().payload(long).endswith("3976 more")
    assert CaptureLines().payload(captured(wire.frame(FrameKind.ROUTE, 1, PATH), bodies=True)) == ""


def test_the_key_of_a_call_is_kept_and_its_body_not() -> None:
    frame = extended(wire.call_frame(5, 1, 0, 6, b"secret"), encode_fields(key=b"order"))
    record = captured(frame)
    assert b"secret" not in record.kept
    assert CaptureLines().line(record).endswith("EXTENDED 5: CALL 5: route 1, 6 bytes, key 6f72646572")
    assert captured(frame, bodies=True).body == b"secret"


def test_each_direction_of_each_link_has_its_own_routes() -> None:
    lines = CaptureLines()
    lines.line(captured(wire.frame(FrameKind.ROUTE, 1, PATH)))
    other = captured(wire.send_frame(0, 1, 0, b""), what=What.RECEIVED)
    assert lines.line(other).endswith("< SEND: route 1, 0 bytes")


def test_a_remark_is_shown_as_text() -> None:
    remark = Captured(time=0, process=7, link=3, what=What.REMARK, kept=b"closed: \x1b[31mred")
    assert CaptureLines().line(remark) == "00:00:00.000000  7/3 - closed: �[31mred"


RECORDS = st.builds(
    Captured,
    time=st.integers(0, 2**64 - 1),
    process=st.integers(0, 2**32 - 1),
    link=st.integers(0, 2**32 - 1),
    what=st.sampled_from(What),
    kind=st.integers(0, 255),
    stream=st.integers(0, 2**32 - 1),
    size=st.integers(64, wire.MAX_PAYLOAD),
    kept=st.binary(max_size=64),
)


@given(st.lists(RECORDS, max_size=5), st.data())
def test_a_capture_is_read_however_it_is_cut(records: list[Captured], data: st.DataObject) -> None:
    whole = MAGIC + b"".join(map(encode_record, records))
    cut = data.draw(st.integers(0, len(whole)))
    reader = CaptureReader()
    assert [*reader.feed(whole[:cut]), *reader.feed(whole[cut:])] == records


@given(RECORDS)
def test_any_record_has_a_line(record: Captured) -> None:
    lines = CaptureLines()
    assert lines.line(record).isprintable()
    assert lines.payload(record).isprintable()


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_a_damaged_capture_is_read_or_refused(records: list[Captured], data: st.DataObject) -> None:
    whole = bytearray(MAGIC + b"".join(map(encode_record, records)))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reader, lines = CaptureReader(), CaptureLines()
    with contextlib.suppress(RemoteProtocolError):
        for record in reader.feed(bytes(whole)):
            assert lines.line(record).isprintable()


@pytest.mark.parametrize("junk", [b"#!/bin/sh\n", b"BTTAP\x00\x00\x02"])
def test_another_file_is_refused(junk: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no capture"):
        CaptureReader().feed(junk)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_frames_are_cut_the_same_however_they_come(payload: bytes, cut: int) -> None:
    whole = wire.frame(FrameKind.ITEM, 7, payload) + wire.frame(FrameKind.END, 7)
    cutter = FrameCutter()
    frames = cutter.feed(whole[:cut]) + cutter.feed(whole[cut:])
    assert frames == [(FrameKind.ITEM, 7, payload), (FrameKind.END, 7, b"")]


def test_a_frame_that_cannot_be_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="exceeds the limit"):
        FrameCutter().feed(b"\x11\xff\xff\xff\0\0\0\0")
