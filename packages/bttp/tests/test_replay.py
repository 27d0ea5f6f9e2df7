"""The replay cache: what a repeated key gets, and what is kept for how long."""

from __future__ import annotations

import itertools

import pytest
from btlib.kinds import Kind
from bttp import BttpError, ReplayLimits
from bttp._fields import Fields, Repeat
from bttp._replay import Record, ReplayCache, State
from hypothesis import given
from hypothesis import strategies as st

ALICE, BOB = b"alice", b"bob"
HERE = 7


def begin(
    cache: ReplayCache, key: bytes, *, owner: bytes = ALICE, request: bytes = b"r", now: float = 0.0, ago: int = -1
) -> Record | Kind:
    """The record, or the kind of the refusal. `ago`: sent before, to instance HERE, so many milliseconds ago."""
    repeat = None if ago < 0 else Repeat(instance=HERE, elapsed=ago)
    try:
        return cache.begin(owner, Fields(key=key, repeat=repeat), request, HERE, now)
    except BttpError as error:
        return error.kind


def done(cache: ReplayCache, key: bytes, answer: bytes = b"a", *, owner: bytes = ALICE, now: float = 0.0) -> Record:
    record = begin(cache, key, owner=owner, now=now)
    assert isinstance(record, Record), record
    cache.answered(record, answer, now)
    return record


def test_a_key_is_new_then_under_way_then_answered() -> None:
    cache = ReplayCache(ReplayLimits())
    record = begin(cache, b"k")
    assert isinstance(record, Record)
    assert begin(cache, b"k") is Kind.BUSY
    assert begin(cache, b"k", request=b"another") is Kind.CONFLICT
    cache.answered(record, b"a", 0.0)
    assert begin(cache, b"k") is record
    assert (record.state, record.answer) == (State.ANSWERED, b"a")
    assert begin(cache, b"k", request=b"another") is Kind.CONFLICT


def test_a_failure_is_an_outcome_too_and_the_first_outcome_stays() -> None:
    cache = ReplayCache(ReplayLimits())
    record = begin(cache, b"k")
    assert isinstance(record, Record)
    cache.failed(record, Kind.NO_SPACE, "full", 0.0)
    cache.answered(record, b"late", 0.0)
    assert begin(cache, b"k") is record
    assert (record.state, record.kind, record.text) == (State.FAILED, Kind.NO_SPACE, "full")


def test_keys_are_those_of_one_principal() -> None:
    cache = ReplayCache(ReplayLimits())
    done(cache, b"k", b"alice's")
    theirs = begin(cache, b"k", owner=BOB)
    assert isinstance(theirs, Record)
    assert theirs.state is State.RUNNING


def test_a_repeat_is_done_only_where_nothing_can_have_been_forgotten() -> None:
    cache = ReplayCache(ReplayLimits(seconds=10))
    assert isinstance(begin(cache, b"lost on its way", ago=10_000), Record)
    assert begin(cache, b"too long ago", ago=10_001) is Kind.STALE
    elsewhere = Fields(key=b"k", repeat=Repeat(instance=HERE + 1, elapsed=0))
    with pytest.raises(BttpError, match="not known here") as caught:
        cache.begin(ALICE, elsewhere, b"r", HERE, 0.0)
    assert caught.value.kind is Kind.STALE
    assert len(cache) == 1


def test_a_record_outlives_every_repeat_that_would_still_be_done() -> None:
    cache = ReplayCache(ReplayLimits(seconds=10))
    record = done(cache, b"k")
    assert begin(cache, b"k", now=60.0, ago=10_000) is record
    assert begin(cache, b"k", now=71.0, ago=71_000) is Kind.STALE
    assert len(cache) == 0
    assert isinstance(begin(cache, b"k", now=71.0), Record)


