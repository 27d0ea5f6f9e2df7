"""Attacks of members, on links that are open: what they have no right to, and frames that lie."""

from __future__ import annotations

import contextlib
import ssl

from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.writecaps import Rights

from .. import _frames as wire
from .._auth import Role, prove
from .._fields import extended
from .._frames import CHUNK, FrameKind, frame, parse_text
from ._attack import KEYS, attack
from ._evil import DOMAIN, ECHO, GREEDY, WAIT, Evil, Frame, Target

ALICE = DOMAIN["alice"]
CALL = wire.call_frame(1, 1, 0, 5, b"hello")


def _hear(evil: Evil, *until: FrameKind) -> list[Frame]:
    """What the server says until one of these, or the end of the connection: soon."""
    evil.sock.settimeout(WAIT)
    with contextlib.suppress(ConnectionError):
        return evil.hear(*until)
    return []


def _kinds(said: list[Frame]) -> set[int]:
    return {kind for kind, _ in said}


def _call(server: Target, identity: Identity) -> list[Frame]:
    """What comes of a call at ECHO by a link of this identity."""
    with Evil(server, KEYS) as evil:
        evil.shake()
        evil.introduce(prove(identity, Role.CLIENT, evil.transcript), GREEDY)
        said = _hear(evil, FrameKind.ACCEPT)
        if FrameKind.ACCEPT in _kinds(said):
            evil.say(frame(FrameKind.ROUTE, 1, str(ECHO).encode()), CALL)
            said += _hear(evil, FrameKind.REPLY, FrameKind.ERROR)
        return said


def _not_served(server: Target, identity: Identity) -> None:
    """The call reaches no handler: it is answered with a refusal, or the link does not even open."""
    kind, payload = _call(server, identity)[-1]
    assert kind in (FrameKind.ERROR, FrameKind.REFUSE), f"a member without the right got a frame {kind}"
    assert parse_text(payload)[0] is Kind.FORBIDDEN


@attack("call-without-right", "a member calls where it may not execute: it may write there, or execute elsewhere")
def without_right(server: Target) -> None:
    assert FrameKind.REPLY in _kinds(_call(server, ALICE)), "who has the right was not served"
    _not_served(server, DOMAIN.issue("bob", rights=Rights.WRITE))
    _not_served(server, DOMAIN.issue("bob", ("elsewhere",), rights=Rights.EXECUTE))


@attack("path-prefix-call", "a member of /…/ech or /…/echo/below calls /…/echo")
def prefix_call(server: Target) -> None:
    for name in (ECHO.name[:-1], ECHO.name + "s", ECHO.name.upper(), ECHO.name + " "):
        _not_served(server, DOMAIN.issue("bob", (name,), rights=Rights.EXECUTE))
    _not_served(server, DOMAIN.issue("bob", (ECHO.name, "below"), rights=Rights.EXECUTE))


@attack("frames-that-lie", "bodies longer than announced, unknown frames, fields cut off, routes of nobody")
def lying_frames(server: Target) -> None:
    lies = [
        wire.call_frame(1, 9, 0, 0, b""),
        wire.call_frame(1, 1, 0, 2, b"hello"),
        wire.call_frame(1, 1, 0, CHUNK + 1, b"hello"),
        frame(FrameKind.CALL, 1, bytes(11)),
        frame(FrameKind.SEND, 0, bytes(7)),
        frame(FrameKind.EXTENDED, 1, bytes(3)),
        frame(FrameKind.EXTENDED, 1, b"\x1b\0\0\0" + bytes(4)),
        extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\2k"),
        extended(wire.call_frame(1, 1, 0, 0, b""), b"\7\0\7\0"),
        frame(255, 0),
        frame(FrameKind.HELLO, 0, bytes(16)),
        frame(FrameKind.AUTH, 0, bytes(1)),
        frame(FrameKind.PING, 0, bytes(7)),
        frame(FrameKind.ROUTE, 1, b"/nobody"),
        frame(FrameKind.ROUTE, 2, b"\xff"),
        frame(FrameKind.CREDIT, 0, b"\0"),
        b"\x11\xff\xff\xff\1\0\0\0",
    ]
    for lie in lies:
        with Evil(server, KEYS) as evil:
            evil.open(ALICE, lie)
            said = _hear(evil)
            assert said, f"no word about {lie[:20].hex()}"
            assert said[-1][0] == FrameKind.VIOLATION, f"{lie[:20].hex()} was taken"


@attack("call-storm", "a member calls a thousand times without reading an answer, and goes away in the middle")
def storm(server: Target) -> None:
    calls = b"".join(wire.call_frame(number, 1, 0, 5, b"hello") for number in range(1, 2000, 2))
    for _ in range(3):
        with Evil(server, KEYS) as evil, contextlib.suppress(OSError, ssl.SSLError):
            evil.open(ALICE, calls, calls[: len(calls) // 2 + 3])


@attack("proof-flood", "a member proves itself again and again")
def proof_flood(server: Target) -> None:
    with Evil(server, KEYS) as evil:
        evil.open(ALICE)
        proof = frame(FrameKind.AUTH, 0, prove(ALICE, Role.CLIENT, evil.transcript))
        with contextlib.suppress(OSError, ssl.SSLError):
            evil.say(*[proof] * 200)
            assert _hear(evil)[-1][0] == FrameKind.VIOLATION
