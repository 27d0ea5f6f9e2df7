"""Lengths: the only form of each, and every other refused."""

from __future__ import annotations

import pytest
from btserde._length import MAX_LENGTH, decode_length, decode_lengths, encode_length, encode_lengths

FORMS = [
    (0, "00"),
    (252, "fc"),
    (253, "fdfd00"),
    (255, "fdff00"),
    (65535, "fdffff"),
    (65536, "fe00000100"),
    (MAX_LENGTH, "feffffffff"),
]


@pytest.mark.parametrize(("n", "form"), FORMS)
def test_a_length_has_one_form(n: int, form: str) -> None:
    assert encode_length(n).hex() == form
    assert decode_length(bytes.fromhex(form), 0) == (n, len(form) // 2)


def test_a_length_over_32_bits_has_none() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_length(MAX_LENGTH + 1)


@pytest.mark.parametrize("form", ["fdfc00", "fd0000", "feffff0000", "ff", "ff0000000000000000"])
def test_another_form_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match=r"shortest|begin"):
        decode_length(bytes.fromhex(form), 0)


@pytest.mark.parametrize("lengths", [[], [0], [252, 1], [253, 1], [1, 65536, 255, 256]])
def test_many_lengths_are_written_one_after_another(lengths: list[int]) -> None:
    data = encode_lengths(lengths)
    assert data == b"".join(map(encode_length, lengths))
    found, pos = decode_lengths(b"before" + data + b"after", len(lengths), 6)
    assert (list(found), pos) == (lengths, 6 + len(data))


def test_a_column_of_lengths_that_is_cut_is_refused() -> None:
    with pytest.raises(IndexError):
        decode_lengths(b"\1\2", 3, 0)
