"""The checker: whether a tree found after a crash is one that the history allows. Pure.

Each worker changes a directory of its own, so the tree consists of one part for each. Of every part the states after
0, 1, … n operations are known (`model`). A recovered tree is right if a number can be chosen for each worker such that

    match      its part looks exactly as after that many of its operations; the last one may have been under way
    durable    what was fsynced is included, and all that returned before its last change was issued
    order      whatever returned before an included operation was issued is included

So the tree is the state at one moment of the history, not before the last acknowledged fsync. Times are not compared.

A write may reach the file system as several requests. The kernel sends the rest of its first page by itself if it does
not hold that page, and may cut at every further page. A crash, or an error of a later request, may come between them:
`requests` makes several operations of a write, two of one that succeeded, one for each page of one that did not.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.faults.history import Histories, Step
from tests.faults.model import DIRECTORY, Node, Seen, Tree
from tests.faults.operations import (
    Allocate,
    Append,
    Close,
    Exchange,
    Fsync,
    Link,
    Operation,
    Read,
    Rename,
    Write,
)

PAGE = mmap.PAGESIZE
MOST_NAMES = 6  #: in a complaint

Found = Mapping[str, Seen]


@dataclass(frozen=True)
class Verdict:
    """`problems` is empty for a tree that is right."""

    problems: tuple[str, ...]
    operations: int  #: requests to the file system, of all workers
    durable: int  #: of them, promised to be there
    kept: int  #: of them, found

    @property
    def right(self) -> bool:
        return not self.problems


def requests(steps: Sequence[Step], top: str) -> Iterator[Step]:
    """The same history with several operations for each write that the kernel may cut."""
    tree = Tree(top)
    for step in steps:
        operation = step.operation
        if isinstance(operation, Append):
            operation = Write(operation.path, len(tree.nodes[operation.path].data), operation.length, operation.tag)
        tree.apply(operation)
        if isinstance(operation, Write):
            first = -operation.offset % PAGE
            end = first + 1 if step.succeeded else operation.length
            for cut in range(first or PAGE, min(end, operation.length), PAGE):
                yield replace(step, operation=Write(operation.path, operation.offset, cut, operation.tag))
        yield replace(step, operation=operation)


def floors(histories: Histories, tops: Sequence[str]) -> list[int]:
    """How many operations of each worker have to be there."""
    promises = [list(promised(steps, top)) for top, steps in zip(tops, histories, strict=True)]
    last = max((moment for own in promises for _, moment in own), default=-1)
    return [
        max(returned_before(steps, last), max((count for count, _ in own), default=0))
        for steps, own in zip(histories, promises, strict=True)
    ]


def promised(steps: Sequence[Step], top: str) -> Iterator[tuple[int, int]]:
    """For each durable operation: how many of this worker's are durable then, and before which moment all of others.

    The fsync of a directory is one of everything. That of a file is for its last change, and for all that returned
    before that was issued: later changes of others may still be in memory.
    """
    tree = Tree(top)
    changed: dict[Node, tuple[int, int]] = {}
    for number, step in enumerate(steps, 1):
        concerned = subjects(step.operation, tree)
        if step.durable and step.succeeded:
            everything = any(node.kind == DIRECTORY for node in concerned)
            yield (number, step.issued) if everything else changed.get(concerned[0], (0, -1))
        if not isinstance(step.operation, Fsync | Close | Read) and not gives_what_is_there(step.operation, concerned):
            tree.apply(step.operation)
            changed |= dict.fromkeys([*concerned, *subjects(step.operation, tree)], (number, step.issued))


def gives_what_is_there(operation: Operation, concerned: Sequence[Node]) -> bool:
    """Whether an allocation ends within its file: then nothing changes that an fsync of it could be about."""
    return isinstance(operation, Allocate) and bool(concerned) and operation.size <= len(concerned[0].data)


def subjects(operation: Operation, tree: Tree) -> list[Node]:
    """What an operation changes or makes durable: what its names mean at this moment."""
    paths = [operation.old, operation.new] if isinstance(operation, Rename | Exchange | Link) else [operation.path]
    return [tree.nodes[path] for path in paths if path in tree.nodes]


def returned_before(steps: Sequence[Step], moment: int) -> int:
    """How many of a worker's operations had returned by then."""
    return sum(1 for step in steps if step.returned is not None and step.returned < moment and not step.error)


