"""Runs against a dictionary of records: whatever is replaced, each record is found where it was written last."""

from __future__ import annotations

from btfproto.store._placement import Delta, Level, Run
from hypothesis import given
from hypothesis import strategies as st

PLACES = dict[int, tuple[int, int, int]]  # record → segment, offset, size


def places(runs: list[Run]) -> PLACES:
    found: PLACES = {}
    for run in runs:
        for i in range(run.length):
            part = run.cut(run.first + i, run.first + i + 1)
            found[run.first + i] = part.segment, part.offset, part.last
    return found


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15), st.booleans(), st.integers(1, 9)), max_size=30))
def test_replacing_agrees_with_a_dictionary_and_the_rows_with_the_runs(steps: list[tuple[int, int, bool, int]]) -> None:
    level, expected, rows = Level(), PLACES(), dict[int, Run]()
    for number, (first, count, writes, last) in enumerate(steps):
        old = level.copy()
        before = places(old.runs)
        new = Run(first, count, number, 1000, 5, last) if writes else None
        delta: Delta = {}
        gone = level.replace(first, first + count, new, delta)
        assert places(gone) == {i: place for i, place in before.items() if first <= i < first + count}
        assert places(old.runs) == before
        expected = {i: place for i, place in expected.items() if not first <= i < first + count}
        expected |= places([new]) if new else {}
        rows = {first: run for first, run in {**rows, **delta}.items() if run is not None}
        assert places(level.runs) == expected
        assert sorted(rows.values()) == level.runs
        for index in range(60):
            run = level.find(index)
            assert (run is not None) is (index in expected)
            assert run is None or run.first <= index < run.end


def test_a_run_is_cut_where_its_records_lie() -> None:
    run = Run(10, 4, 1, 100, 7, 3)
    assert (run.data_size, run.cut(10, 14)) == (24, run)
    assert run.cut(11, 13) == Run(11, 2, 1, 107, 7, 7)
    assert run.cut(13, 14) == Run(13, 1, 1, 121, 7, 3)


def test_a_run_is_split_into_views_of_its_bytes() -> None:
    assert [bytes(part) for part in Run(0, 3, 1, 0, 4, 2).split(b"aaaabbbbcc")] == [b"aaaa", b"bbbb", b"cc"]
    assert Run(0, 1, 1, 0, 4, 2).split(b"cc") == [b"cc"]
