"""Principals and their text."""

from __future__ import annotations

import pytest
from btlib import BlocktreeError, Kind, Principal
from btlib._bech32 import encode_bech32m
from btlib.errors import PrincipalError
from btlib.testing.strategies import principals
from btserde import DecodeError, decode, encode
from hypothesis import given
from hypothesis import strategies as st

TEXT = "bt1" + encode_bech32m("bt", bytes(32))[3:]


@given(principals())
def test_the_text_of_a_principal_gives_it_back(principal: Principal) -> None:
    assert Principal.parse(str(principal)) == principal
    assert str(principal).startswith("bt1")
    assert len(str(principal)) == 61


@given(principals())
def test_a_principal_encodes_as_its_digest(principal: Principal) -> None:
    assert encode(principal) == principal.digest
    assert decode(principal.digest, Principal) == principal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no prefix"),
        ("alice", "no prefix"),
        (TEXT[:-1], "checksum"),
        (TEXT + "q", "checksum"),
        (TEXT.replace("q", "p", 1), "checksum"),
        (TEXT.upper(), "upper case; write bt1"),
        ("Bt1" + TEXT[3:], "mixes upper and lower case"),
        (encode_bech32m("bc", bytes(32)), "does not begin with bt1"),
        (encode_bech32m("bt", bytes(31)), "31 bytes instead of 32"),
        (encode_bech32m("bt", bytes(33)), "33 bytes instead of 32"),
        (" " + TEXT, "cannot occur"),
        (TEXT + "\n", "cannot occur"),
        ("bt1" + "q" * 5000, "longer than 90"),
    ],
)
def test_what_is_no_principal_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(PrincipalError, match=reason) as caught:
        Principal.parse(text)
    assert caught.value.kind is Kind.INVALID
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", range(len(TEXT)))
def test_every_cut_or_doubled_character_of_a_text_is_refused(size: int) -> None:
    for text in (TEXT[:size], TEXT[:size] + TEXT[size:][1:], TEXT[: size + 1] + TEXT[size:]):
        with pytest.raises(PrincipalError):
            Principal.parse(text)


@given(st.text())
def test_any_text_is_a_principal_or_refused(text: str) -> None:
    try:
        again = str(Principal.parse(text))
    except PrincipalError as error:
        again = text if str(error).isprintable() else "a message with control characters"
    assert again == text


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_of_another_size_makes_no_principal(size: int) -> None:
    with pytest.raises(PrincipalError, match="32 bytes"):
        Principal(bytes(size))
    with pytest.raises(DecodeError):
        decode(bytes(size), Principal)


def test_principals_are_ordered_hashed_and_immutable() -> None:
    low, high = Principal(bytes(32)), Principal(bytes([1] * 32))
    assert sorted({high, low, Principal(bytes(32))}) == [low, high]
    with pytest.raises(AttributeError):
        low.digest = b""  # type: ignore[misc]


def test_a_short_name_is_for_messages_only() -> None:
    assert Principal(bytes(32)).short == f"{TEXT[:11]}…"
    with pytest.raises(BlocktreeError):
        Principal.parse(Principal(bytes(32)).short)
