"""Checks of snapshots: what is kept, what is shared, what refuses."""

from __future__ import annotations

import hashlib

from btlib.kinds import Kind

from ..store import Absent, Acquire, HeadSummary, HeadWant, RecordHole, Snapshots, Store, Unchanged
from ._store_tools import (
    ANN,
    A,
    B,
    C,
    change,
    commit_of,
    head_of,
    must_commit,
    records_of,
    refused,
    run,
    signed,
    store_check,
)

BIG = b"x" * 20_000  # more than any index keeps beside a head


def snapshots_of(store: Store) -> Snapshots:
    assert isinstance(store, Snapshots), f"{type(store).__name__} has no snapshots"
    return store


@store_check
def a_snapshot_shows_what_was_there_and_the_store_what_is(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, BIG, b"two"), run(1, 0, b"node")), change(B, 0, run(0, 0, b"small")))
    snapshots_of(store).create_snapshot("s", 1)
    must_commit(store, change(A, 1, run(0, 1, b"new"), version=5), change(B, 1, run(0, 0, b"other")), change(C, 0))
    past = snapshots_of(store).at("s")
    assert records_of(past, A, 0, 0, 3) == [BIG, b"two", None]
    assert records_of(past, A, 1, 0, 1) == [b"node"]
    assert records_of(past, B, 0, 0, 1) == [b"small"]
    assert past.read_heads([HeadWant(A, 1), HeadWant(C)]) == [Unchanged(), Absent()]
    head = head_of(past, B)
    assert head is not None
    assert (head.version, head.signed) == (1, signed(B, 1))
    assert records_of(store, A, 0, 0, 3) == [BIG, b"new", None]
    assert records_of(store, B, 0, 0, 1) == [b"other"]
    assert records_of(past, C, 0, 0, 1) == [None]


@store_check
def a_removed_block_lives_on_in_a_snapshot(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, BIG)), change(B, 0, run(0, 0, b"small")))
    snapshots_of(store).create_snapshot("s", 1)
    must_commit(store, change(A, 1, removed=True), change(B, 1, removed=True))
    must_commit(store, change(A, 2, run(0, 0, b"again")))
    past = snapshots_of(store).at("s")
    assert records_of(past, A, 0, 0, 1) == [BIG]
    assert records_of(past, B, 0, 0, 1) == [b"small"]
    assert past.scan(None, 10) == sorted(
        [HeadSummary(A, 1, False, len(BIG)), HeadSummary(B, 1, False, 5)], key=lambda summary: summary.block
    )
    assert (past.status().blocks, past.status().stored_bytes) == (2, len(BIG) + 5)


@store_check
def a_tombstone_is_one_in_a_snapshot_too(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, BIG)))
    must_commit(store, change(A, 1, removed=True))
    snapshots_of(store).create_snapshot("s", 1)
    must_commit(store, change(A, 2, run(0, 0, b"again")))
    head = head_of(snapshots_of(store).at("s"), A)
    assert head is not None
    assert (head.version, head.removed) == (2, True)


@store_check
def snapshots_are_independent_of_each_other(store: Store) -> None:
    snapshots = snapshots_of(store)
    for version in range(4):
        must_commit(store, change(A, version, run(0, version % 2, b"%d" % version * 20_000)))
        snapshots.create_snapshot(f"s{version}", version)
    snapshots.create_snapshot("again", 9)
    snapshots.delete_snapshot("s1")
    snapshots.delete_snapshot("s3")
    must_commit(store, change(A, 4, holes=[RecordHole(0, 0, 2)]))
    content = [b"%d" % version * 20_000 for version in range(4)]
    assert records_of(snapshots.at("s0"), A, 0, 0, 2) == [content[0], None]
    assert records_of(snapshots.at("s2"), A, 0, 0, 2) == [content[2], content[1]]
    assert records_of(snapshots.at("again"), A, 0, 0, 2) == [content[2], content[3]]
    assert records_of(store, A, 0, 0, 2) == [None, None]
    assert [s.name for s in snapshots.snapshots()] == ["s0", "s2", "again"]


