"""Shares: any M of N give the seed, fewer and foreign ones never, and no error quotes them."""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle

import pytest
import shamir_mnemonic
from btlib.errors import CredentialError
from btlib.shares import Share, combine_shares, is_share_word, split_seed
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import rs1024
from shamir_mnemonic.wordlist import WORDLIST

from . import slow_shares

SEED = bytes(range(32))
SHARES = split_seed(SEED, 3, 5)


def text(share: Share) -> str:
    return " ".join(share.words)


def test_any_m_of_n_give_the_seed_and_fewer_do_not() -> None:
    for size in range(1, 6):
        for some in itertools.combinations(SHARES, size):
            if size >= 3:
                assert combine_shares(some) == SEED
            else:
                with pytest.raises(CredentialError, match=f"3 different shares are needed, and there are {size}"):
                    combine_shares(some)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.binary(min_size=32, max_size=32),
    numbers=st.integers(2, 16).flatmap(lambda count: st.tuples(st.integers(2, count), st.just(count))),
)
def test_shares_of_all_sizes_are_those_of_slip_39(seed: bytes, numbers: tuple[int, int]) -> None:
    threshold, count = numbers
    shares = split_seed(seed, threshold, count)
    assert [share.number for share in shares] == list(range(1, count + 1))
    assert {(share.threshold, len(share.words)) for share in shares} == {(threshold, 33)}
    assert combine_shares(shares) == seed
    last = [text(share) for share in shares[-threshold:]]
    assert slow_shares.combine(last) == seed
    assert shamir_mnemonic.combine_mnemonics(last, b"") == seed


# From the vectors of SLIP-39: 256 bits, one group, 2 of 3.
PUBLISHED = (
    "humidity disease academic always aluminum jewelry energy woman receiver strategy amuse duckling lying evidence "
    "network walnut tactics forget hairy rebound impulse brother survive clothes stadium mailman rival ocean reward "
    "venture always armed unwrap",
    "humidity disease academic agency actress jacket gross physics cylinder solution fake mortgage benefit public "
    "busy prepare sharp friar change work slow purchase ruler again tricycle involve viral wireless mixture anatomy "
    "desert cargo upgrade",
)


def test_a_published_share_is_read_as_it_was_made() -> None:
    shares = [Share.parse(words) for words in PUBLISHED]
    assert [(share.number, share.threshold) for share in shares] == [(3, 2), (2, 2)]
    with_passphrase = shamir_mnemonic.combine_mnemonics(PUBLISHED, b"TREZOR")
    assert with_passphrase.hex() == "c938b319067687e990e05e0da0ecce1278f75ff58d9853f19dcaeed5de104aae"


def test_words_count_in_any_case_and_by_four_letters() -> None:
    typed = "\n".join(word[:4].upper() for word in SHARES[0].words)
    assert Share.parse(typed).words == SHARES[0].words
    assert all(is_share_word(word) and is_share_word(word[:4]) for word in WORDLIST)
    assert not is_share_word("abandon")


def test_more_than_enough_shares_are_all_checked_and_doubles_count_once() -> None:
    assert combine_shares([*SHARES, *SHARES]) == SEED
    with pytest.raises(CredentialError, match="3 different shares are needed, and there are 1"):
        combine_shares([SHARES[0]] * 3)


def test_shares_of_two_sets_are_told_apart() -> None:
    others = split_seed(SEED, 3, 5)
    with pytest.raises(CredentialError, match="not made together"):
        combine_shares([*SHARES[:2], others[2]])


def forged(share: Share, value: bytes) -> Share:
    """A share with another value, and a right checksum."""
    raw = share._raw
    return Share(
        shamir_mnemonic.Share(
            raw.identifier,
            raw.extendable,
            raw.iteration_exponent,
            raw.group_index,
            raw.group_threshold,
            raw.group_count,
            raw.index,
            raw.member_threshold,
            value,
        )
    )


@pytest.mark.parametrize("place", range(5))
def test_a_forged_share_is_found_wherever_it_stands(place: int) -> None:
    shares = list(SHARES)
    shares[place] = forged(shares[place], bytes(32))
    with pytest.raises(CredentialError, match="give no seed together"):
        combine_shares(shares)


