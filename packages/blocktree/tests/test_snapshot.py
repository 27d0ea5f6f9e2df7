"""`bt snapshot`, as a user runs it."""

from __future__ import annotations

import random
from pathlib import Path

from .conftest import Machine
from .serving import enrol, free_port, running_server

SIZE = 300_000


def written(directory: Path) -> Path:
    """A small tree with something of everything."""
    top = directory / "tree"
    (top / "dir" / "deep").mkdir(parents=True)
    (top / "dir" / "big").write_bytes(random.Random(1).randbytes(SIZE))
    (top / "dir" / "deep" / "small").write_text("small")
    (top / "link").symlink_to("dir/big")
    (top / "gone").mkdir()
    (top / "gone" / "file").write_text("here once")
    return top


def exported(machine: Machine, to: Path) -> dict[str, bytes | str | None]:
    machine("export", "home:/tree", to)
    return {str(path.relative_to(to)): content_of(path) for path in to.rglob("*")}


def content_of(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None


def listed(machine: Machine) -> list[tuple[str, int]]:
    """Names, and what is kept for each alone."""
    found = machine("snapshot", "list", "home:", "--json").document["snapshots"]
    assert isinstance(found, list)
    return [(snapshot["name"], snapshot["kept"]) for snapshot in found]


def change(machine: Machine, directory: Path) -> None:
    other = directory / "other"
    other.write_bytes(random.Random(2).randbytes(SIZE))
    machine("cp", other, "home:/tree/dir/big")
    machine("cp", other, "home:/tree/new")
    machine("rm", "-r", "home:/tree/gone")
    machine("rm", "home:/tree/link")
    machine("mkdir", "home:/tree/link")


def test_a_tree_is_restored_to_what_it_was(nas: Machine, tmp_path: Path) -> None:
    nas("cp", "-r", written(tmp_path), "home:/")
    before = exported(nas, tmp_path / "before")
    assert "made the snapshot s of home" in nas("snapshot", "create", "s", "home:").out
    change(nas, tmp_path)
    assert exported(nas, tmp_path / "changed") != before
    done = nas("snapshot", "restore", "s", "home:/", "--json").document
    assert done["unchanged"] == 1
    assert done["written"] == 4  # big, gone, its file, and link
    assert exported(nas, tmp_path / "after") == before
    assert "everything is what was signed" in nas("scrub", "home:").err
    again = nas("snapshot", "restore", "s", "home:/", "--json").document
    # what was made anew is another object with the same content; a symlink is replaced, the old one removed
    assert (again["written"], again["removed"]) == (3, 1)
    assert exported(nas, tmp_path / "again") == before


def test_a_part_is_restored_and_what_is_new_is_kept(nas: Machine, tmp_path: Path) -> None:
    nas("cp", "-r", written(tmp_path), "home:/")
    nas("snapshot", "create", "s", "home:")
    change(nas, tmp_path)
    nas("snapshot", "restore", "s", "home:/tree/gone")
    nas("snapshot", "restore", "s", "home:/tree/dir/big")
    assert nas("cat", "home:/tree/gone/file").out == "here once"
    assert nas("ls", "home:/tree").out.split() == ["dir/", "gone/", "link/", "new"]
    nas("snapshot", "restore", "s", "home:/tree", "--keep-new")
    assert "new" in nas("ls", "home:/tree").out
    nas("snapshot", "restore", "s", "home:/tree")
    assert "new" not in nas("ls", "home:/tree").out


def test_snapshots_are_listed_counted_and_give_their_room_back(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(SIZE))
    nas("cp", tmp_path / "file", "home:/")
    nas("snapshot", "create", "s", "home:")
    assert listed(nas) == [("s", 0)]
    nas("rm", "home:/file")
    assert "s\n" in nas("snapshot", "list", "home:").out
    ((_, kept),) = listed(nas)
    assert SIZE < kept < SIZE * 1.1
    assert kept == nas("df", "--json", "home:").document["snapshots"]
    nas("gc", "home:")
    assert sum(path.stat().st_size for path in (nas.store / "segments").iterdir()) > SIZE
    assert "everything is what was signed" in nas("scrub", "home:").err
    nas("snapshot", "delete", "s", "home:")
    nas("gc", "home:")
    assert sum(path.stat().st_size for path in (nas.store / "segments").iterdir()) < SIZE / 4
    assert nas("snapshot", "list", "home:").out == ""


def test_what_cannot_be_is_refused_with_a_sentence(nas: Machine) -> None:
    nas("snapshot", "create", "s", "home:")
    assert "a snapshot 's' already" in nas("snapshot", "create", "s", "home:", code=1).err
    assert "no snapshot 't'" in nas("snapshot", "delete", "t", "home:", code=1).err
    assert "no snapshot 't'" in nas("snapshot", "restore", "t", "home:", code=1).err
    assert "is no name" in nas("snapshot", "create", "a/b", "home:", code=2).err
    assert "whole domain" in nas("snapshot", "create", "x", "home:/dir", code=2).err


def test_damage_of_what_only_a_snapshot_has_is_found(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(SIZE))
    nas("cp", tmp_path / "file", "home:/")
    nas("snapshot", "create", "s", "home:")
    nas("rm", "home:/file")
    (segment,) = (nas.store / "segments").iterdir()
    with segment.open("r+b") as file:
        file.seek(SIZE // 2)
        byte = file.read(1)
        file.seek(SIZE // 2)
        file.write(bytes([byte[0] ^ 1]))
    done = nas("scrub", "--no-keys", "home:", code=6)
    assert "snapshot s" in done.out + done.err


def test_a_member_makes_and_restores_snapshots_over_a_server(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "file").write_text("old")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("cp", tmp_path / "file", "home:/")
        nas("snapshot", "create", "s", "home:")
        (tmp_path / "file").write_text("new")
        nas("cp", tmp_path / "file", "home:/")
        assert "  s\n" in laptop("snapshot", "list", "home:").out
        nas("snapshot", "restore", "s", "home:/file")
        assert nas("cat", "home:/file").out == "old"


def test_a_backup_takes_snapshots_along(nas: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(SIZE))
    nas("cp", tmp_path / "file", "home:/")
    nas("snapshot", "create", "s", "home:")
    nas("rm", "home:/file")
    nas("backup", "home:", tmp_path / "backup")
    nas("restore", "--replace", tmp_path / "backup", "home:")
    nas("snapshot", "restore", "s", "home:/file")
    nas("cp", "home:/file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
