"""Columns: what is done at once must be what would be done one by one."""

from __future__ import annotations

import math
from array import array

import pytest
from btserde._columns import (
    cut,
    get_blobs,
    get_floats,
    get_texts,
    get_views,
    put_blobs,
    put_fixed,
    put_floats,
    put_texts,
)


@pytest.mark.parametrize("texts", [[], ["a", "bc"], ["", "ä", "b"], ["a" * 300, "b"], ["line\r\n", "\r", "\n"]])
def test_texts_come_back(texts: list[str]) -> None:
    data = b"".join(put_texts(texts))
    assert get_texts(data, len(texts), 0) == (texts, len(data))
    assert get_texts(memoryview(data), len(texts), 0) == (texts, len(data))


def test_a_character_split_between_two_texts_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        get_texts(b"\1\1" + "ä".encode(), 2, 0)


def test_surrogates_in_two_texts_do_not_make_a_character() -> None:
    with pytest.raises(UnicodeEncodeError):
        put_texts(["\ud83d", "\ude00"])


def test_blobs_of_any_bytes_like_kind_come_back_as_bytes() -> None:
    column = [b"a", bytearray(b"bc"), memoryview(array("H", [1]))]
    data = b"".join(put_blobs(column))
    assert get_blobs(data, 3, 0) == ([b"a", b"bc", bytes(column[2])], len(data))


def test_views_share_the_memory_of_the_input() -> None:
    data = b"".join(put_blobs([b"a", b"bc"]))
    views, _ = get_views(memoryview(data), 2, 0)
    assert views == [b"a", b"bc"]
    assert all(view.obj is data for view in views)


@pytest.mark.parametrize("column", [[b"ab", b"a"], [b"abc", b"a"], [memoryview(array("H", [1, 2])), b"ab"]])
def test_a_byte_string_of_another_size_is_refused(column: list[bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # it has no text: the walk explains
        put_fixed(column, 2)


def test_negative_zero_is_written_as_zero() -> None:
    assert put_floats([-0.0]) == put_floats([0.0])


@pytest.mark.parametrize("number", [math.nan, -0.0])
def test_a_float_without_encoding_is_refused_in_a_column(number: float) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # it has no text: the walk explains
        get_floats([1.0, number])


def test_a_nan_is_not_written() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # it has no text: the walk explains
        put_floats([1.0, math.nan])


def test_slices_follow_one_another() -> None:
    assert cut("abcdef", [1, 0, 2]) == ["a", "", "bc"]
