"""The offline decryptor as a second implementation: it reads what `LocalFs` wrote, by the specifications alone."""

from __future__ import annotations

import ast
import itertools
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from btfproto.domain import open_volume
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import AllocateMode, AttributeChanges, FileKind, OpenFlags, Owner
from btfproto.store import EmbeddedStore
from btfproto.testing.domains import NOW, World

TOOL = Path(__file__).resolve().parents[4] / "tools" / "decrypt.py"
SECTOR = 4096
ME = Owner(0, 0)
MANY = 1500  #: names: several leaves under an inner node


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path / "store"


def write_domain(top: Path, fill: Callable[[LocalFs], None]) -> str:
    """A domain in an embedded store, filled by a function; gives the root directory's block and key."""
    store = EmbeddedStore(top)
    ticks = itertools.count(NOW * 10**9, 1000)
    try:
        world = World.make(store, directory_attributes=empty_directory_attributes)
        volume = open_volume(store, world.machine, world.path(), NOW)
        options = FsOptions(commit_interval=None)
        fs = LocalFs(store, world.machine, volume, options=options, clock=lambda: next(ticks))
        fill(fs)
        fs.shutdown()
        return f"{volume.directory.hex()}:{volume.key.hex()}"
    finally:
        store.close()


def decrypt(top: Path, out: Path, key: str, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-I", str(TOOL), str(top), str(out), "--key", key, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


def write(fs: LocalFs, parent: int, name: str, *pieces: tuple[int, bytes]) -> int:
    made, handle = fs.create(parent, name, 0o640, ME, OpenFlags.WRITE)
    for offset, data in pieces:
        fs.write(handle, offset, data)
    fs.close(handle)
    return made.inode


def test_it_imports_nothing_of_ours() -> None:
    tree = ast.parse(TOOL.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) == {"cryptography"}


def test_files_of_every_form_come_out_as_they_were_written(top: Path, tmp_path: Path) -> None:
    noise = random.Random(7)
    contents = {
        "empty": b"",
        "byte": b"x",
        "one sector": noise.randbytes(SECTOR),
        "and a byte": noise.randbytes(SECTOR + 1),
        "two levels": noise.randbytes(258 * SECTOR + 5),
        "ümläut \n name": b"text",
    }

    def fill(fs: LocalFs) -> None:
        for name, data in contents.items():
            inode = write(fs, fs.root, name, (0, data))
            fs.sync()
            fs.setattr(inode, AttributeChanges(modified=-1_500_000_000))
        deep = fs.mkdir(fs.root, "deep", 0o755, ME)
        fs.symlink(deep.inode, "link", "../byte", ME)
        fs.mknod(deep.inode, "pipe", FileKind.FIFO, 0o600, ME)

    key = write_domain(top, fill)
    assert decrypt(top, tmp_path / "out", key) == ""
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()} == contents
    assert (tmp_path / "out" / "deep" / "link").readlink() == Path("../byte")
    assert not (tmp_path / "out" / "deep" / "pipe").exists()
    status = (tmp_path / "out" / "byte").stat()
    assert status.st_mode & 0o777 == 0o640
    assert status.st_mtime_ns == -1_500_000_000


def test_changed_cut_punched_and_sparse_files_come_out_as_they_are(top: Path, tmp_path: Path) -> None:
    data = bytearray(random.Random(8).randbytes(20 * SECTOR))

    def fill(fs: LocalFs) -> None:
        inode = write(fs, fs.root, "changed", (0, bytes(data)))
        fs.sync()
        handle = fs.open(inode, OpenFlags.WRITE)
        fs.write(handle, 5 * SECTOR - 3, b"across a bound")
        fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 8 * SECTOR, 3 * SECTOR + 9)
        fs.sync()
        fs.setattr(inode, AttributeChanges(size=15 * SECTOR + 7))
        fs.sync()
        fs.setattr(inode, AttributeChanges(size=16 * SECTOR))
        fs.close(handle)
        write(fs, fs.root, "sparse", (3 << 30, b"far away"))

    key = write_domain(top, fill)
    data[5 * SECTOR - 3 : 5 * SECTOR + 11] = b"across a bound"
    data[8 * SECTOR : 11 * SECTOR + 9] = bytes(3 * SECTOR + 9)
    data[15 * SECTOR + 7 :] = bytes(SECTOR - 7)
    assert decrypt(top, tmp_path / "out", key) == ""
    assert (tmp_path / "out" / "changed").read_bytes() == data
    with (tmp_path / "out" / "sparse").open("rb") as file:
        file.seek(3 << 30)
        assert file.read() == b"far away"


