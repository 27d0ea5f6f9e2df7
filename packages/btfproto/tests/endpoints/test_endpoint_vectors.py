"""The vectors of the specification: each does what it says, and is what the program makes."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from btfproto.endpoints import SignedRecord, check_record
from btfproto.endpoints.discovery import service_name
from btlib.errors import BlocktreeError
from btlib.paths import BlockPath
from btlib.principals import Principal
from btserde import decode, encode

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize("file", [file for file in FILES if "bytes" in load(file)], ids=lambda file: file.stem)
def test_a_vector_does_what_it_says(file: Path) -> None:
    vector = load(file)
    path = BlockPath.parse(vector["path"])
    text = vector["path"].encode()
    whole = b"blocktree/1 endpoints\0" + len(text).to_bytes(4, "little") + text
    assert hashlib.sha256(whole).digest()[:16].hex() == vector["block"]
    claim = decode(bytes.fromhex(vector["bytes"]), SignedRecord)
    assert encode(claim).hex() == vector["bytes"]
    newest = None if vector["newest"] is None else decode(bytes.fromhex(vector["newest"]), SignedRecord)
    accepted = vector["expect"] == "accept"
    with nullcontext() if accepted else pytest.raises(BlocktreeError, match=re.escape(vector["expect"])):
        check_record(claim, path=path, now=vector["now"], newest=newest)


def test_the_name_in_the_local_network() -> None:
    vector = load(HERE / "vectors" / "service-name.json")
    root = Principal.parse(vector["root"])
    assert service_name(root) == vector["name"]
    slow = hashlib.sha256(b"blocktree/1 service name\0" + root.digest).digest()[:16].hex()
    assert slow == vector["name"]


def test_the_vectors_are_as_made() -> None:
    command = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
