"""`.snapshots` of a real mount: the old bytes, nothing that can be changed, and room that comes back."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest
from btfproto.store import EmbeddedStore
from btlib.home import Domain

pytestmark = pytest.mark.mount

SIZE = 4 << 20


class Machine(Protocol):
    """What `conftest` gives."""

    mountpoint: Path
    domain: Domain

    def foreground(self, *words: str) -> AbstractContextManager[subprocess.Popen[str]]: ...


@pytest.fixture
def mount(machine: Machine) -> Iterator[Path]:
    with machine.foreground() as process:
        assert process.stderr is not None
        assert "is mounted" in process.stderr.readline()
        yield machine.mountpoint


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is checked
        act()
    return errno.errorcode[caught.value.errno or 0]


def test_the_past_is_seen_after_everything_was_changed(mount: Path) -> None:
    old = os.urandom(SIZE)
    (mount / "dir").mkdir()
    (mount / "dir" / "file").write_bytes(old)
    (mount / "gone").write_text("small")
    (mount / "link").symlink_to("dir/file")
    os.setxattr(mount / "gone", "user.note", b"remember")
    (mount / ".snapshots" / "monday").mkdir()
    with (mount / "dir" / "file").open("r+b") as file:
        file.seek(100_000)
        file.write(b"new" * 100_000)
    (mount / "gone").unlink()
    (mount / "dir" / "later").write_text("later")
    past = mount / ".snapshots" / "monday"
    assert {entry.name for entry in past.iterdir()} == {"dir", "gone", "link"}
    assert (past / "dir" / "file").read_bytes() == old
    assert (past / "link").resolve() == past / "dir" / "file"
    assert (past / "gone").read_text() == "small"
    assert os.getxattr(past / "gone", "user.note") == b"remember"
    assert not (past / "dir" / "later").exists()
    assert (mount / "dir" / "file").read_bytes() == old[:100_000] + b"new" * 100_000 + old[400_000:]
    assert {entry.name for entry in mount.iterdir()} == {"dir", "link"}
    assert [entry.name for entry in (mount / ".snapshots").iterdir()] == ["monday"]


def test_nothing_in_the_past_can_be_changed(mount: Path) -> None:
    (mount / "file").write_text("content")
    (mount / "dir").mkdir()
    (mount / ".snapshots" / "s").mkdir()
    past = mount / ".snapshots" / "s"
    acts: list[Callable[[], object]] = [
        lambda: (past / "file").write_text("other"),
        lambda: (past / "new").write_text("other"),
        lambda: os.truncate(past / "file", 0),
        lambda: (past / "file").unlink(),
        lambda: (past / "dir").rmdir(),
        lambda: (past / "other").mkdir(),
        lambda: (past / "file").chmod(0o600),
        lambda: os.utime(past / "file"),
        lambda: os.setxattr(past / "file", "user.a", b"b"),
        lambda: (past / "file").rename(past / "moved"),
        lambda: (past / "file").rename(mount / "moved"),
        lambda: (mount / "file").rename(past / "moved"),
        lambda: (past / "dir" / "new").symlink_to("x"),
        lambda: (mount / ".snapshots" / "file").write_text("x"),
    ]
    assert [refusal(act) for act in acts] == ["EROFS"] * len(acts)
    assert refusal(lambda: os.link(past / "file", mount / "linked")) == "EXDEV"
    with (past / "file").open("r+b", buffering=0) as file:  # a mount alone is not asked about opens
        assert refusal(lambda: file.write(b"x")) == "EROFS"
    assert (past / "file").read_text() == (mount / "file").read_text() == "content"


def test_snapshots_that_are_there_not_there_or_gone(mount: Path) -> None:
    (mount / "file").write_text("one")
    root = mount / ".snapshots"
    assert list(root.iterdir()) == []
    assert refusal(lambda: (root / "s" / "file").read_text()) == "ENOENT"
    (root / "s").mkdir()
    assert refusal((root / "s").mkdir) == "EEXIST"
    assert (root / "s" / "file").read_text() == "one"
    (mount / "file").write_text("two")
    (root / "s").rmdir()
    assert list(root.iterdir()) == []
    assert refusal(lambda: (root / "s" / "file").read_text()) == "ENOENT"
    (root / "s").mkdir()
    assert (root / "s" / "file").read_text() == "two"
    assert refusal((root / "t").rmdir) == "ENOENT"


def test_a_directory_of_that_name_is_what_it_is(mount: Path) -> None:
    assert not (mount / "sub").exists()
    (mount / "sub").mkdir()
    assert not (mount / "sub" / ".snapshots").exists()
    (mount / "sub" / ".snapshots").mkdir()
    (mount / "sub" / ".snapshots" / "file").write_text("mine")
    (mount / ".snapshots" / "s").mkdir()
    assert (mount / ".snapshots" / "s" / "sub" / ".snapshots" / "file").read_text() == "mine"


def test_room_comes_back_when_a_snapshot_is_deleted_and_the_store_compacted(machine: Machine) -> None:
    store = machine.domain.store
    assert store is not None

    def used() -> int:
        return sum(path.stat().st_size for path in (store / "segments").iterdir())

    def mounted(act: Callable[[Path], object]) -> None:
        with machine.foreground() as process:
            assert process.stderr is not None
            assert "is mounted" in process.stderr.readline()
            act(machine.mountpoint)

    def compact() -> None:
        opened = EmbeddedStore(store)
        for _ in opened.compact(0.9):
            pass
        opened.close()

    content = os.urandom(SIZE)

    def fill(mount: Path) -> None:
        (mount / "file").write_bytes(content)
        (mount / ".snapshots" / "s").mkdir()
        (mount / "file").unlink()

    mounted(fill)
    compact()
    assert used() > SIZE
    mounted(lambda mount: _expect((mount / ".snapshots" / "s" / "file").read_bytes() == content))
    mounted(lambda mount: (mount / ".snapshots" / "s").rmdir())
    compact()
    assert used() < SIZE / 8


def _expect(true: bool) -> None:
    assert true