def test_long_answers_are_not_kept_and_old_ones_give_way() -> None:
    cache = ReplayCache(ReplayLimits(max_answer=10, max_bytes=20, max_all_bytes=35))
    done(cache, b"long", bytes(11))
    assert begin(cache, b"long") is Kind.STALE
    first, second = done(cache, b"1", bytes(10)), done(cache, b"2", bytes(10))
    third = done(cache, b"3", bytes(10))
    assert begin(cache, b"1") is Kind.STALE
    assert (begin(cache, b"2"), begin(cache, b"3")) == (second, third)
    done(cache, b"4", bytes(10), owner=BOB)
    done(cache, b"5", bytes(10), owner=BOB)  # over all: the oldest goes, whosever
    assert [record.state for record in (first, second, third)] == [State.DROPPED, State.DROPPED, State.ANSWERED]


def test_keys_are_never_forgotten_early_but_new_ones_are_refused() -> None:
    cache = ReplayCache(ReplayLimits(max_keys=2, max_running=3, max_all_keys=3))
    done(cache, b"1")
    done(cache, b"2")
    assert begin(cache, b"3") is Kind.LIMIT
    assert isinstance(begin(cache, b"1"), Record)
    done(cache, b"1", owner=BOB)
    assert begin(cache, b"1", owner=b"carol") is Kind.LIMIT
    assert isinstance(begin(cache, b"1", owner=b"carol", now=1000.0), Record)


def test_calls_at_once_of_one_principal_are_bounded() -> None:
    cache = ReplayCache(ReplayLimits(max_running=1))
    record = begin(cache, b"1")
    assert isinstance(record, Record)
    assert begin(cache, b"2") is Kind.LIMIT
    cache.failed(record, Kind.IO, "", 0.0)
    assert isinstance(begin(cache, b"2"), Record)


def test_caches_of_one_process_have_names_of_their_own() -> None:
    one, other = ReplayCache(ReplayLimits()), ReplayCache(ReplayLimits())
    names = {cache.instance(certificate) for cache in (one, other) for certificate in (b"a", b"b")}
    assert len(names) == 4
    assert one.instance(b"a") == one.instance(b"a") != 0


LIMITS = ReplayLimits(
    seconds=10, max_keys=3, max_running=2, max_bytes=25, max_answer=12, max_all_keys=4, max_all_bytes=40
)
steps = st.lists(
    st.tuples(
        st.sampled_from([ALICE, BOB]),
        st.sampled_from([b"1", b"2", b"3", b"4"]),
        st.integers(0, 15),
        st.sampled_from(["begin", "answer", "fail"]),
        st.sampled_from([0.0, 1.0, 40.0]),
    ),
    max_size=60,
)


@given(steps)
def test_no_key_is_done_twice_within_its_time_and_all_limits_hold(
    script: list[tuple[bytes, bytes, int, str, float]],
) -> None:
    cache, now = ReplayCache(LIMITS), 0.0
    running: dict[tuple[bytes, bytes], Record] = {}
    ended: dict[tuple[bytes, bytes], float] = {}
    for owner, key, size, what, passes in script:
        now += passes
        name = (owner, key)
        if what == "begin":
            got = begin(cache, key, owner=owner, now=now)
            if isinstance(got, Record) and got.state is State.RUNNING:
                assert name not in running
                assert name not in ended or now >= ended[name] + LIMITS.seconds
                running[name] = got
        elif name in running:
            record = running.pop(name)
            ended[name] = now
            if what == "answer":
                cache.answered(record, bytes(size), now)
            else:
                cache.failed(record, Kind.IO, "", now)
        for one, share in cache._owners.items():
            assert share.running == sum(1 for who, _ in running if who == one) <= LIMITS.max_running
            assert share.size == sum(len(record.answer) for record in share.answers.values()) <= LIMITS.max_bytes
            assert share.keys <= LIMITS.max_keys
        assert cache._size == sum(share.size for share in cache._owners.values()) <= LIMITS.max_all_bytes
        assert len(cache) == sum(share.keys for share in cache._owners.values()) <= LIMITS.max_all_keys
        assert list(itertools.chain(cache._kept)) == [name for name in cache._kept if name in cache._records]
