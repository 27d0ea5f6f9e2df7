"""Crashes and failing devices: after reopening, the store holds exactly what it acknowledged.

Where an answer was lost, it may also hold the unanswered commit, as a whole.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from btfproto.errors import StoreError
from btfproto.store import Committed, EmbeddedStore, HeadWant, Unchanged
from btfproto.store._files import Buffer, SystemFiles
from btfproto.testing._store_tools import A, B, change, commit_of, must_commit, records_of, run
from btlib.kinds import Kind

BIG = b"x" * 20_000  # more than the index keeps


class FailingFiles(SystemFiles):
    """Counts operations, and lets the chosen one fail, or take only a part."""

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.fail_at: int | None = None
        self.error = errno.EIO
        self.short = False
        self.lasting = False  #: all later ones fail, too

    def _step(self, name: str) -> bool:
        self.operations.append(name)
        at = len(self.operations) - 1
        if self.fail_at is not None and (self.fail_at == at or (self.lasting and self.fail_at < at)) and not self.short:
            raise OSError(self.error, os.strerror(self.error))
        return self.fail_at == len(self.operations) - 1

    def open(self, path: Path, *, create: bool = False) -> int:
        if create:
            self._step("create")
        return super().open(path, create=create)

    def write(self, fd: int, parts: Sequence[Buffer], offset: int) -> int:
        if self._step("write"):
            return super().write(fd, [memoryview(parts[0])[: max(1, len(parts[0]) // 2)]], offset)
        return super().write(fd, parts, offset)

    def sync(self, fd: int) -> None:
        self._step("sync")
        super().sync(fd)

    def sync_directory(self, path: Path) -> None:
        self._step("sync_directory")
        super().sync_directory(path)


@contextmanager
def opened(directory: Path, files: SystemFiles | None = None) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(directory, files=files)
    try:
        yield store
    finally:
        store.close()


def copied(directory: Path, to: Path) -> Path:
    """The directory as a crash at this moment would leave it."""
    shutil.copytree(directory, to, ignore=shutil.ignore_patterns("*-shm"))
    return to


def operations_of_a_commit(tmp_path: Path) -> list[str]:
    files = FailingFiles()
    with opened(tmp_path / "counted", files) as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        files.operations.clear()
        must_commit(store, change(A, 1, run(0, 0, BIG, BIG)), change(B, 0, run(0, 0, BIG)))
        return files.operations.copy()


def test_a_commit_writes_then_syncs_and_only_then_names_it(tmp_path: Path) -> None:
    assert operations_of_a_commit(tmp_path) == ["write", "sync"]


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize(("error", "kind"), [(errno.EIO, Kind.IO), (errno.ENOSPC, Kind.NO_SPACE)])
def test_a_failed_operation_refuses_the_commit_and_changes_nothing(
    tmp_path: Path, failing: int, error: int, kind: Kind
) -> None:
    files = FailingFiles()
    with opened(tmp_path / "store", files) as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        files.fail_at, files.error, files.lasting = len(files.operations) + failing, error, kind is Kind.NO_SPACE
        request = commit_of(change(A, 1, run(0, 0, BIG, b"new")), change(B, 0))
        with pytest.raises(StoreError, match="segment") as caught:
            store.commit(request)
        files.fail_at = None
        assert caught.value.kind is kind
        assert store.read_heads([HeadWant(A, 1)]) == [Unchanged()]
        assert records_of(store, A, 0, 0, 2) == [BIG, None]
        after_crash = copied(tmp_path / "store", tmp_path / "crashed")
        assert isinstance(store.commit(request), Committed)
        assert records_of(store, A, 0, 0, 2) == [BIG, b"new"]
    with opened(after_crash) as store:
        assert records_of(store, A, 0, 0, 2) == [BIG, None]
    with opened(tmp_path / "store") as store:
        assert records_of(store, A, 0, 0, 2) == [BIG, b"new"]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_commit_that_found_no_room_for_a_moment_is_tried_once_more(tmp_path: Path, failing: int) -> None:
    files = FailingFiles()
    with opened(tmp_path / "store", files) as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        files.fail_at, files.error = len(files.operations) + failing, errno.ENOSPC
        must_commit(store, change(A, 1, run(0, 0, BIG, b"new")))
        assert records_of(store, A, 0, 0, 2) == [BIG, b"new"]
    with opened(tmp_path / "store") as store:
        assert records_of(store, A, 0, 0, 2) == [BIG, b"new"]


def test_a_segment_whose_sync_failed_is_never_written_again(tmp_path: Path) -> None:
    files = FailingFiles()
    with opened(tmp_path / "store", files) as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        files.fail_at = len(files.operations) + 1
        with pytest.raises(StoreError):
            store.commit(commit_of(change(A, 1, run(0, 0, BIG))))
        files.operations.clear()
        must_commit(store, change(A, 1, run(0, 0, BIG)))
        assert files.operations == ["create", "sync_directory", "write", "write", "sync"]
        assert records_of(store, A, 0, 0, 1) == [BIG]


@pytest.mark.parametrize("failing", range(5))
def test_a_failure_while_a_segment_is_made_leaves_nothing_behind(tmp_path: Path, failing: int) -> None:
    files = FailingFiles()
    with opened(tmp_path / "store", files) as store:
        files.fail_at = len(files.operations) + failing
        with pytest.raises(StoreError):
            store.commit(commit_of(change(A, 0, run(0, 0, BIG))))
        assert list((tmp_path / "store/segments").iterdir()) == []
        must_commit(store, change(A, 0, run(0, 0, BIG)))
    with opened(tmp_path / "store") as store:
        assert records_of(store, A, 0, 0, 1) == [BIG]


@pytest.mark.parametrize("failing", range(2))
def test_a_short_write_is_continued(tmp_path: Path, failing: int) -> None:
    files = FailingFiles()
    files.short = True
    with opened(tmp_path / "store", files) as store:
        files.fail_at = len(files.operations) + 2 + failing
        must_commit(store, change(A, 0, run(0, 0, BIG, b"y" * 20_000), run(1, 0, b"node")))
        assert records_of(store, A, 0, 0, 2) == [BIG, b"y" * 20_000]
        assert records_of(store, A, 1, 0, 1) == [b"node"]


class LossyFiles(SystemFiles):
    """Remembers how much of each file was synced, so that a power cut can take the rest."""

    def __init__(self) -> None:
        self.paths: dict[int, Path] = {}
        self.synced: dict[Path, int] = {}
        self.before_sync: Callable[[], None] = lambda: None
        self.after_sync: Callable[[], None] = lambda: None

    def open(self, path: Path, *, create: bool = False) -> int:
        fd = super().open(path, create=create)
        self.paths[fd] = path
        return fd

    def sync(self, fd: int) -> None:
        self.before_sync()
        super().sync(fd)
        self.synced[self.paths[fd]] = os.fstat(fd).st_size
        self.after_sync()

    def power_cut(self, directory: Path, to: Path) -> Path:
        """The directory after a power cut: what was not synced is gone, or garbage of the same length."""
        copied(directory, to)
        for path in (directory / "segments").iterdir():
            lost = to / "segments" / path.name
            kept = self.synced.get(path, 0)
            size = lost.stat().st_size
            with lost.open("r+b") as file:
                file.seek(kept)
                file.write(b"\xa5" * ((size - kept) // 2))
                file.truncate(kept + (size - kept) // 2)
        return to


def test_a_power_cut_at_any_moment_of_a_commit_leaves_the_acknowledged_state(tmp_path: Path) -> None:
    files = LossyFiles()
    cuts: list[tuple[Path, int]] = []
    acknowledged = 0

    def cut() -> None:
        cuts.append((files.power_cut(tmp_path / "store", tmp_path / f"cut{len(cuts)}"), acknowledged))

    with opened(tmp_path / "store", files) as store:
        files.before_sync = files.after_sync = cut
        for version in range(6):
            must_commit(store, change(A, version, run(0, 0, *[b"%d" % version * 9_000] * 3)), change(B, version))
            acknowledged = version + 1
            cut()
    assert len(cuts) == 18
    for directory, version in cuts:
        with opened(directory) as store:
            expected = [b"%d" % (version - 1) * 9_000] * 3 if version else [None] * 3
            assert store.read_records(A, []).version == store.read_records(B, []).version == version
            assert records_of(store, A, 0, 0, 3) == expected
            must_commit(store, change(A, version, run(0, 1, b"after")))
            assert records_of(store, A, 0, 0, 3) == [expected[0], b"after", expected[2]]


def test_a_crash_around_any_change_of_snapshots_leaves_it_made_or_not(tmp_path: Path) -> None:
    files = LossyFiles()
    cuts: list[tuple[Path, int, set[str]]] = []
    version, there = 0, set[str]()

    def cut() -> None:
        directory = files.power_cut(tmp_path / "store", tmp_path / f"cut{len(cuts)}")
        cuts.append((directory, version, set(there)))

    store = EmbeddedStore(tmp_path / "store", files=files, segment_size=50_000)
    files.before_sync = files.after_sync = cut
    for step in range(9):
        must_commit(store, change(A, version, run(0, 0, *[b"%d" % step * 9_000] * 3)))
        version += 1
        cut()
        store.create_snapshot(f"s{step}", step)
        there.add(f"s{step}")
        cut()
        if step % 3 == 2:
            store.delete_snapshot(f"s{step - 1}")
            there.discard(f"s{step - 1}")
            cut()
    store.close()
    assert len(cuts) > 30
    for directory, version_then, there_then in cuts:
        with opened(directory) as store:
            assert store.read_records(A, []).version == version_then
            assert {snapshot.name for snapshot in store.snapshots()} == there_then
            for name in there_then:
                step = int(name[1:])
                assert records_of(store.at(name), A, 0, 0, 3) == [b"%d" % step * 9_000] * 3
            for _ in store.compact(0.9):
                pass
            for name in there_then:
                step = int(name[1:])
                assert records_of(store.at(name), A, 0, 0, 3) == [b"%d" % step * 9_000] * 3


def test_a_full_index_refuses_the_commit_and_the_store_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        must_commit(store, change(A, 0, run(0, 0, b"small")))
        pages = store._index._writer.execute("PRAGMA page_count").fetchone()[0]
        store._index._writer.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StoreError, match="index") as caught:
            must_commit(store, change(A, 1, run(0, 0, b"y" * 16_000)), change(B, 0, run(0, 0, b"z" * 16_000)))
        assert caught.value.kind is Kind.NO_SPACE
        assert records_of(store, A, 0, 0, 1) == [b"small"]
        store._index._writer.execute("PRAGMA max_page_count=1000000")
        must_commit(store, change(A, 1, run(0, 0, BIG)))
    with opened(tmp_path / "store") as store:
        assert records_of(store, A, 0, 0, 1) == [BIG]


def test_after_an_error_of_the_index_commits_are_refused_until_the_store_is_opened_again(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        must_commit(store, change(A, 0, run(0, 0, BIG)))
        store._index._writer.close()
        request = commit_of(change(A, 1, run(0, 0, b"new")))
        for _ in range(2):
            with pytest.raises(StoreError, match="index") as caught:
                store.commit(request)
            assert caught.value.kind is Kind.IO
        assert records_of(store, A, 0, 0, 1) == [BIG]
    with opened(tmp_path / "store") as store:
        assert isinstance(store.commit(request), Committed)
        assert records_of(store, A, 0, 0, 1) == [b"new"]
