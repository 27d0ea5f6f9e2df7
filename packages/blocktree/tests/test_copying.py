"""Copies between a local directory and a tree: what is kept, what is refused, and what a failure does to the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocktree.files.copying import Copier, Item, Report, count
from blocktree.files.local import LocalSource, LocalTarget, local_item
from blocktree.files.remote import TreeSource, TreeTarget, tree_item
from blocktree.files.removing import remove_tree
from blocktree.files.tree import LINK_LIMIT, Tree
from blocktree.progress import Silence
from btfproto.domain import open_volume
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import FileKind, Owner
from btfproto.testing.domains import NOW, World
from btlib.kinds import Kind
from btlib.paths import BlockPath

ME = Owner(1000, 1000)
MINUTE = 60 * 10**9


@pytest.fixture
def tree() -> Iterator[Tree]:
    world = World.make(directory_attributes=empty_directory_attributes)
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    options = FsOptions(commit_interval=None)
    with LocalFs(world.store, world.machine, volume, options=options, clock=lambda: NOW * 10**9) as provider:
        yield Tree(provider, world.path(), "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one of everything that is copied."""
    top = tmp_path / "source"
    (top / "empty").mkdir(parents=True)
    (top / "deep" / "er").mkdir(parents=True)
    (top / "deep" / "er" / "large").write_bytes(os.urandom(3_000_000))
    (top / "small").write_text("small")
    (top / "nothing").touch()
    (top / "link").symlink_to("deep/er/large")
    (top / "script").write_text("#!/bin/sh\n")
    (top / "script").chmod(0o4755)
    os.utime(top / "small", ns=(0, 17 * MINUTE))
    os.utime(top / "deep", ns=(0, 18 * MINUTE))
    return top


def copy_in(tree: Tree, path: Path) -> Report:
    report = Report()
    target = TreeTarget(tree, ME)
    Copier(LocalSource(), target, report, Silence()).copy(local_item(path), tree.provider.root)
    target.sync()
    return report


def copy_out(tree: Tree, path: BlockPath, directory: Path) -> Report:
    report = Report()
    Copier(TreeSource(tree), LocalTarget(), report, Silence()).copy(tree_item(tree, path), directory)
    return report


