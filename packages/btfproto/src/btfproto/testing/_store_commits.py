"""Checks of commits: all or nothing, compare-and-set, repetitions, tombstones, and what a scan shows afterwards."""

from __future__ import annotations

from btlib.kinds import Kind

from ..store import (
    Absent,
    Commit,
    Committed,
    Conflict,
    Head,
    HeadWant,
    Marked,
    RecordHole,
    RecordRef,
    Records,
    Store,
    StoreMark,
    Unchanged,
)
from ._store_tools import (
    A,
    B,
    C,
    block_id,
    change,
    commit,
    commit_of,
    head_of,
    must_commit,
    records_of,
    refused,
    run,
    signed,
    store_check,
)


@store_check
def a_commit_is_applied_to_all_blocks_or_to_none(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, b"old")), change(B, 0))
    answer = commit(store, change(A, 1, run(0, 0, b"new")), change(C, 0), change(B, 4))
    assert answer == Conflict(B, 1)
    assert records_of(store, A, 0, 0, 1) == [b"old"]
    assert store.read_heads([HeadWant(A, 1), HeadWant(B, 1), HeadWant(C)]) == [Unchanged(), Unchanged(), Absent()]


@store_check
def the_mark_of_a_store_counts_its_commits(store: Store) -> None:
    """A store that has a mark: it is its own, and tells of what was acknowledged."""
    assert isinstance(store, Marked)
    before = store.mark()
    cursor = must_commit(store, change(A, 0, run(0, 0, b"a")))
    mark = store.mark()
    assert (mark.store, mark.cursor) == (before.store, cursor)
    assert cursor > before.cursor
    second = commit_of(change(B, 0))
    assert store.commit(second) == Committed(cursor + 1)
    assert store.mark() == StoreMark(before.store, cursor + 1, second.request)
    assert store.mark(cursor) == StoreMark(before.store, cursor + 1, mark.request)
    assert store.mark(2**64 - 1) == StoreMark(before.store, cursor + 1)
    cursor += 1
    commit(store, change(A, 7))
    assert store.mark().cursor == cursor, "a conflict changes nothing"
    assert store.watch(0, bytes(16), 0.0).cursor == cursor


@store_check
def a_wrong_expectation_is_a_conflict_that_names_what_was_found(store: Store) -> None:
    assert commit(store, change(A, 3)) == Conflict(A, 0)
    must_commit(store, change(A, 0, version=7))
    assert commit(store, change(A, 0)) == Conflict(A, 7)
    assert commit(store, change(A, 6)) == Conflict(A, 7)


@store_check
def versions_may_skip_but_never_go_back(store: Store) -> None:
    must_commit(store, change(A, 0, version=10))
    must_commit(store, change(A, 10, version=2**62))
    for version in (2**62, 1, 0):
        with refused(Kind.INVALID):
            commit(store, change(A, 2**62, version=version))


@store_check
def a_repeated_request_is_answered_again_and_applied_once(store: Store) -> None:
    first = commit_of(change(A, 0, run(0, 0, b"one")))
    assert isinstance(store.commit(first), Committed)
    must_commit(store, change(A, 1, run(0, 0, b"two")))
    assert isinstance(store.commit(first), Committed)
    assert records_of(store, A, 0, 0, 1) == [b"two"]
    assert store.read_heads([HeadWant(A, 2)]) == [Unchanged()]


@store_check
def a_request_that_was_refused_may_come_again(store: Store) -> None:
    early = commit_of(change(A, 1))
    assert store.commit(early) == Conflict(A, 0)
    must_commit(store, change(A, 0))
    assert isinstance(store.commit(early), Committed)


@store_check
def a_tombstone_has_no_records_and_stops_old_heads(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, *[b"x" * 20_000] * 3)), change(B, 0, run(0, 0, b"small")))
    must_commit(store, change(A, 1, removed=True), change(B, 1, removed=True))
    for block in (A, B):
        assert head_of(store, block) == Head(block, 2, signed(block, 2), removed=True)
        assert store.read_records(block, [RecordRef(0, 0)]) == Records(2, [None])
        assert commit(store, change(block, 0)) == Conflict(block, 2)
        must_commit(store, change(block, 2, run(0, 0, b"born again")))
        assert records_of(store, block, 0, 0, 2) == [b"born again", None]


@store_check
def a_commit_without_changes_is_committed(store: Store) -> None:
    assert isinstance(store.commit(commit_of()), Committed)


@store_check
def malformed_commits_are_refused_and_change_nothing(store: Store) -> None:
    good = change(B, 0)
    wrong: list[Commit] = [
        commit_of(good, request=b"short"),
        commit_of(good, change(A, 0), change(A, 1)),
        commit_of(good, change(b"no block id", 0)),
        commit_of(good, change(A, 0, run(0, 0, b"full", b""))),
        commit_of(good, change(A, 0, run(0, 0))),
        commit_of(good, change(A, 0, run(0, 2**63 - 1, b"x", b"y"))),
        commit_of(good, change(A, 0, holes=[RecordHole(0, 1, 2**63)])),
        commit_of(good, change(A, 0, run(0, 0, b"x"), removed=True)),
        commit_of(good, change(A, 0, run(0, 0, bytes(2**21 + 1)))),
    ]
    for malformed in wrong:
        with refused(Kind.INVALID):
            store.commit(malformed)
    assert store.read_heads([HeadWant(A), HeadWant(B)]) == [Absent(), Absent()]


@store_check
def a_large_commit_is_one_commit(store: Store) -> None:
    blocks = [block_id(("large", number)) for number in range(300)]
    must_commit(store, *(change(b, 0, run(0, 0, b * (number * 4 + 1))) for number, b in enumerate(blocks)))
    assert [records_of(store, b, 0, 0, 1) for b in blocks] == [[b * (n * 4 + 1)] for n, b in enumerate(blocks)]
    assert store.status().blocks == 300


@store_check
def a_scan_goes_through_all_blocks_in_order(store: Store) -> None:
    blocks = sorted(block_id(number) for number in range(25))
    must_commit(store, *(change(block, 0, run(0, 0, b"12345")) for block in blocks))
    must_commit(store, change(blocks[3], 1, removed=True))
    seen = []
    after: bytes | None = None
    while page := store.scan(after, 7):
        assert len(page) <= 7
        seen += page
        after = page[-1].block
    assert [summary.block for summary in seen] == blocks
    assert [(s.version, s.removed, s.stored_bytes) for s in seen[2:5]] == [(1, False, 5), (2, True, 0), (1, False, 5)]


@store_check
def the_status_counts_living_blocks_and_their_bytes(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, b"x" * 100, b"y" * 30_000)), change(B, 0, run(0, 0, b"z" * 50)))
    assert (store.status().blocks, store.status().stored_bytes) == (2, 30_150)
    must_commit(store, change(A, 1, removed=True))
    status = store.status()
    assert (status.blocks, status.stored_bytes) == (1, 50)
    assert 0 < status.available <= status.capacity
