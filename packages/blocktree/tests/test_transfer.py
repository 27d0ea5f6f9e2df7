"""`bt import` and `bt export`, as a user runs them: what is kept, what is refused, and what a second run does."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from blocktree.files.transfer.records import DIGEST_BLOCK, digest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Machine

LARGE = 3 * 2**20 + 17
SPARSE = 1 << 32
WHEN = 1_700_000_000_123_456_789


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one of everything."""
    top = tmp_path / "source"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").write_bytes(b"")
    (top / "large").write_bytes(random.Random(1).randbytes(LARGE))
    (top / "deep" / "script").write_text("#!/bin/sh\n")
    (top / "deep" / "script").chmod(0o751)
    (top / "deep" / "er" / "ünïcode \n name").write_text("x")
    os.link(top / "large", top / "deep" / "second name")
    (top / "deep" / "link").symlink_to("../nowhere//./x")
    os.mkfifo(top / "pipe", 0o640)
    with (top / "sparse").open("wb") as file:
        file.seek(SPARSE // 2)
        file.write(b"in the middle")
        file.truncate(SPARSE)
    if takes_xattrs(top):
        os.setxattr(top / "large", "user.text", b"a value")
        os.setxattr(top / "deep", "user.bytes", bytes(range(1, 256)))
    for path in [*top.rglob("*"), top]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o750)
        os.utime(path, ns=(WHEN, WHEN + len(path.name)), follow_symlinks=False)
    os.utime(top / "deep" / "er", ns=(WHEN, WHEN))
    return top


def takes_xattrs(path: Path) -> bool:
    try:
        os.setxattr(path, "user.try", b"")
        os.removexattr(path, "user.try")
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return False
        raise
    return True


def described(top: Path) -> dict[str, object]:
    """All that has to be kept, by path."""
    return {str(path.relative_to(top)): _describe(path) for path in [top, *top.rglob("*")]}


def _describe(path: Path) -> object:
    status = path.lstat()
    is_file = stat.S_ISREG(status.st_mode)
    is_link = stat.S_ISLNK(status.st_mode)
    return (
        oct(status.st_mode),
        status.st_mtime_ns,
        status.st_size if is_file else 0,
        status.st_nlink if is_file else 0,
        status.st_uid,
        os.readlink(path) if is_link else "",  # noqa: PTH115 - a Path would tidy it up
        path.read_bytes() if is_file and status.st_size < SPARSE else b"",
        {} if is_link else {name: os.getxattr(path, name) for name in os.listxattr(path) if name.startswith("user.")},
    )


