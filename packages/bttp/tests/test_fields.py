"""Fields beside a body: idempotency keys, repeats and trace contexts, as bytes."""

from __future__ import annotations

import pytest
from bttp import LocalProtocolError, RemoteProtocolError, TraceParent
from bttp import _frames as wire
from bttp._fields import Fields, Repeat, encode_fields, extended, parse_extended, parse_fields
from bttp._frames import FrameKind
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

traces = st.builds(
    TraceParent,
    trace_id=st.binary(min_size=16, max_size=16).filter(any),
    parent_id=st.binary(min_size=8, max_size=8).filter(any),
    flags=st.integers(0, 255),
)
repeats = st.builds(Repeat, instance=st.integers(0, 2**64 - 1), elapsed=st.integers(0, 2**32 - 1))
keyed = st.builds(Fields, key=st.binary(min_size=1, max_size=64), repeat=st.none() | repeats, trace=st.none() | traces)
fields = keyed | st.builds(Fields, trace=st.none() | traces)


def encode(what: Fields) -> bytes:
    return encode_fields(what.key, what.trace, what.repeat)


@given(fields)
def test_fields_survive_and_take_no_bytes_where_there_are_none(what: Fields) -> None:
    assert parse_fields(encode(what)) == what
    assert (encode(what) == b"") == (what == Fields())


@given(fields.filter(lambda what: what != Fields()), st.binary(max_size=99))
def test_an_extended_frame_gives_back_the_payload_of_its_kind(what: Fields, body: bytes) -> None:
    plain = wire.call_frame(5, 1, 7, len(body), body)
    buffer = bytearray(extended(plain, encode(what)))
    assert (buffer[0], buffer[4]) == (FrameKind.EXTENDED, 5)
    kind, got, start = parse_extended(buffer, 8, len(buffer))
    assert (kind, got, bytes(buffer[start:])) == (FrameKind.CALL, what, plain[8:])


@given(fields, st.data())
def test_truncated_and_flipped_fields_are_refused_or_read(what: Fields, data: st.DataObject) -> None:
    whole = bytearray(encode(what))
    if whole:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    part = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        got = parse_fields(part)
    except RemoteProtocolError:
        return
    assert got.key is None or 1 <= len(got.key) <= 64


@given(st.binary(max_size=600))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        parse_extended(bytearray(data), 0, len(data))
    except RemoteProtocolError:
        return


def test_unknown_fields_are_ignored() -> None:
    assert parse_fields(b"\1\1k\x63\3new") == Fields(key=b"k")


@pytest.mark.parametrize("key", [b"", bytes(65)])
def test_a_key_of_another_length_is_refused_before_it_leaves(key: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="1 to 64 bytes"):
        encode_fields(key)


@pytest.mark.parametrize("text", [EXAMPLE, "cc" + EXAMPLE[2:], "cc" + EXAMPLE[2:] + "-what comes later"])
def test_a_traceparent_of_this_version_or_a_later_one_is_read(text: str) -> None:
    trace = TraceParent.parse(text)
    assert trace is not None
    assert str(trace) == EXAMPLE
    assert str(trace.child(b"\1" * 8)) == EXAMPLE.replace("00f067aa0ba902b7", "01" * 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXAMPLE[:-1],
        EXAMPLE + "0",
        EXAMPLE + "-more",
        EXAMPLE.upper(),
        "ff" + EXAMPLE[2:],
        "cc" + EXAMPLE[2:] + "0",
        EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        EXAMPLE.replace("00f067aa0ba902b7", "0" * 16),
        EXAMPLE.replace("-", "_"),
    ],
)
def test_a_malformed_traceparent_reads_as_none(text: str) -> None:
    assert TraceParent.parse(text) is None
    assert parse_fields(b"\3" + bytes([len(text)]) + text.encode()).trace is None
    assert parse_fields(b"\3\1\xff").trace is None


@pytest.mark.parametrize(("trace", "parent", "flags"), [(15, 8, 0), (16, 7, 0), (16, 8, 256)])
def test_a_traceparent_that_cannot_be_is_refused_at_its_maker(trace: int, parent: int, flags: int) -> None:
    with pytest.raises(LocalProtocolError):
        TraceParent(trace_id=b"1" * trace, parent_id=b"1" * parent, flags=flags)
