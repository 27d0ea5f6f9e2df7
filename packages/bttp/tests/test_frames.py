"""The frame codec: whole, byte by byte, split everywhere, truncated and flipped."""

from __future__ import annotations

import pytest
from btlib.kinds import Kind
from bttp import RemoteProtocolError
from bttp._frames import (
    CHUNK,
    IDLE_SIZE,
    MAX_PAYLOAD,
    MAX_TEXT,
    PLACED,
    FrameKind,
    FrameReader,
    Hello,
    call_frame,
    data_head,
    frame,
    hello_frame,
    parse_hello,
    parse_text,
    parse_u32,
    text_frame,
)
from hypothesis import given
from hypothesis import strategies as st

Frames = list[tuple[int, int, bytes]]

frames = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != 20), st.integers(0, 2**32 - 1), st.binary(max_size=300)),
    max_size=8,
)


def read(data: bytes, sizes: list[int]) -> Frames:
    """All frames in `data`, given to a reader in pieces of these sizes (the last again and again)."""
    reader, out, place, piece = FrameReader(lambda _stream, _length: None), [], 0, 0
    while place < len(data):
        space = reader.space()
        count = min(len(space), sizes[min(piece, len(sizes) - 1)], len(data) - place)
        space[:count] = data[place : place + count]
        place, piece = place + count, piece + 1
        reader.filled(count)
        out += [(kind, stream, bytes(reader.buffer[start:stop])) for kind, stream, start, stop in reader.frames()]
    return out


@given(frames, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: Frames, sizes: list[int]) -> None:
    data = b"".join(frame(*one) for one in sent)
    assert read(data, sizes) == read(data, [1]) == read(data, [len(data) or 1]) == sent


@given(frames, st.data())
def test_a_truncated_stream_gives_a_beginning_of_the_frames(sent: Frames, data: st.DataObject) -> None:
    whole = b"".join(frame(*one) for one in sent)
    got = read(whole[: data.draw(st.integers(0, len(whole)))], [50])
    assert got == sent[: len(got)]


@given(frames, st.data())
def test_a_flipped_bit_never_breaks_the_reader(sent: Frames, data: st.DataObject) -> None:
    whole = bytearray(b"".join(frame(*one) for one in sent))
    if whole:
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
        try:
            got = read(bytes(whole), [64])
        except RemoteProtocolError:
            return
        assert sum(len(payload) + 8 for _, _, payload in got) <= len(whole)


@given(
    st.lists(st.sampled_from([0, 9, 16_375, 16_376, 16_377, 30_000, MAX_PAYLOAD]), max_size=8), st.integers(9, 20_000)
)
def test_frames_longer_than_the_first_buffer_come_out_whole(sizes: list[int], size: int) -> None:
    sent = [(FrameKind.CALL, number, bytes([number]) * length) for number, length in enumerate(sizes)]
    data = b"".join(frame(*one) for one in sent)
    assert read(data, [size]) == read(data, [len(data) or 1]) == sent


def test_who_says_little_takes_little_memory() -> None:
    reader = FrameReader(lambda _stream, _length: None)
    for _ in range(1000):
        piece = frame(FrameKind.PING, 0, bytes(8)) * 500
        space = reader.space()
        space[: len(piece)] = piece
        assert reader.filled(len(piece))
        assert len(list(reader.frames())) == 500
    assert len(reader.buffer) == IDLE_SIZE


def test_a_length_beyond_the_limit_is_refused_at_the_head() -> None:
    head = frame(1, 0, bytes(MAX_PAYLOAD + 1))[:8]
    with pytest.raises(RemoteProtocolError, match="exceeds the limit"):
        read(head, [8])


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 700))
def test_data_that_is_still_arriving_goes_straight_to_its_body(body: bytes, size: int) -> None:
    target, placed = bytearray(len(body)), []

    def sink(stream: int, length: int) -> memoryview:
        placed.append((stream, length))
        return memoryview(target)

    data = data_head(7, len(body)) + body + frame(FrameKind.PING, 0, bytes(8))
    reader, kinds, place = FrameReader(sink), [], 0
    while place < len(data):
        space = reader.space()
        count = min(len(space), size, len(data) - place)
        space[:count] = data[place : place + count]
        place += count
        reader.filled(count)
        for kind, stream, start, stop in reader.frames():
            kinds.append(kind)
            if kind == FrameKind.DATA:
                target[:] = reader.buffer[start:stop]
            assert stream == (0 if kind == FrameKind.PING else 7)
    assert target == body
    assert kinds in ([PLACED, FrameKind.PING], [FrameKind.DATA, FrameKind.PING])
    assert placed in ([], [(7, len(body))])


def test_a_chunk_and_its_fixed_part_fit_a_frame() -> None:
    assert len(call_frame(1, 1, 0, CHUNK, bytes(CHUNK))) <= 8 + MAX_PAYLOAD


def test_hello_survives_and_malformed_ones_do_not() -> None:
    hello = Hello(version=1, auths=2, max_calls=3, max_body=4, send_window=5, stream_window=6, link_window=7)
    payload = hello_frame(hello)[8:]
    assert parse_hello(payload) == hello
    for wrong in (payload[:-1], payload + b"\0", payload[:3] + b"\1" + payload[4:]):
        with pytest.raises(RemoteProtocolError):
            parse_hello(wrong)


def test_error_texts_are_bounded_printable_and_of_a_known_kind() -> None:
    payload = text_frame(FrameKind.ERROR, 1, Kind.NOT_FOUND, "ä" * MAX_TEXT)[8:]
    assert len(payload) <= 1 + MAX_TEXT
    assert parse_text(payload) == (Kind.NOT_FOUND, "ä" * (MAX_TEXT // 2))
    assert parse_text(b"\xfea\x1b[2Jb") == (Kind.INTERNAL, "a�[2Jb")
    for wrong in (b"", b"\0\xff", bytes(MAX_TEXT + 2)):
        with pytest.raises(RemoteProtocolError):
            parse_text(wrong)


@pytest.mark.parametrize("payload", [b"", b"\1\0\0", bytes(5)])
def test_a_credit_of_another_size_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_u32(payload)
