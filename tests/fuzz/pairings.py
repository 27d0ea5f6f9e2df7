"""Targets of enrolment by a code: what strangers send to either end, and what people type. With their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from blocktree.reporting import make_report, read_report
from btlib.errors import BlocktreeError, PairingError
from btlib.pairing import Answered, Asked, Ended, FrameReader, Invitation, InvitationCode, Joiner, frame

from .target import target

VECTOR = json.loads(
    (Path(__file__).resolve().parents[2] / "packages/btlib/tests/vectors/pairing/talk.json").read_text(encoding="utf-8")
)
CODE = InvitationCode.parse(VECTOR["code"])
FRAMES = {name: bytes.fromhex(data) for name, data in VECTOR["frames"].items()}
Seed = tuple[str, str, bytes]


def _given(name: str, size: int) -> bytes:
    return bytes.fromhex(VECTOR[name])[:size]


@target("pairing-frames", "frames of an enrolment by a code", refuses=PairingError)
def pairing_frames(data: bytes) -> None:
    reader, again = FrameReader(), b""
    reader.feed(data)
    while (found := reader.next_frame()) is not None:
        again += frame(found.kind, found.body)
    assert data.startswith(again)


@target("pairing-inviter", "what a joining end sends", refuses=PairingError)
def pairing_inviter(data: bytes) -> None:
    talk = Invitation(CODE, expires=1.0).talk(lambda size: _given("inviter_random", size))
    talk.receive_data(data, 0.0)
    while (event := talk.next_event()) is not None:
        if isinstance(event, Ended) and event.reason is not None:
            raise event.reason
        assert event == Asked(request=bytes.fromhex(VECTOR["request"]))  # nobody else proves to know the code
        talk.respond(b"")


@target("pairing-joiner", "what an inviting end sends", refuses=PairingError)
def pairing_joiner(data: bytes) -> None:
    joiner = Joiner(CODE, bytes.fromhex(VECTOR["request"]), lambda size: _given("joiner_random", size))
    joiner.receive_data(data, 0.0)
    while (event := joiner.next_event()) is not None:
        if isinstance(event, Ended) and event.reason is not None:
            raise event.reason
        assert event == Answered(response=bytes.fromhex(VECTOR["response"]))
        joiner.joined()


@target("invitation-code", "codes that people type", refuses=PairingError)
def invitation_code(data: bytes) -> None:
    code = InvitationCode.parse(data.decode(errors="surrogateescape"))
    assert InvitationCode.parse(str(code)) == code


@target("invitation-report", "the last word of an inviting end", refuses=BlocktreeError)
def invitation_report(data: bytes) -> None:
    report = read_report(data)
    assert make_report(report.path, report.rights, report.failure) == data or len(str(report.failure)) > 1000


def made() -> Iterator[Seed]:
    """Seeds of these targets."""
    for name, data in FRAMES.items():
        yield "pairing-frames", name.lower(), data
    yield "pairing-inviter", "talk", FRAMES["HELLO"] + FRAMES["REQUEST"]
    yield "pairing-inviter", "hello", FRAMES["HELLO"]
    yield "pairing-joiner", "talk", FRAMES["ANSWER"] + FRAMES["RESPONSE"]
    yield "pairing-joiner", "refusal", bytes([7, 0, 0, 0, 1, 1])
    for name, text in (("plain", "lemon-rocket-absorb-winter@nas.example:7465"), ("spoken", "Lemo ROCK absorb winter")):
        yield "invitation-code", name, text.encode()
    yield "invitation-report", "given", make_report("/photos", ("read", "write"), None)
    yield "invitation-report", "failed", make_report("/photos", ("read",), "there is no home:/photos")