def middle(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(SPARSE // 2)
        return file.read(20)


def test_a_directory_comes_out_as_it_went_in(nas: Machine, source: Path, tmp_path: Path) -> None:
    report = nas("import", "--json", source, "home:/in").document
    assert report["failures"] == report["differing"] == report["skipped"] == []
    nas("export", "home:/in", tmp_path / "out")
    assert described(tmp_path / "out") == described(source)
    assert middle(tmp_path / "out" / "sparse") == b"in the middle" + bytes(7)
    assert (tmp_path / "out" / "sparse").stat().st_blocks < 1000
    assert (tmp_path / "out" / "large").samefile(tmp_path / "out" / "deep" / "second name")


def test_a_tar_file_comes_out_as_it_went_in(nas: Machine, source: Path, tmp_path: Path) -> None:
    nas("import", source, "home:/in")
    nas("export", "home:/in", tmp_path / "out.tar")
    assert (tmp_path / "out.tar").stat().st_size < 2 * LARGE
    nas("import", tmp_path / "out.tar", "home:/again")
    nas("export", "home:/again", tmp_path / "out")
    assert described(tmp_path / "out") == described(source)
    assert middle(tmp_path / "out" / "sparse") == b"in the middle" + bytes(7)


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
def test_gnu_tar_reads_what_is_exported_and_writes_what_is_imported(nas: Machine, source: Path, tmp_path: Path) -> None:
    nas("import", source, "home:/in")
    nas("export", "home:/in", tmp_path / "out.tar")
    (tmp_path / "untarred").mkdir()
    subprocess.run(["tar", "--xattrs", "-xpf", tmp_path / "out.tar", "-C", tmp_path / "untarred"], check=True)
    assert described(tmp_path / "untarred") == described(source)
    assert middle(tmp_path / "untarred" / "sparse") == b"in the middle" + bytes(7)
    words = ["tar", "--xattrs", "--sparse", "--format=pax", "-czf", str(tmp_path / "in.tar.gz"), "-C", str(source), "."]
    subprocess.run(words, check=True)
    nas("import", tmp_path / "in.tar.gz", "home:/again")
    nas("export", "home:/again", tmp_path / "out")
    assert described(tmp_path / "out") == described(source)


def test_a_second_run_brings_what_changed_alone(nas: Machine, source: Path, tmp_path: Path) -> None:
    nas("import", source, "home:/in")
    (source / "empty").write_text("not any more")
    (source / "deep" / "new").write_text("new")
    report = nas("import", "--json", source, "home:/in").document
    assert (report["files"], report["bytes"]) == (2, len("not any more") + len("new"))
    assert report["differing"] == []
    nas("export", "home:/in", tmp_path / "out")
    (tmp_path / "out" / "deep" / "script").write_text("changed here")
    (tmp_path / "out" / "own").write_text("stays")
    report = nas("export", "--json", "home:/in", tmp_path / "out").document
    assert (report["files"], report["bytes"]) == (1, len("#!/bin/sh\n"))
    assert (tmp_path / "out" / "own").read_text() == "stays"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_an_interrupted_tar_file_is_gone_on_with(nas: Machine, source: Path, tmp_path: Path, share: float) -> None:
    nas("import", source, "home:/in")
    nas("export", "home:/in", tmp_path / "whole.tar")
    whole = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "out.tar.partial").write_bytes(whole[: int(len(whole) * share)])
    report = nas("export", "--json", "home:/in", tmp_path / "out.tar").document
    assert report["differing"] == []
    assert (tmp_path / "out.tar").read_bytes() == whole
    assert not (tmp_path / "out.tar.partial").exists()
    if share == 1.0:
        assert report["bytes"] == 0


def test_a_part_of_a_file_is_not_taken_for_the_whole(nas: Machine, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "large").write_bytes(bytes(LARGE))  # an interrupted one has the time of its writing
    nas("import", source, "home:/in")
    nas("export", "home:/in", tmp_path / "out")
    assert (tmp_path / "out" / "large").read_bytes() == (source / "large").read_bytes()


def test_what_is_not_the_same_in_the_end_is_named(nas: Machine, source: Path, tmp_path: Path) -> None:
    nas("import", source, "home:/in")
    status = (source / "deep" / "script").stat()
    (source / "deep" / "script").write_text("#!/bin/no\n")  # of the same size and time, so it is not brought
    os.utime(source / "deep" / "script", ns=(status.st_atime_ns, status.st_mtime_ns))
    done = nas("import", source, "home:/in", code=6)
    assert "deep/script: its content differs" in done.out
    assert "differing: 1" in done.err
    assert nas("import", "--no-verify", source, "home:/in").out == ""
    assert tmp_path.exists()


def test_a_file_with_several_names_is_not_written_through_one_of_them(
    nas: Machine, source: Path, tmp_path: Path
) -> None:
    nas("import", source, "home:/in")
    nas("export", "home:/in", tmp_path / "out")
    os.link(tmp_path / "out" / "empty", tmp_path / "precious")
    (source / "empty").write_text("more")
    nas("import", source, "home:/in")
    nas("export", "home:/in", tmp_path / "out")
    assert (tmp_path / "precious").read_bytes() == b""
    assert (tmp_path / "out" / "empty").read_text() == "more"


def archive(path: Path, fill: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(path, "w") as tar:
        fill(tar)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content) if kind == tarfile.REGTYPE else 0, kind, link
    tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "a/.."])
def test_a_name_that_leads_elsewhere_is_refused_and_the_rest_comes(nas: Machine, tmp_path: Path, name: str) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, name)
        add(tar, "good")

    done = nas("import", archive(tmp_path / "evil.tar", fill), "home:/in/deep", code=2)
    assert "refused" in done.err
    assert nas("ls", "home:/in/deep").out == "good\n"
    assert nas("ls", "home:/in").out == "deep/\n"


