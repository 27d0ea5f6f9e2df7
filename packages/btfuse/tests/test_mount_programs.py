"""Real programs in a mount, over both bindings."""

from __future__ import annotations

import filecmp
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.mount


def run(*command: str, cwd: Path) -> str:
    environment = {"HOME": str(cwd), "PATH": "/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_git_keeps_a_repository(mount: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    repository = mount / "r"
    repository.mkdir()
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "gc.auto=0")
    run(*git, "init", "-q", "-b", "main", cwd=repository)
    for number in range(60):
        file = repository / f"d{number % 7}" / f"file{number}"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"content {number}\n" * 50)
    (repository / "link").symlink_to("d1/file1")
    run(*git, "add", ".", cwd=repository)
    run(*git, "commit", "-q", "-m", "first", cwd=repository)
    run(*git, "fsck", "--full", "--strict", cwd=repository)
    run(*git, "clone", "-q", "r", "copy", cwd=mount)
    run(*git, "repack", "-adq", cwd=mount / "copy")
    assert run(*git, "status", "--porcelain", cwd=mount / "copy") == ""


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_sqlite_keeps_a_database(mount: Path, journal: str) -> None:
    connection = sqlite3.connect(mount / "db")
    try:
        assert connection.execute(f"PRAGMA journal_mode={journal}").fetchone()[0].upper() == journal
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        for start in range(0, 2000, 500):
            with connection:
                connection.executemany(
                    "INSERT INTO t VALUES (?, ?)", ((n, "x" * 200) for n in range(start, start + 500))
                )
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2000,)
    finally:
        connection.close()


def test_a_tree_goes_in_and_out_of_a_tar_archive_and_compiles(mount: Path) -> None:
    source = Path(subprocess.__file__).parent / "json"
    archive = mount / "json.tar"
    with tarfile.open(archive, "w") as writing:
        writing.add(source, "json", filter=lambda member: None if "__pycache__" in member.name else member)
    run("tar", "xf", str(archive), cwd=mount)
    run("tar", "df", str(archive), cwd=mount)
    names = [file.name for file in source.iterdir() if file.is_file()]
    assert filecmp.cmpfiles(source, mount / "json", names, shallow=False)[0] == names
    run(sys.executable, "-m", "compileall", "-q", "json", cwd=mount)
    assert len(list((mount / "json/__pycache__").iterdir())) == len(names)
    run("rm", "-rf", "json", cwd=mount)
    assert not (mount / "json").exists()


def test_a_tree_is_copied_with_everything(mount: Path) -> None:
    source = mount / "from"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_bytes(b"content")
    (source / "sub/link").symlink_to("../file")
    (source / "hard").hardlink_to(source / "file")
    (source / "file").chmod(0o640)
    run("cp", "-a", "from", "to", cwd=mount)
    assert (mount / "to/sub/link").read_bytes() == b"content"
    assert (mount / "to/hard").stat().st_ino == (mount / "to/file").stat().st_ino
    assert (mount / "to/file").stat().st_mtime_ns == (source / "file").stat().st_mtime_ns
    run("diff", "-r", "from", "to", cwd=mount)