def check(histories: Histories, tops: Sequence[str], found: Found, *, crashed: bool = True) -> Verdict:
    """Compare what was found after a crash; without one, everything has to be there."""
    histories = [list(requests(steps, top)) for top, steps in zip(tops, histories, strict=True)]
    least = floors(histories, tops) if crashed else [sum(step.succeeded for step in steps) for steps in histories]
    candidates, problems = [], []
    for top, steps, floor in zip(tops, histories, least, strict=True):
        states = matching_states(steps, top, part(found, top))
        candidates.append([state for state in states if state >= floor])
        if not states:
            problems.append(
                f"{top} is in no state that it ever had ({len(steps)} operations): "
                f"{nearest(steps, top, part(found, top))}"
            )
        elif not candidates[-1]:
            problems.append(f"{top} is as after {states[-1]} of {len(steps)} operations; {floor} were durable")
    strangers = [path for path in found if not any(path == top or path.startswith(f"{top}/") for top in tops)]
    problems += [f"{path} was never made" for path in strangers[:MOST_NAMES]]
    cut = consistent_cut(histories, candidates) if not problems else None
    if not problems and cut is None:
        problems.append(f"the parts are of no one moment: {[states[-1] for states in candidates]} operations")
    return Verdict(tuple(problems), sum(map(len, histories)), sum(least), sum(cut or []))


def part(found: Found, top: str) -> dict[str, Seen]:
    return {path: seen for path, seen in found.items() if path == top or path.startswith(f"{top}/")}


def matching_states(steps: Sequence[Step], top: str, found: Found) -> list[int]:
    """After how many operations the tree looked like this."""
    return [number for number, wrong in differences(steps, Tree(top), found) if not wrong]


def differences(steps: Sequence[Step], tree: Tree, found: Found) -> Iterator[tuple[int, set[str]]]:
    """The names that look different, after each number of operations. The set is one and the same."""
    wrong = {path for path in {*tree.nodes, *found} if tree.see(path) != found.get(path)}
    yield 0, wrong
    for number, step in enumerate(steps, 1):
        for path in tree.apply(step.operation):
            if tree.see(path) == found.get(path):
                wrong.discard(path)
            else:
                wrong.add(path)
        yield number, wrong


def nearest(steps: Sequence[Step], top: str, found: Found) -> str:
    """How the most similar state differs."""
    tree = Tree(top)
    _, best = min((len(wrong), -number) for number, wrong in differences(steps, tree, found))
    tree = Tree(top)
    for number, wrong in differences(steps, tree, found):
        if number == -best:
            names = sorted(wrong)[:MOST_NAMES]
            lines = "; ".join(describe(path, tree.see(path), found.get(path)) for path in names)
            return f"nearest after {number}, {len(wrong)} names differ: {lines}"
    raise AssertionError("one of the states is the nearest")


def describe(path: str, expected: Seen | None, found: Seen | None) -> str:
    return f"{path} is {found or 'absent'} instead of {expected or 'absent'}{first_difference(expected, found)}"


def first_difference(ours: Seen | None, theirs: Seen | None) -> str:
    if ours is None or theirs is None or ours.data == theirs.data:
        return ""
    pairs = zip(ours.data, theirs.data, strict=False)
    offset = next((offset for offset, (a, b) in enumerate(pairs) if a != b), min(len(ours.data), len(theirs.data)))
    return f" (differs from byte {offset})"


def consistent_cut(histories: Histories, candidates: Sequence[Sequence[int]]) -> list[int] | None:
    """The latest choice among the candidates that keeps the order; None where there is none.

    Going down from the latest is exact: what one worker must give up does not depend on what others give up later.
    """
    left = [list(states) for states in candidates]
    changed = True
    while changed and all(left):
        changed = False
        for steps, states in zip(histories, left, strict=True):
            last = steps[states[-1] - 1].issued if states[-1] else -1
            if any(lacks(other, chosen[-1], last) for other, chosen in zip(histories, left, strict=True) if chosen):
                states.pop()
                changed = True
                break
    return [states[-1] for states in left] if all(left) else None


def lacks(steps: Sequence[Step], included: int, moment: int) -> bool:
    """Whether an operation is left out that had returned by then."""
    return returned_before(steps, moment) > included
