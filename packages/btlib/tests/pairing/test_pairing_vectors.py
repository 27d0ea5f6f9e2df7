"""The vectors of `docs/spec/enrolment.md`: each does what it says, and is what the program makes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from btlib.pairing import (
    Answered,
    Asked,
    FrameKind,
    FrameReader,
    Invitation,
    InvitationCode,
    Joined,
    Joiner,
    Refusal,
    Reported,
)

from . import slow_spake2

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE.parent / "vectors" / "pairing").glob("*.json"))
Vector = dict[str, Any]


def given(data: bytes) -> Callable[[int], bytes]:
    return lambda size: data[:size]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_inviting_end_does_what_a_vector_says(file: Path) -> None:
    vector: Vector = json.loads(file.read_text(encoding="utf-8"))
    frames = {FrameKind[name]: bytes.fromhex(data) for name, data in vector["frames"].items()}
    talk = Invitation(InvitationCode.parse(vector["code"]), expires=1).talk(
        given(bytes.fromhex(vector["inviter_random"]))
    )
    talk.receive_data(frames[FrameKind.HELLO], 0)
    sent = talk.data_to_send()
    if not talk.closed:
        assert sent == frames[FrameKind.ANSWER]
        talk.receive_data(frames[FrameKind.REQUEST], 0)
        sent = talk.data_to_send()
    if vector["expect"] != "accept":
        assert talk.closed
        reader = FrameReader()
        reader.feed(sent)
        refusal = reader.next_frame()
        assert refusal is not None
        assert Refusal(refusal.body[0]).name == vector["expect"]
        return
    assert talk.next_event() == Asked(request=bytes.fromhex(vector["request"]))
    talk.respond(bytes.fromhex(vector["response"]))
    assert talk.data_to_send() == frames[FrameKind.RESPONSE]
    talk.receive_data(frames[FrameKind.JOINED], 0)
    assert talk.next_event() == Joined()
    talk.report(bytes.fromhex(vector["report"]))
    assert talk.data_to_send() == frames[FrameKind.REPORT]


def test_the_joining_end_makes_the_same_bytes() -> None:
    vector: Vector = json.loads((HERE.parent / "vectors" / "pairing" / "talk.json").read_text(encoding="utf-8"))
    frames = {FrameKind[name]: bytes.fromhex(data) for name, data in vector["frames"].items()}
    code = InvitationCode.parse(vector["code"])
    joiner = Joiner(code, bytes.fromhex(vector["request"]), given(bytes.fromhex(vector["joiner_random"])))
    assert joiner.data_to_send() == frames[FrameKind.HELLO]
    joiner.receive_data(frames[FrameKind.ANSWER], 0)
    assert joiner.data_to_send() == frames[FrameKind.REQUEST]
    joiner.receive_data(frames[FrameKind.RESPONSE], 0)
    assert joiner.next_event() == Answered(response=bytes.fromhex(vector["response"]))
    joiner.joined()
    assert joiner.data_to_send() == frames[FrameKind.JOINED]
    joiner.receive_data(frames[FrameKind.REPORT], 0)
    assert joiner.next_event() == Reported(report=bytes.fromhex(vector["report"]))


def test_both_ends_of_the_second_implementation_agree() -> None:
    code, first, second = b"a code", bytes(range(64)), bytes(range(1, 65))
    up, down = (slow_spake2.message(code, random, inviter=side) for random, side in ((first, True), (second, False)))
    assert slow_spake2.agreed(code, first, up, down, inviter=True) == slow_spake2.agreed(
        code, second, down, up, inviter=False
    )


def test_there_are_vectors_and_they_are_what_the_program_makes() -> None:
    assert len(FILES) >= 12
    program = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
