"""Recovery words."""

from __future__ import annotations

import pytest
from btlib.errors import CredentialError
from btlib.words import is_word, seed_to_words, words_to_seed
from hypothesis import given
from hypothesis import strategies as st

# From the vectors of BIP-39.
PUBLISHED = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    "ff" * 32: "zoo " * 23 + "vote",
    "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c": "hamster diagram private dutch cause "
    "delay private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay "
    "length",
}
WORDS = PUBLISHED["ff" * 32].split()


@pytest.mark.parametrize(("seed", "words"), PUBLISHED.items())
def test_words_are_those_of_bip_39(seed: str, words: str) -> None:
    assert seed_to_words(bytes.fromhex(seed)) == tuple(words.split())
    assert words_to_seed(words).hex() == seed


@given(st.binary(min_size=32, max_size=32))
def test_the_words_of_a_seed_give_it_back_in_any_case_and_by_four_letters(seed: bytes) -> None:
    words = seed_to_words(seed)
    assert len(words) == 24
    assert words_to_seed("\n".join(words).upper()) == seed
    assert words_to_seed("  ".join(word[:4] for word in words)) == seed


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "24 recovery words, not 0"),
        (WORDS[:23], "24 recovery words, not 23"),
        ([*WORDS, "zoo"], "24 recovery words, not 25"),
        (WORDS[:12], "24 recovery words, not 12"),
        ([*WORDS[:6], "canarycanary", *WORDS[7:]], "word 7 is not in the list"),
        ([*WORDS[:23], "zo"], "word 24 is not in the list|do not belong together"),
        ([*WORDS[:23], "zoo"], "do not belong together"),
        ([WORDS[-1], *WORDS[1:23], WORDS[0]], "do not belong together"),
    ],
)
def test_wrong_words_are_refused_without_repeating_them(words: list[str], reason: str) -> None:
    with pytest.raises(CredentialError, match=reason) as caught:
        words_to_seed(" ".join(words))
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(CredentialError, match="32 bytes"):
        seed_to_words(bytes(size))


@pytest.mark.parametrize(
    ("text", "known"),
    [("abandon", True), ("ABAN", True), ("zoo", True), ("aband0n", False), ("ab", False), ("", False)],
)
def test_one_word_is_told_from_no_word(text: str, known: bool) -> None:
    assert is_word(text) is known
