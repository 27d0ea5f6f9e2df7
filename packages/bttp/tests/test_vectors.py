"""The vectors of the specification are what the code makes and reads."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from bttp import RemoteProtocolError
from bttp._auth import Role, transcript, verify
from bttp._frames import FrameReader
from bttp._preface import read_preface, read_refusal
from bttp._topics import Message, WhenSlow, Wish, parse_item, parse_wish

HERE = Path(__file__).parent
FILES = sorted((HERE / "vectors").glob("*.json"))
TOPICS = ("subscription", "message", "losses")
FRAMES = [file for file in FILES if file.stem not in ("preface", "refusal", "auth", *TOPICS)]


def load(file: Path) -> tuple[dict[str, str], bytes]:
    vector = json.loads(file.read_text(encoding="utf-8"))
    return vector, bytes.fromhex(vector["bytes"])


def test_the_code_makes_the_vectors() -> None:
    assert FILES
    assert runpy.run_path(str(HERE / "make_vectors.py"))["main"](True) == 0


@pytest.mark.parametrize("file", FRAMES, ids=[file.stem for file in FRAMES])
def test_frames_are_read_or_refused(file: Path) -> None:
    vector, data = load(file)
    reader = FrameReader(lambda _stream, _length: None)
    reader.space()[: len(data)] = data
    reader.filled(len(data))
    if vector["expect"] == "violation":
        with pytest.raises(RemoteProtocolError):
            list(reader.frames())
    else:
        assert sum(8 + stop - start for _, _, start, stop in reader.frames()) == len(data)


def test_the_clear_bytes_are_read() -> None:
    _, data = load(HERE / "vectors" / "preface.json")
    assert read_preface(data) == (b"the client's certificate", len(data))
    assert read_refusal(load(HERE / "vectors" / "refusal.json")[1]) is not None


def test_the_words_of_a_broker_are_read() -> None:
    said = {name: load(HERE / "vectors" / f"{name}.json")[1] for name in TOPICS}
    assert parse_wish(said["subscription"]) == Wish(below=True, when_slow=WhenSlow.DROP_OLDEST, queue=256)
    message = parse_item(memoryview(said["message"]))
    assert isinstance(message, Message)
    assert bytes(message.body) == b"hello"
    assert parse_item(memoryview(said["losses"])) == 3


def test_the_proof_is_verified() -> None:
    vector, data = load(HERE / "vectors" / "auth.json")
    signed = transcript(bytes.fromhex(vector["client_certificate"]), bytes.fromhex(vector["server_certificate"]))
    assert str(verify(data, Role.CLIENT, signed).public.principal) == vector["principal"]