@store_check
def a_snapshot_keeps_only_what_was_overwritten(store: Store) -> None:
    snapshots = snapshots_of(store)
    must_commit(store, change(A, 0, run(0, 0, BIG, b"y" * 20_000)))
    taken = snapshots.create_snapshot("s", 77)
    assert (taken.name, taken.taken) == ("s", 77)
    assert snapshots.snapshots() == [taken]
    must_commit(store, change(A, 1, run(0, 0, b"z" * 20_000)))
    must_commit(store, change(A, 2, run(0, 0, BIG)))
    (found,) = snapshots.snapshots()
    assert (found.cursor, found.kept) == (taken.cursor, len(BIG))
    snapshots.create_snapshot("t", 78)
    must_commit(store, change(A, 3, removed=True))
    assert [s.kept for s in snapshots.snapshots()] == [len(BIG), len(BIG)]


@store_check
def what_snapshots_share_is_nobodys_alone(store: Store) -> None:
    snapshots = snapshots_of(store)
    must_commit(store, change(A, 0, run(0, 0, BIG, BIG)))
    snapshots.create_snapshot("s", 1)
    snapshots.create_snapshot("t", 1)
    must_commit(store, change(A, 1, removed=True))
    assert [s.kept for s in snapshots.snapshots()] == [0, 0]
    snapshots.delete_snapshot("s")
    assert [s.kept for s in snapshots.snapshots()] == [2 * len(BIG)]
    assert records_of(snapshots.at("t"), A, 0, 0, 2) == [BIG, BIG]


@store_check
def a_snapshot_cannot_be_changed(store: Store) -> None:
    must_commit(store, change(A, 0))
    snapshots_of(store).create_snapshot("s", 1)
    past = snapshots_of(store).at("s")
    with refused(Kind.READ_ONLY):
        past.commit(commit_of(change(A, 1)))
    with refused(Kind.READ_ONLY):
        past.lease(Acquire(A, ANN, 1_000))
    past.close()
    assert head_of(store, A) is not None


@store_check
def names_of_snapshots_are_unique_and_fit_a_directory(store: Store) -> None:
    snapshots = snapshots_of(store)
    snapshots.create_snapshot("s", 1)
    with refused(Kind.EXISTS):
        snapshots.create_snapshot("s", 2)
    for name in ("", ".", "..", "a/b", "a\0b", "a\nb", "x" * 256):
        with refused(Kind.INVALID):
            snapshots.create_snapshot(name, 1)
    for act in (snapshots.delete_snapshot, snapshots.at):
        with refused(Kind.NOT_FOUND):
            act("t")
    assert [s.taken for s in snapshots.snapshots()] == [1]


@store_check
def a_deleted_snapshot_cannot_be_read_any_more(store: Store) -> None:
    snapshots = snapshots_of(store)
    must_commit(store, change(A, 0, run(0, 0, BIG)), change(B, 0))
    snapshots.create_snapshot("s", 1)
    past = snapshots.at("s")
    snapshots.delete_snapshot("s")
    with refused(Kind.NOT_FOUND):
        past.scan(None, 10)
    with refused(Kind.NOT_FOUND):
        past.read_heads([HeadWant(B)])
    snapshots.create_snapshot("s", 2)
    assert records_of(snapshots.at("s"), A, 0, 0, 1) == [BIG]


@store_check
def digests_name_the_heads_of_a_snapshot_in_order(store: Store) -> None:
    must_commit(store, change(A, 0), change(B, 0), change(C, 0))
    must_commit(store, change(B, 1, removed=True))
    snapshots_of(store).create_snapshot("s", 1)
    must_commit(store, change(A, 1))
    past = snapshots_of(store).at("s")
    first = past.digests(None, 2)
    found = first + past.digests(first[-1].block, 9)
    expected = sorted([(A, 1), (B, 2), (C, 1)])
    assert [(d.block, d.version, d.digest) for d in found] == [
        (block, version, hashlib.sha256(signed(block, version)).digest()) for block, version in expected
    ]
