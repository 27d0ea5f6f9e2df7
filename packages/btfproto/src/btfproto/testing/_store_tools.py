"""Short ways to say what the store checks do: blocks, runs and commits with made-up heads."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from btlib.kinds import Kind

from ..errors import StoreError
from ..store import (
    BlockChange,
    Commit,
    CommitAnswer,
    Committed,
    Found,
    Head,
    HeadWant,
    RecordHole,
    RecordRef,
    RecordRun,
    Store,
)

StoreCheck = Callable[[Store], None]

STORE_CHECKS: list[StoreCheck] = []  #: filled by `store_check`, in order of definition

WAIT = 30.0  # seconds until a check gives up on a thread; reached only on failure

_numbers = itertools.count(1)


def store_check(check: StoreCheck) -> StoreCheck:
    """Add a check to the suite."""
    STORE_CHECKS.append(check)
    return check


def block_id(name: object) -> bytes:
    """A block id that is the same in every run, and lies anywhere."""
    return hashlib.sha256(repr(name).encode()).digest()[:16]


A, B, C = (block_id(name) for name in "abc")
ANN, BOB = (block_id(name) for name in ("ann", "bob"))


def request_id() -> bytes:
    """A request id that was not used before in this process."""
    return next(_numbers).to_bytes(16, "big")


def signed(block: bytes, version: int) -> bytes:
    """What stands for a signed header. A store does not look into it."""
    return block + version.to_bytes(8, "big")


def change(
    block: bytes,
    expected: int,
    *runs: RecordRun,
    version: int | None = None,
    holes: Sequence[RecordHole] = (),
    removed: bool = False,
) -> BlockChange:
    """A change to the next version."""
    version = expected + 1 if version is None else version
    return BlockChange(
        block=block,
        expected=expected,
        version=version,
        signed=signed(block, version),
        removed=removed,
        holes=list(holes),
        runs=list(runs),
    )


def commit_of(*changes: BlockChange, request: bytes | None = None, fences: Sequence[tuple[bytes, int]] = ()) -> Commit:
    return Commit(request=request_id() if request is None else request, changes=list(changes), fences=list(fences))


def commit(store: Store, *changes: BlockChange) -> CommitAnswer:
    return store.commit(commit_of(*changes))


def must_commit(store: Store, *changes: BlockChange) -> int:
    """Commit, and return the cursor after it."""
    answer = commit(store, *changes)
    assert isinstance(answer, Committed), f"a commit that nothing stands against was answered with {answer}"
    return answer.cursor


def head_of(store: Store, block: bytes) -> Head | None:
    (answer,) = store.read_heads([HeadWant(block)])
    return answer.head if isinstance(answer, Found) else None


def records_of(store: Store, block: bytes, level: int, first: int, count: int) -> list[bytes | None]:
    """Consecutive records as plain bytes."""
    refs = [RecordRef(level, index) for index in range(first, first + count)]
    return [None if record is None else bytes(record) for record in store.read_records(block, refs).records]


def run(level: int, first: int, *records: bytes | memoryview) -> RecordRun:
    return RecordRun(level, first, list(records))


@contextmanager
def refused(kind: Kind) -> Iterator[None]:
    """The block within must raise StoreError of this kind."""
    found: Kind | None = None
    try:
        yield
    except StoreError as error:
        found = error.kind
    assert found is kind, f"expected StoreError {kind.name}, got {found}"