def test_a_link_to_a_member_that_is_not_there_is_refused(nas: Machine, tmp_path: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "link", kind=tarfile.LNKTYPE, link="../../etc/passwd")
        add(tar, "good")

    done = nas("import", archive(tmp_path / "evil.tar", fill), "home:/in", code=2)
    assert "which the archive lacks" in done.err
    assert nas("ls", "home:/in").out == "good\n"


def test_of_members_of_one_name_the_last_counts_and_missing_directories_are_made(nas: Machine, tmp_path: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "a/b/file", b"first")
        add(tar, "/a/b/./file", b"last")

    nas("import", archive(tmp_path / "in.tar", fill), "home:/in")
    assert nas("cat", "home:/in/a/b/file").out == "last"


@pytest.mark.parametrize("end", [0, 100, 600, -1100])
def test_a_cut_tar_file_is_refused(nas: Machine, tmp_path: Path, end: int) -> None:
    path = archive(tmp_path / "in.tar", lambda tar: add(tar, "file", bytes(20_000)))
    with path.open("r+b") as file:
        file.truncate(end if end >= 0 else 20_480 + end)
    assert "is not a whole tar file" in nas("import", path, "home:/in", code=2).err


def test_set_id_bits_are_left_out_of_a_directory_unless_asked_for(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "tool").write_text("x")
    (tmp_path / "in" / "tool").chmod(0o4755)
    nas("import", tmp_path / "in", "home:/in")
    nas("export", "home:/in", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out" / "tool").stat().st_mode) == 0o755
    nas("export", "--set-id", "home:/in", tmp_path / "all")
    assert stat.S_IMODE((tmp_path / "all" / "tool").stat().st_mode) == 0o4755


def test_nothing_is_written_through_a_link_that_lies_in_the_way(nas: Machine, source: Path, tmp_path: Path) -> None:
    nas("import", source, "home:/in")
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "file").write_text("precious")
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "victim")
    (tmp_path / "out" / "large").symlink_to(tmp_path / "file")
    done = nas("export", "home:/in", tmp_path / "out", code=1)
    assert "is in the way and not a directory" in done.err
    assert list((tmp_path / "victim").iterdir()) == []
    assert (tmp_path / "file").read_text() == "precious"


def test_what_cannot_be_is_refused_with_the_next_step(nas: Machine, source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "there.tar").write_text("x")
    assert "is not a whole tar file" in nas("import", tmp_path / "file", "home:/in", code=2).err
    assert "No such file" in nas("import", tmp_path / "none", "home:/in", code=1).err
    assert "is there already" in nas("export", "home:/", tmp_path / "there.tar", code=1).err
    assert "is no directory" in nas("export", "home:/", tmp_path / "file", code=1).err
    assert "there is no home:/none" in nas("export", "home:/none", tmp_path / "out", code=1).err
    nas("import", source, "home:/in")
    assert "is not a directory" in nas("export", "home:/in/large", tmp_path / "out", code=1).err


def test_progress_is_shown_where_it_is_wanted(nas: Machine, source: Path, tmp_path: Path) -> None:
    assert "done" in nas("import", "--progress", source, "home:/in", TERM="dumb", COLUMNS="200").err
    assert "done" in nas("export", "--progress", "home:/in", tmp_path / "o.tar", TERM="dumb", COLUMNS="200").err
    for command in ("import", "export"):
        assert "interrupted" in nas(command, "--help").out


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=5), st.integers(1, 4), st.data())
def test_a_digest_does_not_depend_on_holes_and_pieces(parts: list[bytes], step: int, data: st.DataObject) -> None:
    content = bytearray(3 * DIGEST_BLOCK)
    for part in parts:
        at = data.draw(st.integers(0, len(content) - len(part)))
        content[at : at + len(part)] = part
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    edges = [0, *cuts, len(content)]
    pieces = [(start, bytes(content[start:end])) for start, end in pairwise(edges) if start < end]
    with_holes = [(at, piece) for at, piece in pieces if any(piece)]
    whole = digest([(0, bytes(content))], len(content))
    assert digest(pieces, len(content)) == digest(with_holes, len(content)) == whole
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= step
    assert digest([(0, bytes(changed))], len(content)) != whole
