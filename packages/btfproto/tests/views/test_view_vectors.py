"""The vectors of `docs/spec/views.md`: each does what it says, and is what the program makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from btfproto.domain import SeenList, ShownHead, compare_view, read_view
from btlib import Principal
from btlib.errors import BlocktreeError
from btlib.revocations import NO_REVOCATIONS, RevocationList, Revocations

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))


def load(kind: str) -> list[Any]:
    found = [(file.stem, json.loads(file.read_text(encoding="utf-8"))) for file in FILES]
    return [pytest.param(vector, id=name) for name, vector in found if vector["kind"] == kind]


@pytest.mark.parametrize("vector", load("view"))
def test_a_view_is_taken_or_refused(vector: dict[str, Any]) -> None:
    data, root, now = bytes.fromhex(vector["bytes"]), Principal.parse(vector["root"]), vector["now"]
    gone = vector["revoked"]
    revoked = Revocations(version=1, principals={Principal.parse(gone): now}) if gone else NO_REVOCATIONS
    if vector["expect"] == "accept":
        terms = read_view(data, root, revoked, now=now)
        assert terms.root == root
        return
    with pytest.raises(BlocktreeError, match=vector["expect"]):
        read_view(data, root, revoked, now=now)


@pytest.mark.parametrize("vector", load("comparison"))
def test_a_comparison_finds_what_it_says(vector: dict[str, Any]) -> None:
    terms = read_view(
        bytes.fromhex(vector["bytes"]), Principal.parse(vector["root"]), NO_REVOCATIONS, now=vector["now"]
    )
    here = {
        bytes.fromhex(block): ShownHead(version=version, removed=removed, digest=bytes.fromhex(digest))
        for block, (version, removed, digest) in vector["here"].items()
    }
    version, digest = vector["list"]
    seen = SeenList(record=RevocationList(version=version), written=0, digest=bytes.fromhex(digest))
    found = compare_view(terms, here, seen)
    assert [block.hex() for block in found.forked] == vector["forked"]
    assert [block.hex() for block in found.behind] == vector["behind"]
    assert found.gone == vector["gone"]
    if vector["list_fault"] is None:
        assert found.list_fault is None
    else:
        assert vector["list_fault"] in str(found.list_fault)


def test_the_vectors_are_what_the_program_makes() -> None:
    program = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all vectors are as made\n"), done.stderr
