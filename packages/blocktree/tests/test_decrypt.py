"""The offline decryptor with a credential file: what `bt` copied in comes out again without any of our code."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import PASSPHRASE, Machine
from .test_fsck import trees_equal

TOOL = Path(__file__).resolve().parents[3] / "tools" / "decrypt.py"


def decrypt(
    machine: Machine, credentials: str, out: Path, secret: str = PASSPHRASE, code: int = 0, snapshot: str | None = None
) -> str:
    file = out.parent / "passphrase"
    file.write_text(f"{secret}\n")
    words = [str(machine.store), str(out), "--credentials", str(machine.directory / credentials)]
    command = [sys.executable, "-I", str(TOOL), *words, "--passphrase-file", str(file)]
    command += [] if snapshot is None else ["--snapshot", snapshot]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.parametrize("suite", ["ed25519-x25519", "p256"])
def test_a_machine_and_the_root_can_decrypt_the_store(laptop: Machine, tmp_path: Path, suite: str) -> None:
    laptop("init", "home", "--suite", suite, "--no-input")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.bin").write_bytes(random.Random(1).randbytes(100_000))
    (tmp_path / "in" / "b.txt").write_text("text")
    laptop("cp", "-r", tmp_path / "in", "home:/")
    for credentials in ("credentials", "root-credentials"):
        assert decrypt(laptop, credentials, tmp_path / credentials) == ""
        assert trees_equal(tmp_path / "in", tmp_path / credentials / "in")


def test_a_wrong_passphrase_opens_nothing(nas: Machine, tmp_path: Path) -> None:
    assert "does not open" in decrypt(nas, "credentials", tmp_path / "out", "wrong", code=1)
    assert not (tmp_path / "out").exists()


def made_tree(directory: Path) -> Path:
    (directory / "in" / "deep").mkdir(parents=True)
    (directory / "in" / "deep" / "a.bin").write_bytes(random.Random(1).randbytes(100_000))
    (directory / "in" / "b.txt").write_text("text")
    return directory / "in"


def test_a_snapshot_comes_out_as_its_maker_signed_it(nas: Machine, tmp_path: Path) -> None:
    tree = made_tree(tmp_path)
    nas("cp", "-r", tree, "home:/")
    nas("snapshot", "create", "s", "home:")
    nas("rm", "-r", "home:/in")
    assert decrypt(nas, "credentials", tmp_path / "then", snapshot="s") == ""
    assert trees_equal(tree, tmp_path / "then" / "in")
    assert decrypt(nas, "credentials", tmp_path / "now") == ""
    assert not (tmp_path / "now" / "in").exists()


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ("DELETE FROM old_heads WHERE rowid = (SELECT max(rowid) FROM old_heads)", "other heads"),
        ("UPDATE snapshots SET cursor = cursor + 1", "nobody signed"),
        ("INSERT INTO snapshots SELECT 't', cursor, taken FROM snapshots", "nobody signed"),
    ],
)
def test_what_nobody_signed_as_a_snapshot_is_told(nas: Machine, tmp_path: Path, lie: str, told: str) -> None:
    nas("cp", "-r", made_tree(tmp_path), "home:/")
    nas("snapshot", "create", "s", "home:")
    nas("rm", "-r", "home:/in")
    with closing(sqlite3.connect(nas.store / "index.sqlite")) as db, db:
        db.execute(lie)
    name = "t" if "'t'" in lie else "s"
    assert told in decrypt(nas, "credentials", tmp_path / "out", snapshot=name, code=6)
