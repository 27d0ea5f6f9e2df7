"""Stores as released versions wrote them: every later one must open them and find everything.

`samples/format-1` was made by `write_sample`, once; it is never made again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from btfproto.store import Acquire, Committed, EmbeddedStore, Fenced
from btfproto.testing._store_tools import ANN, A, B, C, change, commit_of, head_of, must_commit, records_of, run, signed

SAMPLES = Path(__file__).resolve().parent / "samples"
FIRST = commit_of(
    change(A, 0, run(0, 0, *[b"%d" % n * 700 for n in range(6)], b"tail"), run(1, 0, b"node")),
    request=b"the first commit",
)


def write_sample(store: EmbeddedStore) -> None:
    store.commit(FIRST)
    must_commit(store, change(A, 1, run(0, 2, b"other"), version=7))
    must_commit(store, change(B, 0, run(0, 0, b"small")))
    must_commit(store, change(C, 0, run(0, 0, b"gone")))
    must_commit(store, change(C, 1, removed=True))
    store.lease(Acquire(A, ANN, 1_000))


def test_a_store_of_format_1_is_whole(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "format-1", tmp_path / "store")
    store = EmbeddedStore(tmp_path / "store")
    expected: list[bytes | None] = [b"%d" % n * 700 for n in range(6)]
    expected[2] = b"other"
    assert records_of(store, A, 0, 0, 8) == [*expected, b"tail", None]
    assert records_of(store, A, 1, 0, 1) == [b"node"]
    head = head_of(store, B)
    assert head is not None
    assert (head.version, head.signed, head.small) == (1, signed(B, 1), b"small")
    gone = head_of(store, C)
    assert gone is not None
    assert (gone.version, gone.removed) == (2, True)
    assert isinstance(store.commit(FIRST), Committed)
    fenced = commit_of(change(B, 1), request=b"a fenced request", fences=[(A, 0)])
    assert store.commit(fenced) == Fenced(A, 1)
    assert store.read_records(A, []).version == 7
    assert store.commit(commit_of(change(A, 7), request=b"a later request.")) == Committed(7)
    store.close()
