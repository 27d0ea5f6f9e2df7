"""The vectors of the specification are what the code makes and reads."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from bttp import RemoteProtocolError
from bttp._auth import Role, transcript, verify
from bttp._events import LinkClosed
from bttp._frames import FrameKind
from bttp._preface import read_preface, read_refusal
from bttp._topics import Message, WhenSlow, Wish, parse_item, parse_wish
from bttp.dissector import Dissector
from bttp.testing._pair import Pair, inject, opened

HERE = Path(__file__).parent
FILES = sorted((HERE / "vectors").glob("*.json"))
TOPICS = ("subscription", "message", "losses")
FRAMES = [file for file in FILES if file.stem not in ("preface", "refusal", "auth", "violations", *TOPICS)]
CASES: list[dict[str, str]] = json.loads((HERE / "vectors" / "violations.json").read_text(encoding="utf-8"))["cases"]


def load(file: Path) -> tuple[dict[str, str], bytes]:
    vector = json.loads(file.read_text(encoding="utf-8"))
    return vector, bytes.fromhex(vector["bytes"])


def shows(file: Path) -> list[str]:
    lines: list[str] = json.loads(file.read_text(encoding="utf-8"))["shows"]
    return lines


def test_the_code_makes_the_vectors() -> None:
    assert FILES
    assert runpy.run_path(str(HERE / "make_vectors.py"))["main"](True) == 0


@pytest.mark.parametrize("file", FRAMES, ids=[file.stem for file in FRAMES])
def test_frames_say_what_the_vector_shows(file: Path) -> None:
    shown = Dissector().feed(load(file)[1])
    assert shown == shows(file)
    assert not any("malformed" in line or "unknown" in line for line in shown)


def test_every_kind_of_frame_has_a_vector() -> None:
    shown = [line for file in FRAMES for line in shows(file)]
    kinds = {line.replace(":", " ").split()[0] for line in shown}
    assert kinds == {kind.name for kind in FrameKind if kind is not FrameKind.AUTH}, "auth.json has the payload of AUTH"


@pytest.mark.parametrize("case", CASES, ids=[f"{place} {case['reason']}" for place, case in enumerate(CASES)])
def test_what_must_be_refused_ends_an_open_link_and_both_sides_know_why(case: dict[str, str]) -> None:
    pair = opened()
    inject(pair.client, bytes.fromhex(case["bytes"]))
    pair.run()
    for side in (pair.server, pair.client):
        assert isinstance(side.reason, RemoteProtocolError)
        assert case["reason"] in str(side.reason)
    assert isinstance(pair.server_events[-1], LinkClosed)


@pytest.mark.parametrize("case", CASES, ids=[f"{place} {case['reason']}" for place, case in enumerate(CASES)])
def test_what_must_be_refused_is_refused_byte_by_byte_too(case: dict[str, str]) -> None:
    pair = Pair(chunk=lambda: 1)
    pair.run()
    inject(pair.client, bytes.fromhex(case["bytes"]))
    pair.run()
    assert case["reason"] in str(pair.server.reason)


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
