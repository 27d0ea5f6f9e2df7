"""Bad bytes: always DecodeError; good ones: views, limits, kinds of input."""

from __future__ import annotations

import struct
from array import array
from typing import Any

import pytest
from btserde import U8, U16, DecodeError, Decoder, Limits, View, decode, encode
from btserde._walk_decode import MAX_STEPS

from .samples import Chain, Directory, Entry, Kind, Nothing, Positive, ReadReply, Request, Tree

DIRECTORY = Directory(7, [Entry(name=f"é{i}", kind=Kind.LINK, id=bytes([i] * 16), size=i) for i in range(20)], 9)


def test_a_view_shares_the_memory_of_the_input() -> None:
    data = encode(ReadReply(offset=1, body=b"body"))
    for form, owner in ((data, data), (buffer := bytearray(data), buffer), (memoryview(data)[:], data)):
        body = decode(form, ReadReply).body
        assert isinstance(body, memoryview)
        assert bytes(body) == b"body"
        assert body.obj is owner


def test_views_in_a_list_share_the_memory_of_the_input() -> None:
    data = encode([b"a", b"b"], list[View])
    views: Any = decode(data, list[View])
    assert [view.obj is data for view in views] == [True, True]


def test_bytes_are_copied_out_of_a_buffer() -> None:
    data = bytearray(encode([b"a", b"b"], list[bytes]))
    found = decode(data, list[bytes])
    data[:] = bytes(len(data))
    assert found == [b"a", b"b"]


@pytest.mark.parametrize("form", [bytearray, memoryview, lambda data: memoryview(b"x" + data + b"y")[1:-1]])
def test_any_contiguous_bytes_are_decoded(form: Any) -> None:
    assert decode(form(encode(DIRECTORY)), Directory) == DIRECTORY


@pytest.mark.parametrize("data", ["text", None, 3, [1], memoryview(b"abcd")[::2], array("u")])
def test_what_is_no_contiguous_bytes_is_refused(data: Any) -> None:
    with pytest.raises(DecodeError):
        decode(data, U16)


def test_an_array_is_its_bytes() -> None:
    numbers: Any = array("H", [1])
    assert decode(numbers, U16) == 1


def test_a_failure_names_path_and_offset() -> None:
    data = bytearray(encode(DIRECTORY))
    at = data.index(bytes([7] * 20)) + 3  # the fourth of the kinds, all 7
    data[at] = 99
    with pytest.raises(DecodeError, match=r"entries\[3\]\.kind: 99 is no Kind \(at byte \d+\)") as caught:
        decode(bytes(data), Directory)
    assert (caught.value.path, caught.value.offset) == ("entries[3].kind", at)
    assert caught.value.__context__ is None


def test_a_refusal_by_the_class_itself_is_named() -> None:
    with pytest.raises(DecodeError, match="zero is not positive"):
        decode(b"\1\0", list[Positive])


def test_a_count_is_limited() -> None:
    with pytest.raises(DecodeError, match="3 items, more than 2"):
        Decoder(list[U8], Limits(max_count=2)).decode(b"\3\1\2\3")


def test_the_whole_size_is_limited() -> None:
    for tp, data in ((list[U8], b"\2\1\1"), (tuple[U8, U8, U8], b"\1\1\1")):
        assert Decoder(tp, Limits(max_size=3)).decode(data)
        with pytest.raises(DecodeError, match="more than 2"):
            Decoder(tp, Limits(max_size=2)).decode(data)


@pytest.mark.parametrize("tp", [list[U8], list[str], list[Entry], set[U16], dict[str, U8], list[list[U8]]])
def test_a_count_that_the_bytes_cannot_hold_is_refused_before_allocating(tp: Any) -> None:
    data = b"\xfe" + struct.pack("<I", 1_000_000) + bytes(100)
    with pytest.raises(DecodeError, match="do not fit"):
        decode(data, tp)


@pytest.mark.parametrize(
    ("tp", "level", "end"), [(Chain, b"\0\0\1", b"\0\0\0"), (Tree, b"\1\0", b"\0\0")], ids=["chain", "tree"]
)
def test_depth_is_limited(tp: Any, level: bytes, end: bytes) -> None:
    if tp is Tree:
        level, end = b"\0\1", b"\0\0"
    decode(level * 31 + end, tp)
    for bomb in (level * 32 + end, level * 1_000_000):
        with pytest.raises(DecodeError, match="deeper than 32"):
            decode(bomb, tp)
    with pytest.raises(DecodeError, match="stack"):
        Decoder(tp, Limits(max_depth=10**6)).decode(level * 100_000 + end)


def test_the_search_for_a_fault_is_limited() -> None:
    data = encode([None] * (MAX_STEPS + 1), list[U8 | None]) + b"more"
    with pytest.raises(DecodeError, match="not searched beyond"):
        decode(data, list[U8 | None])


def test_a_fault_after_a_large_body_is_still_found() -> None:
    data = encode(ReadReply(offset=1, body=bytes(1 << 20)))
    with pytest.raises(DecodeError, match="last: 2 is no bool"):
        decode(data[:-1] + b"\2", ReadReply)


def test_a_struct_without_fields_is_its_tag() -> None:
    assert decode(b"\xff", Request) == Nothing()


def test_a_limit_is_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Limits(max_depth=0)
