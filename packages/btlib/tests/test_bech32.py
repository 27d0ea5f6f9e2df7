"""Bech32m against BIP-350's vectors and a second implementation by polynomial division."""

from __future__ import annotations

import pytest
from btlib._bech32 import decode_bech32m, decode_values, encode_bech32m
from hypothesis import given
from hypothesis import strategies as st

CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

# From BIP-350.
VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]
INVALID = {
    "\x201xj0phk": "cannot occur",
    "\x7f1g6xzxy": "cannot occur",
    "\x801vctc34": "cannot occur",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4": "longer than",
    "qyrz8wqd2c9m": "no prefix",
    "1qyrz8wqd2c9m": "no prefix",
    "y1b0jsk6g": "cannot occur",
    "lt1igcx5c0": "cannot occur",
    "in1muywd": "too short",
    "mm1crxm3i": "cannot occur",
    "au1s5cgom": "cannot occur",
    "M1VUXWEZ": "checksum",
    "16plkw9": "no prefix",
    "1p2gdwpf": "no prefix",
    # Not in the list of BIP-350: the older Bech32, mixed case, nothing at all.
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw": "checksum",
    "a1Lqfn3a": "mixes",
    "": "no prefix",
}


@pytest.mark.parametrize("text", VALID)
def test_the_valid_texts_of_bip_350_are_read(text: str) -> None:
    prefix, values = decode_values(text)
    assert f"{prefix}1" + "".join(CHARACTERS[value] for value in values) == text.lower()[:-6]


@pytest.mark.parametrize(("text", "reason"), INVALID.items())
def test_the_invalid_texts_of_bip_350_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_values(text)


@given(st.sampled_from(["bt", "a", "x1y"]), st.binary(max_size=40))
def test_what_is_encoded_decodes(prefix: str, data: bytes) -> None:
    assert decode_bech32m(encode_bech32m(prefix, data)) == (prefix, data)


@given(st.binary(max_size=40))
def test_the_checksum_is_that_of_the_polynomial(data: bytes) -> None:
    assert encode_bech32m("bt", data)[-6:] == slow_checksum("bt", encode_bech32m("bt", data)[3:-6])


@pytest.mark.parametrize(("data", "reason"), [("qqqqp", "padding"), ("q", "padding"), ("qqq", "padding")])
def test_padding_that_is_not_zero_or_too_long_is_refused(data: str, reason: str) -> None:
    text = "bt1" + data + slow_checksum("bt", data)
    with pytest.raises(ValueError, match=reason):
        decode_bech32m(text)


def test_any_single_wrong_character_is_found() -> None:
    text = encode_bech32m("bt", bytes(range(32)))
    for place in range(3, len(text)):
        for character in CHARACTERS:
            if character != text[place]:
                with pytest.raises(ValueError, match="checksum"):
                    decode_bech32m(text[:place] + character + text[place + 1 :])


def slow_checksum(prefix: str, data: str) -> str:
    """The definition: the remainder of a division of polynomials over GF(32), added to that of the final constant."""
    generator = [1, 29, 22, 20, 21, 29, 18]  # x^6 + {29}x^5 + …, its terms from the highest
    start = [1, *(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix)]
    terms = [*start, *(CHARACTERS.index(c) for c in data), 0, 0, 0, 0, 0, 0]
    for place in range(len(terms) - 6):
        factor = terms[place]
        for i, term in enumerate(generator):
            terms[place + i] ^= slow_multiply(factor, term)
    final = [(0x2BC830A3 >> 5 * (5 - i)) & 31 for i in range(6)]
    return "".join(CHARACTERS[term ^ last] for term, last in zip(terms[-6:], final, strict=True))


def slow_multiply(a: int, b: int) -> int:
    """In GF(32) with the modulus x^5 + x^3 + 1."""
    product = 0
    for bit in range(5):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(9, 4, -1):
        if product >> bit & 1:
            product ^= 0b101001 << (bit - 5)
    return product
