"""What leaves first: small frames in order, bodies in turns."""

from __future__ import annotations

from bttp._frames import CHUNK, Buffer, FrameKind, FrameReader
from bttp._outbox import Outbox


def chunks(data: bytes) -> list[tuple[int, int]]:
    """Stream and size of every DATA frame."""
    reader = FrameReader(lambda _stream, _length: None)
    out, place = [], 0
    while place < len(data):
        space = reader.space()
        count = min(len(space), len(data) - place)
        space[:count] = data[place : place + count]
        place += count
        reader.filled(count)
        out += [(stream, stop - start) for kind, stream, start, stop in reader.frames() if kind == FrameKind.DATA]
    return out


def test_small_frames_leave_whole_and_in_order() -> None:
    outbox = Outbox()
    outbox.frames += [b"a" * 100, b"b" * 100, b"c"]
    assert outbox.queued == 201
    assert outbox.take(150) == b"a" * 100 + b"b" * 100 + b"c"
    assert not outbox
    assert outbox.take(150) == b""


def test_bodies_take_turns_a_chunk_at_a_time() -> None:
    outbox = Outbox()
    outbox.put_body(1, [bytes(2 * CHUNK + 5)], 2 * CHUNK + 5)
    outbox.put_body(3, [bytes(CHUNK), bytes(CHUNK)], 2 * CHUNK)
    order = chunks(outbox.take(10 * CHUNK))
    assert order == [(1, CHUNK), (3, CHUNK), (1, CHUNK), (3, CHUNK), (1, 5)]
    assert outbox.queued == 0


def test_a_flood_of_small_frames_does_not_starve_a_body() -> None:
    outbox = Outbox()
    outbox.put_body(1, [bytes(2 * CHUNK)], 2 * CHUNK)
    outbox.frames.append(bytes(1000))
    assert len(outbox.take(500)) == 1000 + 8 + CHUNK


def test_a_small_frame_waits_for_one_take_at_most() -> None:
    outbox = Outbox()
    outbox.put_body(1, [bytes(64 * CHUNK)], 64 * CHUNK)
    outbox.take(4 * CHUNK)
    outbox.frames.append(b"small")
    assert outbox.take(4 * CHUNK).startswith(b"small")


def test_parts_of_a_body_are_joined_across_chunks() -> None:
    outbox = Outbox()
    parts: list[Buffer] = [b"x" * (CHUNK - 1), b"yz", memoryview(b"w" * CHUNK)]
    outbox.put_body(1, parts, 2 * CHUNK + 1)
    taken = outbox.take(10 * CHUNK)
    assert taken[8 : 8 + CHUNK] == b"x" * (CHUNK - 1) + b"y"
    assert chunks(taken) == [(1, CHUNK), (1, CHUNK), (1, 1)]


def test_a_dropped_body_leaves_no_bytes_behind() -> None:
    outbox = Outbox()
    outbox.put_body(1, [bytes(2 * CHUNK)], 2 * CHUNK)
    outbox.take(1)
    assert outbox.drop_body(1)
    assert not outbox.drop_body(1)
    assert outbox.queued == 0
    assert outbox.take(100) == b""
