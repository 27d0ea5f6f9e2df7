"""The vectors of `docs/spec/rotation.md`: each does what it says, and is what the program makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from blocktree.rotation_request import read_rotation_request
from btlib import Principal
from btlib.errors import BlocktreeError

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_rotation_request_is_taken_or_refused(file: Path) -> None:
    vector = json.loads(file.read_text(encoding="utf-8"))
    root = Principal.parse(vector["root"])
    if vector["expect"] != "accept":
        with pytest.raises(BlocktreeError, match=vector["expect"]):
            read_rotation_request(vector["text"], root)
        return
    handover = read_rotation_request(vector["text"], root).handover
    assert (str(handover.old), str(handover.new.principal)) == (vector["old"], vector["new"])
    assert (len(handover.chains), len(handover.readcaps)) == (vector["chains"], vector["readcaps"])


def test_a_truncated_request_is_refused() -> None:
    text = json.loads((HERE / "vectors" / "full.json").read_text(encoding="utf-8"))["text"]
    root = Principal.parse(json.loads((HERE / "vectors" / "full.json").read_text(encoding="utf-8"))["root"])
    for end in range(0, len(text) - 4, 13):
        with pytest.raises(BlocktreeError):
            read_rotation_request(text[:end], root)


def test_the_vectors_are_what_the_program_makes() -> None:
    program = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all vectors are as made\n"), done.stderr
