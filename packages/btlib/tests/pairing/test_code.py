"""The code of an invitation: how it is made, said and read."""

from __future__ import annotations

import os

import pytest
from btlib.errors import PairingError
from btlib.kinds import Kind
from btlib.pairing import InvitationCode
from hypothesis import given
from hypothesis import strategies as st


@given(st.binary(min_size=6, max_size=6), st.sampled_from([None, "nas.example:7465", "[::1]:1"]))
def test_a_code_is_read_as_it_was_printed(random: bytes, place: str | None) -> None:
    code = InvitationCode.generate(lambda size: random[:size], place)
    assert InvitationCode.parse(str(code)) == code
    assert 0 <= code.meeting < 2048


def test_all_four_words_are_random() -> None:
    codes = [InvitationCode.generate(os.urandom).words for _ in range(200)]
    assert all(len({words[place] for words in codes}) > 150 for place in range(4))


@pytest.mark.parametrize(
    "text",
    [
        "Lemon Rocket Absorb Winter",
        " lemo-rock-abso-wint ",
        "lemon - rocket - absorb\twinter",
        "LEMON-rocket absorb-WINTER",
    ],
)
def test_a_code_that_was_told_on_the_telephone_is_understood(text: str) -> None:
    assert str(InvitationCode.parse(text)) == "lemon-rocket-absorb-winter"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "4 words, not 0"),
        ("lemon-rocket-absorb", "4 words, not 3"),
        ("lemon-rocket-absorb-winter-winter", "4 words, not 5"),
        ("lemon-rocket-absorb-wonter", "word 4 of the code is not in the list"),
        ("lemon-rocket-absorb-winter@", "stands where to meet"),
        ("lemon-rocket-absorb-winter@nas :1", "stands where to meet"),
        ("lemon-rocket-absorb-winter@näs:1", "stands where to meet"),
        ("lemon" * 200, "at most 512"),
    ],
)
def test_what_is_no_code_is_refused_before_anybody_is_asked(text: str, complaint: str) -> None:
    with pytest.raises(PairingError, match=complaint) as caught:
        InvitationCode.parse(text)
    assert caught.value.kind is Kind.INVALID
    assert "wonter" not in str(caught.value)


@given(st.text(max_size=600))
def test_any_text_is_a_code_or_refused(text: str) -> None:
    try:
        code = InvitationCode.parse(text)
    except PairingError:
        return
    assert InvitationCode.parse(str(code)) == code


def test_the_secret_words_are_not_in_the_repr() -> None:
    shown = repr(InvitationCode.parse("lemon-rocket-absorb-winter@nas:1"))
    assert "lemon" in shown
    assert not any(word in shown for word in ("rocket", "absorb", "winter"))


def test_the_place_is_no_part_of_the_secret() -> None:
    at, found = (
        InvitationCode.parse("lemon-rocket-absorb-winter@nas:1"),
        InvitationCode.parse("lemon-rocket-absorb-winter"),
    )
    assert at.secret == found.secret == b"lemon-rocket-absorb-winter"
