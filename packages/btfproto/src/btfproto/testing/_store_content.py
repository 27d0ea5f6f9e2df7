"""Checks of what a store keeps: heads and records, runs and holes."""

from __future__ import annotations

from ..store import (
    INLINE_LIMIT,
    Absent,
    Found,
    Head,
    HeadWant,
    RecordHole,
    RecordRef,
    Records,
    Store,
    Unchanged,
)
from ._store_tools import (
    A,
    B,
    C,
    block_id,
    change,
    head_of,
    must_commit,
    records_of,
    run,
    signed,
    store_check,
)


@store_check
def a_block_that_was_never_committed_is_absent(store: Store) -> None:
    assert store.read_heads([HeadWant(A), HeadWant(A, 7)]) == [Absent(), Absent()]
    assert store.read_records(A, [RecordRef(0, 0), RecordRef(1, 5)]) == Records(0, [None, None])


@store_check
def heads_are_answered_in_the_order_of_the_wants(store: Store) -> None:
    must_commit(store, change(A, 0), change(B, 0, version=5))
    answers = store.read_heads([HeadWant(B), HeadWant(C), HeadWant(A, 1), HeadWant(A, 9), HeadWant(B)])
    head_a, head_b = Head(A, 1, signed(A, 1)), Head(B, 5, signed(B, 5))
    assert answers == [Found(head_b), Absent(), Unchanged(), Found(head_a), Found(head_b)]


@store_check
def many_heads_can_be_asked_for_at_once(store: Store) -> None:
    blocks = [block_id(number) for number in range(700)]
    must_commit(store, *(change(block, 0, run(0, 0, block)) for block in blocks[::2]))
    answers = store.read_heads([HeadWant(block) for block in blocks])
    assert [isinstance(answer, Found) for answer in answers] == [True, False] * 350
    assert [a.head.block for a in answers if isinstance(a, Found)] == blocks[::2]


@store_check
def a_small_record_travels_with_the_head_only_if_it_is_the_one(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, b"small")))
    head = head_of(store, A)
    assert head is not None
    assert head.small in (None, b"small")
    must_commit(store, change(A, 1, run(0, 0, b"x" * (INLINE_LIMIT + 1))))
    assert head_of(store, A) == Head(A, 2, signed(A, 2))
    assert records_of(store, A, 0, 0, 1) == [b"x" * (INLINE_LIMIT + 1)]


@store_check
def records_come_back_as_they_were_written(store: Store) -> None:
    sectors = [bytes([number]) * (1000 + number % 3) for number in range(40)]
    must_commit(store, change(A, 0, run(0, 0, *sectors), run(1, 0, b"node"), run(2, 0, b"top")))
    assert records_of(store, A, 0, 0, 41) == [*sectors, None]
    refs = [RecordRef(1, 0), RecordRef(0, 7), RecordRef(0, 3), RecordRef(2, 0), RecordRef(2, 1), RecordRef(0, 3)]
    found = store.read_records(A, refs)
    assert found.version == 1
    assert [record and bytes(record) for record in found.records] == [
        b"node",
        sectors[7],
        sectors[3],
        b"top",
        None,
        sectors[3],
    ]


@store_check
def memoryviews_are_stored_without_the_buffer_they_look_into(store: Store) -> None:
    buffer = bytearray(b"0123456789")
    view = memoryview(buffer)
    must_commit(store, change(A, 0, run(0, 3, view[2:4], view[6:9])))
    must_commit(store, change(B, 0, run(0, 0, view[1:5])))
    buffer[:] = b"xxxxxxxxxx"
    assert records_of(store, A, 0, 2, 4) == [None, b"23", b"678", None]
    assert records_of(store, B, 0, 0, 1) == [b"1234"]


@store_check
def writing_into_a_run_replaces_only_what_is_written(store: Store) -> None:
    expected: list[bytes | None] = [b"old%d" % number for number in range(20)]
    must_commit(store, change(A, 0, run(0, 0, *(record for record in expected if record))))
    for version, (first, count) in enumerate([(5, 1), (0, 2), (18, 4), (4, 3), (10, 1), (0, 25), (7, 1)], start=1):
        new = [b"new%d.%d" % (version, number) for number in range(count)]
        must_commit(store, change(A, version, run(0, first, *new)))
        expected[first : first + count] = new
        assert records_of(store, A, 0, 0, len(expected) + 1) == [*expected, None]


@store_check
def holes_end_records_and_runs_of_the_same_change_come_after_them(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, *(b"%d" % number for number in range(10))), run(1, 0, b"node")))
    must_commit(store, change(A, 1, run(0, 4, b"new"), holes=[RecordHole(0, 2, 5), RecordHole(1, 0, 2**40)]))
    assert records_of(store, A, 0, 0, 10) == [b"0", b"1", None, None, b"new", None, None, b"7", b"8", b"9"]
    assert records_of(store, A, 1, 0, 1) == [None]
    must_commit(store, change(A, 2, holes=[RecordHole(0, 8, 2**48)]))
    assert records_of(store, A, 0, 6, 4) == [None, b"7", None, None]


@store_check
def a_small_block_may_grow_shrink_and_vanish(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, b"first")))
    must_commit(store, change(A, 1, run(0, 1, b"second"), run(1, 0, b"node")))
    assert records_of(store, A, 0, 0, 3) == [b"first", b"second", None]
    must_commit(store, change(A, 2, holes=[RecordHole(0, 1, 1), RecordHole(1, 0, 1)]))
    assert records_of(store, A, 0, 0, 2) == [b"first", None]
    must_commit(store, change(A, 3, run(0, 0, b"again")))
    assert records_of(store, A, 0, 0, 2) == [b"again", None]
    must_commit(store, change(A, 4, holes=[RecordHole(0, 0, 1)]))
    assert records_of(store, A, 0, 0, 1) == [None]
    assert store.scan(None, 9)[0].stored_bytes == 0


@store_check
def record_numbers_may_be_large(store: Store) -> None:
    last = 2**62
    must_commit(store, change(A, 0, run(0, last, b"far", b"farther"), run(6, 2**40, b"node")))
    assert records_of(store, A, 0, last - 1, 4) == [None, b"far", b"farther", None]
    assert records_of(store, A, 6, 2**40, 1) == [b"node"]


@store_check
def a_change_of_the_head_alone_keeps_the_records(store: Store) -> None:
    must_commit(store, change(A, 0, run(0, 0, b"one")), change(B, 0, run(0, 0, b"one", b"two")))
    must_commit(store, change(A, 1), change(B, 1))
    assert (records_of(store, A, 0, 0, 1), records_of(store, B, 0, 0, 2)) == ([b"one"], [b"one", b"two"])
    assert store.read_records(A, []).version == 2
