"""The vectors: what other implementations must do too."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from btrun.protocol import UnexpectedMessageError
from btrun.protocol._joining import Joining
from btrun.protocol._versions import Versions
from btrun.protocol._wire import pack, unpack
from btrun.protocol.errors import SessionEndedError
from btrun.protocol.examples.files import Quit, Write
from msgspec import Struct

HERE = Path(__file__).parent
FILES = sorted((HERE / "vectors").glob("*.json"))
ACCEPTS: dict[str, type[Struct]] = {"Quit": Quit, "Write": Write, "Versions": Versions, "Joining": Joining}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def chosen(**wanted: str) -> pytest.MarkDecorator:
    paths = [path for path in FILES if all(read(path).get(key) == value for key, value in wanted.items())]
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def test_the_files_are_what_their_program_makes() -> None:
    command = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.startswith("protocol-")], ids=lambda p: p.stem)
def test_a_fingerprint_is_the_beginning_of_the_hash_of_its_description(path: Path) -> None:
    vector = read(path)
    text = "".join(f"{line}\n" for line in vector["description"])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == vector["fingerprint"]


@chosen(expect="message")
def test_a_packet_decodes_to_its_message_and_back(path: Path) -> None:
    packet = bytes.fromhex(read(path)["packet"])
    message = unpack(packet, ACCEPTS)
    assert type(message).__name__ == read(path)["label"]
    assert pack(message) == packet


@chosen(expect="end")
def test_a_last_packet_ends_the_session(path: Path) -> None:
    with pytest.raises(SessionEndedError):
        unpack(bytes.fromhex(read(path)["packet"]), ACCEPTS)


@chosen(expect="refusal")
def test_a_bad_packet_is_refused(path: Path) -> None:
    with pytest.raises(UnexpectedMessageError):
        unpack(bytes.fromhex(read(path)["packet"]), ACCEPTS)
