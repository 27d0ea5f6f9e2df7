"""What an agent holds and for how long, by a clock of the test's own."""

from __future__ import annotations

import contextlib

import pytest
from btlib import Label, Suite
from btlib.agent._keeper import Keeper
from btlib.agent._messages import (
    Failed,
    Identified,
    Identify,
    Open,
    Opened,
    Sign,
    Signed,
    Status,
    Unlock,
    body_size,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from btlib.agent._times import MAX_SECONDS, Times
from btlib.errors import CredentialError
from btlib.kinds import Kind
from btlib.testing import make_domain_identities, make_identity
from hypothesis import given
from hypothesis import strategies as st

ALICE = make_domain_identities("alice")["alice"]
BOB = make_identity("bob", suite=Suite.P256)
TIMES = Times(idle=100, longest=1000)


def holding(now: float = 0.0) -> Keeper:
    keeper = Keeper(TIMES)
    keeper.hold("home", ALICE, now)
    return keeper


def sign(keeper: Keeper, now: float) -> object:
    return keeper.use(Sign(ALICE.principal, Label.COMMIT.value, b"message"), now)


def test_it_signs_opens_and_identifies_with_what_it_holds() -> None:
    keeper = holding()
    signed = sign(keeper, 1)
    assert isinstance(signed, Signed)
    ALICE.public.verify(Label.COMMIT, b"message", signed.signature)
    sealed = ALICE.public.seal(Label.READCAP, b"info", b"plain")
    assert keeper.use(Open(ALICE.principal, Label.READCAP.value, b"info", sealed), 2) == Opened(b"plain")
    assert keeper.use(Identify(ALICE.principal), 3) == Identified(ALICE.public, list(ALICE.chains))


def test_the_same_keys_in_two_domains_hold_the_chains_of_both() -> None:
    keeper = holding()
    guest = make_domain_identities("alice", root="another root")["alice"]
    keeper.hold("friends", guest, 1.0)
    answer = keeper.use(Identify(ALICE.principal), 2.0)
    assert isinstance(answer, Identified)
    assert set(answer.chains) == {*ALICE.chains, *guest.chains}
    assert [held.petname for held in keeper.held()] == ["friends", "home"]
    keeper.hold("home", make_identity("alice"), 3.0)
    assert [held.petname for held in keeper.held()] == ["friends", "home"]


def test_failures_are_answers() -> None:
    keeper = holding()
    for request, kind in (
        (Sign(BOB.principal, Label.COMMIT.value, b""), Kind.NOT_FOUND),
        (Sign(ALICE.principal, b"no label", b""), Kind.INVALID),
        (Open(ALICE.principal, Label.READCAP.value, b"", b"no seal"), Kind.INTEGRITY),
    ):
        reply = keeper.use(request, 1)
        assert isinstance(reply, Failed)
        assert reply.kind == kind


def test_keys_go_when_nobody_used_them_for_the_idle_time() -> None:
    keeper = holding()
    for now in (99, 198, 297):
        assert not keeper.over(now)
        assert isinstance(sign(keeper, now), Signed)
    assert keeper.deadline() == 397
    assert not keeper.over(396)
    assert keeper.over(397)
    assert isinstance(sign(keeper, 397), Failed)


def test_use_does_not_keep_keys_beyond_the_longest_time() -> None:
    keeper = holding()
    for now in range(0, 1000, 50):
        assert isinstance(sign(keeper, now), Signed)
    assert keeper.deadline() == 1000
    assert isinstance(sign(keeper, 1000), Failed)


def test_further_keys_do_not_lengthen_the_time_of_the_first() -> None:
    keeper = holding()
    keeper.hold("work", BOB, 950)
    assert keeper.deadline() == 1000
    assert [held.petname for held in keeper.held()] == ["home", "work"]


def test_without_keys_there_is_no_deadline() -> None:
    keeper = Keeper(TIMES)
    assert keeper.deadline() is None
    assert not keeper.over(10**9)
    assert keeper.held() == []


def test_failed_requests_for_other_keys_do_not_count_as_use() -> None:
    keeper = holding()
    keeper.use(Identify(BOB.principal), 50)
    assert keeper.deadline() == 100


@pytest.mark.parametrize(("idle", "longest"), [(0, 10), (10, 0), (MAX_SECONDS + 1, 10), (10, MAX_SECONDS + 1)])
def test_times_out_of_range_are_refused(idle: int, longest: int) -> None:
    with pytest.raises(CredentialError, match="an agent holds keys for 1 to"):
        Times(idle=idle, longest=longest)


REQUESTS = (Unlock("home", "canary"), Sign(ALICE.principal, b"l", b"m"), Identify(ALICE.principal))
REPLIES = (
    Opened(b"canary"),
    Failed(3, "text", None),
    Identified(ALICE.public, list(ALICE.chains)),
    Status(pid=1, times=TIMES, held=[], left=None, memory_locked=True),
)


def test_messages_come_back_as_they_were_and_cut_or_flipped_ones_are_refused_or_others() -> None:
    for request in REQUESTS:
        frame = encode_request(request)
        assert body_size(frame[:4]) == len(frame) - 4
        assert decode_request(frame[4:]) == request
        for size in range(len(frame) - 4):
            with pytest.raises(CredentialError, match="do not understand each other"):
                decode_request(frame[4 : 4 + size])
    for reply in REPLIES:
        assert decode_reply(encode_reply(reply)[4:]) == reply


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for decode in (decode_request, decode_reply):
        with contextlib.suppress(CredentialError):
            decode(data)


def test_bytes_that_are_no_message_are_not_quoted() -> None:
    for decode in (decode_request, decode_reply):
        with pytest.raises(CredentialError) as caught:
            decode(b"\x02\x04home\x0fcanary")
        assert caught.value.kind is Kind.PROTOCOL
        assert caught.value.__cause__ is None
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("head", [b"", b"\0\0\0", b"\xff\xff\xff\xff", b"\x01\x00\x20\x00"])
def test_frames_that_are_cut_or_too_large_are_refused(head: bytes) -> None:
    with pytest.raises(CredentialError):
        body_size(head)


def test_no_secret_shows_in_a_message() -> None:
    for message in (*REQUESTS, *REPLIES, holding()):
        assert "canary" not in repr(message)
