"""The checker says what is wrong with a tree, and nothing about one that is right."""

from __future__ import annotations

import pytest

from tests.faults.checker import Verdict, check
from tests.faults.history import Event, Histories, read_history, steps
from tests.faults.model import Seen, Tree
from tests.faults.operations import Allocate, Fsync, Make, Operation, Rename, Write, content

SIZE = 40_000


def ran(worker: int, operation: Operation) -> list[Event]:
    return [Event(worker, issued=operation), Event(worker, returned="", durable=isinstance(operation, Fsync))]


def tree_after(top: str, *operations: Operation) -> dict[str, Seen]:
    tree = Tree(top)
    for operation in operations:
        tree.apply(operation)
    return {path: seen for path in tree.nodes if (seen := tree.see(path)) is not None}


MAKE, WRITE = Make("w0/f", 0o600), Write("w0/f", 0, SIZE, 1)
AGAIN, MOVE = Write("w0/f", 100, 50, 2), Rename("w0/f", "w0/g")
SYNC = Fsync("w0/f")
ONE = steps([event for operation in (MAKE, WRITE, SYNC, AGAIN, MOVE) for event in ran(0, operation)], 1)


def checked(*operations: Operation, histories: Histories = ONE) -> Verdict:
    return check(histories, ["w0"], tree_after("w0", *operations))


@pytest.mark.parametrize("kept", [(MAKE, WRITE), (MAKE, WRITE, AGAIN), (MAKE, WRITE, AGAIN, MOVE)])
def test_every_state_since_the_last_fsync_is_right(kept: tuple[Operation, ...]) -> None:
    verdict = checked(*kept)
    assert verdict.right, verdict.problems
    assert verdict.durable == 2


@pytest.mark.parametrize("kept", [(), (MAKE,)])
def test_what_was_fsynced_must_be_there(kept: tuple[Operation, ...]) -> None:
    (problem,) = checked(*kept).problems
    assert "2 were durable" in problem


def test_a_later_operation_without_an_earlier_one_is_wrong() -> None:
    (problem,) = checked(MAKE, WRITE, MOVE).problems
    assert "no state that it ever had" in problem
    assert "differs from byte 100" in problem


def test_a_torn_write_is_wrong() -> None:
    found = tree_after("w0", MAKE, WRITE, AGAIN)
    torn = found["w0/f"].data[:120] + content(1, SIZE)[120:]
    found["w0/f"] = Seen("file", 0o600, 1, torn, b"")
    assert not check(ONE, ["w0"], found).right


def test_a_crash_may_come_between_the_two_requests_of_a_write() -> None:
    unaligned = Write("w0/f", 5000, 20_000, 3)
    history = steps([event for operation in (MAKE, WRITE, unaligned) for event in ran(0, operation)], 1)
    for border, right in ((8192, True), (12288, False), (16384, False)):
        found = tree_after("w0", MAKE, WRITE, unaligned)
        data = found["w0/f"].data[:border] + content(1, SIZE)[border:]
        found["w0/f"] = Seen("file", 0o600, 1, data, b"")
        assert check(history, ["w0"], found).right == right, border


@pytest.mark.parametrize("answer", [[], [Event(0, returned="ETIMEDOUT")]])
@pytest.mark.parametrize(("offset", "borders"), [(5000, (8192, 12288, 20480)), (4096, (8192, 12288, 20480))])
def test_a_write_that_failed_may_be_there_up_to_any_page(
    offset: int, borders: tuple[int, ...], answer: list[Event]
) -> None:
    failed = Write("w0/f", offset, 20_000, 3)
    done = [event for operation in (MAKE, WRITE) for event in ran(0, operation)]
    history = steps([*done, Event(0, issued=failed), *answer], 1)
    for border in (*borders, 9000):
        found = tree_after("w0", MAKE, WRITE, failed)
        data = found["w0/f"].data[:border] + content(1, SIZE)[border:]
        found["w0/f"] = Seen("file", 0o600, 1, data, b"")
        assert check(history, ["w0"], found).right == (border in borders), border


def test_a_stranger_is_wrong() -> None:
    found = tree_after("w0", MAKE, WRITE) | {"lost+found": Seen("directory", 0o700, 2, b"", b"")}
    assert check(ONE, ["w0"], found).problems == ("lost+found was never made",)


def test_an_operation_under_way_may_be_there_or_not() -> None:
    cut = steps([*ran(0, MAKE), Event(0, issued=WRITE)], 1)
    assert checked(MAKE, histories=cut).right
    assert checked(MAKE, WRITE, histories=cut).right


def test_without_a_crash_everything_has_to_be_there() -> None:
    assert not check(ONE, ["w0"], tree_after("w0", MAKE, WRITE, AGAIN), crashed=False).right


FIRST, SECOND = Make("w0/a", 0o600), Make("w1/b", 0o600)


def two(*events: Event) -> Histories:
    return steps(events, 2)


def test_workers_keep_their_order_towards_each_other() -> None:
    after = two(*ran(0, FIRST), *ran(1, SECOND))
    found = tree_after("w0") | tree_after("w1", SECOND)
    (problem,) = check(after, ["w0", "w1"], found).problems
    assert "no one moment" in problem
    at_once = two(Event(0, issued=FIRST), *ran(1, SECOND), Event(0, returned=""))
    assert check(at_once, ["w0", "w1"], found).right


def test_the_fsync_of_a_file_is_none_of_what_others_changed_since() -> None:
    third = Make("w0/c", 0o600)
    events = [*ran(0, third), *ran(0, FIRST), *ran(1, SECOND), *ran(0, Fsync("w0/a"))]
    verdict = check(two(*events), ["w0", "w1"], tree_after("w0", third, FIRST) | tree_after("w1"))
    assert verdict.right
    assert verdict.durable == 2


def test_an_allocation_inside_a_file_is_no_change_that_an_fsync_is_about() -> None:
    for size, right in ((SIZE, True), (SIZE + 1, False)):
        allocation = Allocate("w0/f", size)
        operations = (MAKE, WRITE, Make("w0/x", 0o600), allocation, SYNC)
        events = [event for operation in operations for event in ran(0, operation)]
        verdict = check(steps(events, 1), ["w0"], tree_after("w0", MAKE, WRITE))
        assert verdict.right is right, verdict.problems


def test_the_fsync_of_a_directory_is_one_of_everything() -> None:
    events = [*ran(0, FIRST), *ran(1, SECOND), *ran(0, Fsync("w0"))]
    assert not check(two(*events), ["w0", "w1"], tree_after("w0", FIRST) | tree_after("w1")).right


def test_a_history_that_was_cut_ends_with_its_last_whole_line() -> None:
    text = (
        b'{"worker":0,"issued":{"type":"Make","path":"w0/f","mode":384}}\n{"worker":0,"returned":""}\n{"worker":0,"iss'
    )
    ((step,),) = read_history(text, 1)
    assert (step.operation, step.succeeded) == (MAKE, True)