def described(top: Path) -> dict[str, object]:
    """Everything below a directory: kinds, contents, permission bits and times."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        kept = (status.st_mode & 0o777, status.st_mtime_ns)
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else "directory"
        found[path.relative_to(top).as_posix()] = (kept, content)
    return found


def test_what_goes_in_comes_out_the_same(tree: Tree, source: Path, tmp_path: Path) -> None:
    into = copy_in(tree, source)
    assert (into.files, into.directories, into.links, into.bytes) == (4, 4, 1, 3_000_015)
    out = tmp_path / "out"
    out.mkdir()
    copy_out(tree, tree.anchor.child("source"), out)
    assert described(out / "source") == described(source)


def test_the_tree_keeps_set_id_bits_and_the_owner_of_the_copier(tree: Tree, source: Path) -> None:
    copy_in(tree, source)
    script = tree.find(tree.anchor.child("source").child("script"))
    assert (script.mode, script.uid, script.gid) == (0o4755, 1000, 1000)


def test_set_id_bits_do_not_come_out(tree: Tree, source: Path, tmp_path: Path) -> None:
    copy_in(tree, source)
    copy_out(tree, tree.anchor.child("source").child("script"), tmp_path)
    assert (tmp_path / "script").stat().st_mode & 0o7777 == 0o755


def test_a_second_copy_replaces_contents(tree: Tree, source: Path, tmp_path: Path) -> None:
    copy_in(tree, source)
    (source / "small").write_text("another, longer text")
    (source / "deep" / "er" / "large").write_bytes(b"shorter")
    (source / "link").unlink()
    (source / "link").symlink_to("small")
    assert copy_in(tree, source).failures == []
    out = tmp_path / "out"
    out.mkdir()
    copy_out(tree, tree.anchor.child("source"), out)
    assert described(out / "source") == described(source)


def test_counting_foretells_the_copy(tree: Tree, source: Path) -> None:
    items, size = count(LocalSource(), local_item(source))
    report = copy_in(tree, source)
    assert (items, size) == (report.files + report.directories + report.links, report.bytes)
    assert count(TreeSource(tree), tree_item(tree, tree.anchor.child("source"))) == (items, size)


def test_pipes_are_skipped_and_named(tree: Tree, source: Path) -> None:
    os.mkfifo(source / "pipe")
    report = copy_in(tree, source)
    assert report.skipped == [str(source / "pipe")]
    assert report.failures == []


def test_a_name_that_is_not_utf8_fails_alone(tree: Tree, source: Path) -> None:
    Path(os.fsdecode(os.fsencode(source) + b"/bad-\xff")).write_text("x")
    report = copy_in(tree, source)
    assert [error.kind for _, error in report.failures] == [Kind.INVALID]
    assert report.files == 4


def test_a_file_in_the_way_of_a_directory_fails_alone(tree: Tree, source: Path, tmp_path: Path) -> None:
    copy_in(tree, source)
    out = tmp_path / "out" / "source"
    out.mkdir(parents=True)
    (out / "deep").write_text("in the way")
    report = copy_out(tree, tree.anchor.child("source"), tmp_path / "out")
    assert [error.kind for _, error in report.failures] == [Kind.NOT_DIRECTORY]
    assert report.files == 3


def test_nothing_is_written_through_a_symbolic_link_that_lies_in_the_target(
    tree: Tree, source: Path, tmp_path: Path
) -> None:
    copy_in(tree, source)
    outside, out = tmp_path / "outside", tmp_path / "out" / "source"
    outside.mkdir()
    (outside / "small").write_text("precious")
    out.mkdir(parents=True)
    (out / "deep").symlink_to(outside)
    (out / "small").symlink_to(outside / "small")
    report = copy_out(tree, tree.anchor.child("source"), tmp_path / "out")
    assert len(report.failures) == 2
    assert (outside / "small").read_text() == "precious"
    assert sorted(path.name for path in outside.iterdir()) == ["small"]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "nul\0"])
def test_names_that_are_no_names_never_reach_the_local_file_system(tmp_path: Path, name: str) -> None:
    item = Item(path="evil", name=name, kind=FileKind.FILE, mode=0o644, size=1, modified=0, place=1)
    with pytest.raises(FsError) as caught:
        LocalTarget().write(tmp_path, item, iter([b"x"]))
    assert caught.value.kind is Kind.INVALID
    assert list(tmp_path.iterdir()) == []


class FullTarget(LocalTarget):
    """A disk that takes one file."""

    written = 0

    def write(self, parent: Path, item: Item[object], pieces: Iterator[bytes]) -> None:
        self.written += 1
        if self.written > 1:
            raise FsError(Kind.NO_SPACE, "the disk is full")
        super().write(parent, item, pieces)


def test_a_full_disk_ends_the_copy(source: Path, tmp_path: Path) -> None:
    report = Report()
    with pytest.raises(FsError, match="full"):
        Copier(LocalSource(), FullTarget(), report, Silence()).copy(local_item(source), tmp_path / "source" / "empty")
    assert report.files == 1


def test_a_deep_tree_needs_no_deep_stack(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "d"
    for _ in range(240):
        path = path / "d"
    path.mkdir(parents=True)
    assert copy_in(tree, tmp_path / "d").directories == 241
    top = tree.find(tree.anchor.child("d"))
    assert remove_tree(tree, tree.provider.root, "d", top) == 241


# Finding by path


def place(tree: Tree, text: str) -> BlockPath:
    return BlockPath(tree.anchor.root, tuple(text.split("/")))


def test_symbolic_links_are_followed_inside_the_tree(tree: Tree, source: Path) -> None:
    copy_in(tree, source)
    tree.provider.symlink(tree.find(place(tree, "source/deep")).inode, "up", "../deep/./er", ME)
    assert tree.find(place(tree, "source/deep/up/large")).size == 3_000_000
    assert tree.find(place(tree, "source/link")).size == 3_000_000
    assert tree.find(place(tree, "source/link"), follow=False).kind is FileKind.SYMLINK


@pytest.mark.parametrize(
    ("target", "kind"),
    [("../../../etc", Kind.FORBIDDEN), ("/etc/passwd", Kind.NOT_SUPPORTED), ("loop", Kind.LOOP), ("x", Kind.NOT_FOUND)],
)
def test_links_that_lead_nowhere_good_are_refused(tree: Tree, target: str, kind: Kind) -> None:
    tree.provider.symlink(tree.provider.root, "loop", target, ME)
    with pytest.raises(FsError) as caught:
        tree.find(place(tree, "loop"))
    assert caught.value.kind is kind


def test_a_file_is_no_directory_on_the_way(tree: Tree, source: Path) -> None:
    copy_in(tree, source)
    with pytest.raises(FsError, match="not a directory"):
        tree.find(place(tree, "source/small/x"))
    assert tree.maybe_find(place(tree, "source/none")) is None


def test_missing_parents_are_made(tree: Tree) -> None:
    made = tree.make_directories(place(tree, "a/b/c"), 0o755, ME)
    assert tree.find(place(tree, "a/b/c")).inode == made.inode
    assert tree.make_directories(place(tree, "a/b/c"), 0o755, ME).inode == made.inode


def test_a_large_directory_is_listed_whole(tree: Tree) -> None:
    for number in range(2500):
        tree.provider.close(tree.provider.create(tree.provider.root, f"f{number}", 0o644, ME, 2)[1])  # type: ignore[arg-type]
    assert len(list(tree.entries(tree.provider.getattr(tree.provider.root)))) == 2500


def test_links_of_a_chain_are_counted(tree: Tree) -> None:
    for number in range(LINK_LIMIT + 1):
        tree.provider.symlink(tree.provider.root, f"l{number}", f"l{number + 1}", ME)
    with pytest.raises(FsError, match=f"more than {LINK_LIMIT}"):
        tree.find(place(tree, "l0"))