@pytest.mark.parametrize("place", range(33))
def test_any_wrong_word_is_found_and_not_quoted(place: int) -> None:
    words = list(SHARES[1].words)
    words[place] = WORDLIST[(WORDLIST.index(words[place]) + 1) % 1024]
    with pytest.raises(CredentialError, match="do not belong together") as caught:
        Share.parse(" ".join(words))
    assert caught.value.__cause__ is None
    assert not {" ".join(pair) for pair in itertools.pairwise(words)} & {str(caught.value)}
    words[place] = "canary"
    with pytest.raises(CredentialError, match=f"word {place + 1} is not in the list") as caught:
        Share.parse(" ".join(words))
    assert "canary" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(WORDLIST), max_size=40).map(" ".join)))
def test_any_text_is_a_share_or_refused(text: str) -> None:
    with contextlib.suppress(CredentialError):
        assert " ".join(Share.parse(text).words) == text.lower()


@settings(max_examples=300, deadline=None)
@given(data=st.lists(st.integers(0, 1023), min_size=30, max_size=30), zeros=st.booleans())
def test_any_words_with_a_right_checksum_are_one_share_or_refused(data: list[int], zeros: bool) -> None:
    """Whatever the fields say: several groups, padding that is not zero, other customisations."""
    if zeros:
        data[2:5] = [0, data[3] & 15, data[4] & 63]
    name = b"shamir_extendable" if data[1] >> 4 & 1 else b"shamir"
    words = [WORDLIST[index] for index in [*data, *rs1024.create_checksum(data, name)]]
    with contextlib.suppress(CredentialError):
        share = Share.parse(" ".join(words))
        assert list(share.words) == words
        assert (share.number, share.threshold) == ((data[3] >> 4 & 15) + 1, (data[3] & 15) + 1)


def test_swapped_missing_and_further_words_are_found() -> None:
    words = list(SHARES[0].words)
    with pytest.raises(CredentialError, match="33 words, not 32"):
        Share.parse(" ".join(words[1:]))
    with pytest.raises(CredentialError, match="33 words, not 34"):
        Share.parse(" ".join([*words, words[0]]))
    with pytest.raises(CredentialError, match="do not belong together"):
        Share.parse(" ".join([words[0], words[1], words[3], words[2], *words[4:]]))


def test_shares_of_other_things_are_refused() -> None:
    groups = shamir_mnemonic.generate_mnemonics(2, [(2, 2), (2, 2)], SEED)
    single = shamir_mnemonic.generate_mnemonics(1, [(1, 1)], SEED)
    for foreign in (groups[0][0], single[0][0]):
        with pytest.raises(CredentialError, match="something else than a seed"):
            Share.parse(foreign)
    (short,) = shamir_mnemonic.generate_mnemonics(1, [(2, 2)], SEED[:16])
    with pytest.raises(CredentialError, match="33 words, not 20"):
        Share.parse(short[0])


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (0, 2), (4, 3), (2, 17), (17, 17), (-1, 5)])
def test_numbers_out_of_range_are_refused_with_what_there_is(threshold: int, count: int) -> None:
    with pytest.raises(CredentialError, match="take 2 to 16 shares"):
        split_seed(SEED, threshold, count)


@pytest.mark.parametrize("seed", [b"", SEED[:-1], SEED + b"\0"])
def test_other_secrets_than_seeds_are_refused(seed: bytes) -> None:
    with pytest.raises(CredentialError, match="a seed has 32 bytes"):
        split_seed(seed, 2, 3)


def test_no_shares_give_nothing() -> None:
    with pytest.raises(CredentialError, match="no shares"):
        combine_shares([])


def test_new_shares_of_the_same_seed_are_others() -> None:
    again = split_seed(SEED, 3, 5)
    assert not {share.words for share in again} & {share.words for share in SHARES}
    assert combine_shares(again[:3]) == combine_shares(SHARES[:3])


def test_a_share_shows_no_word_and_is_not_pickled_or_copied() -> None:
    share = SHARES[0]
    assert repr(share) == f"Share(1, any 3 of set {share.set_id})"
    assert not set(repr([share]).split()) & set(share.words)
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            spread(share)