def test_a_large_directory_that_shrank_has_exactly_its_names(top: Path, tmp_path: Path) -> None:
    def fill(fs: LocalFs) -> None:
        for number in range(MANY):
            fs.symlink(fs.root, f"name {number}", str(number), ME)
        fs.sync()
        for number in range(0, MANY, 3):
            fs.unlink(fs.root, f"name {number}")

    key = write_domain(top, fill)
    assert decrypt(top, tmp_path / "out", key) == ""
    names = {path.name: str(path.readlink()) for path in (tmp_path / "out").iterdir()}
    assert names == {f"name {number}": str(number) for number in range(MANY) if number % 3}


def test_a_flipped_byte_is_told_and_costs_its_file_only(top: Path, tmp_path: Path) -> None:
    def fill(fs: LocalFs) -> None:
        write(fs, fs.root, "large", (0, bytes(range(256)) * 1024))
        write(fs, fs.root, "small", (0, b"still here"))

    key = write_domain(top, fill)
    (segment,) = (top / "segments").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    told = decrypt(top, tmp_path / "out", key, code=6)
    assert "large" in told
    assert "damaged" in told
    assert (tmp_path / "out" / "small").read_bytes() == b"still here"


def test_another_key_opens_nothing(top: Path, tmp_path: Path) -> None:
    key = write_domain(top, lambda fs: None)
    assert "does not open" in decrypt(top, tmp_path / "out", key[:-2] + ("00" if key[-2:] != "00" else "01"), code=6)


def test_snapshots_come_out_as_they_were_and_now_as_it_is(top: Path, tmp_path: Path) -> None:
    noise = random.Random(9)
    old, new = bytearray(noise.randbytes(300 * SECTOR)), noise.randbytes(SECTOR)

    def snapshot(fs: LocalFs, name: str) -> None:
        fs.sync()
        assert isinstance(fs.store, EmbeddedStore)
        fs.store.create_snapshot(name, NOW)

    def fill(fs: LocalFs) -> None:
        inode = write(fs, fs.root, "changed", (0, bytes(old)))
        write(fs, fs.root, "small", (0, b"small"))
        write(fs, fs.root, "gone", (0, bytes(old)))
        write(fs, fs.root, "same", (0, b"same" * SECTOR))
        snapshot(fs, "first")
        handle = fs.open(inode, OpenFlags.WRITE)
        fs.write(handle, 100 * SECTOR, new)
        fs.unlink(fs.root, "gone")
        small = fs.open(fs.lookup(fs.root, "small").inode, OpenFlags.WRITE)
        fs.write(small, 0, b"SMALL")
        fs.close(small)
        snapshot(fs, "second")
        fs.setattr(inode, AttributeChanges(size=SECTOR))
        fs.close(handle)
        write(fs, fs.root, "later", (0, b"later"))

    key = write_domain(top, fill)
    again = bytes(old[: 100 * SECTOR]) + new + bytes(old[101 * SECTOR :])
    same = b"same" * SECTOR
    expected = {
        "first": {"changed": bytes(old), "small": b"small", "gone": bytes(old), "same": same},
        "second": {"changed": again, "small": b"SMALL", "same": same},
    }
    for name, files in expected.items():
        assert decrypt(top, tmp_path / name, key, "--snapshot", name) == ""
        assert {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} == files
    assert decrypt(top, tmp_path / "now", key) == ""
    found = {path.name: path.read_bytes() for path in (tmp_path / "now").iterdir()}
    assert found == {"changed": bytes(old[:SECTOR]), "small": b"SMALL", "same": same, "later": b"later"}
    told = decrypt(top, tmp_path / "none", key, "--snapshot", "third", code=1)
    assert "no snapshot 'third'; there are: 'first', 'second'" in told


def test_a_store_of_the_first_format_has_no_snapshots(top: Path, tmp_path: Path) -> None:
    key = write_domain(top, lambda fs: None)
    with closing(sqlite3.connect(top / "index.sqlite")) as db, db:
        for table in ("snapshots", "old_heads", "old_runs"):
            db.execute(f"DROP TABLE {table}")
        for table in ("heads", "runs"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN born")
        db.execute("UPDATE state SET format=1")
    assert decrypt(top, tmp_path / "out", key) == ""
    assert "there are: none" in decrypt(top, tmp_path / "none", key, "--snapshot", "s", code=1)
    with closing(sqlite3.connect(top / "index.sqlite")) as db, db:
        db.execute("UPDATE state SET format=3")
    assert "format 3" in decrypt(top, tmp_path / "future", key, code=1)
