"""The frames of an enrolment by a code, and their parser.

    frame    = kind U8 ‖ length U32 BE ‖ body

    1 HELLO      joiner → inviter   PROTOCOL (8 bytes) ‖ meeting U16 BE ‖ SPAKE2 message (33 bytes)
    2 ANSWER     inviter → joiner   SPAKE2 message (33 bytes)
    3 REQUEST    joiner → inviter   proof (32 bytes) ‖ sealed request
    4 RESPONSE   inviter → joiner   proof (32 bytes) ‖ sealed response
    5 JOINED     joiner → inviter   sealed nothing
    6 REPORT     inviter → joiner   sealed report
    7 REFUSAL    either way         reason U8
    8 WAIT       inviter → relay    PROTOCOL (8 bytes) ‖ meeting U16 BE
    9 WAITING    relay → inviter    nothing

A frame is refused by its head, before any of its body is kept.
"""

from __future__ import annotations

import enum

import msgspec

from ..errors import PairingError
from ..kinds import Kind
from ._limits import MAX_PAYLOAD, MAX_REPORT

PROTOCOL = b"btjoin/1"
HEAD = 5
PAKE = 33  #: bytes of a SPAKE2 message: its side, and a point
PROOF = 32
TAG = 16
MEETINGS = 2048


class FrameKind(enum.IntEnum):
    HELLO = 1
    ANSWER = 2
    REQUEST = 3
    RESPONSE = 4
    JOINED = 5
    REPORT = 6
    REFUSAL = 7
    WAIT = 8
    WAITING = 9


class Refusal(enum.IntEnum):
    """Why an end, or a relay, does not go on. Unproven: whoever stands in between can say it too."""

    WRONG_CODE = 1  #: the guess was wrong, or somebody changed what was sent; the code is used up
    EXPIRED = 2
    USED = 3  #: somebody was let in with this code, or guessed wrong
    NOBODY = 4  #: nobody waits here under this meeting word
    BUSY = 5  #: too many at once; the code is still good
    FAILED = 6  #: the inviting end could not sign
    VERSION = 7  #: another version of this protocol
    DAMAGED = 8  #: bytes that are no message of this protocol


#: Smallest and largest body of each kind.
SIZES: dict[FrameKind, tuple[int, int]] = {
    FrameKind.HELLO: (len(PROTOCOL) + 2 + PAKE,) * 2,
    FrameKind.ANSWER: (PAKE, PAKE),
    FrameKind.REQUEST: (PROOF + TAG, PROOF + TAG + MAX_PAYLOAD),
    FrameKind.RESPONSE: (PROOF + TAG, PROOF + TAG + MAX_PAYLOAD),
    FrameKind.JOINED: (TAG, TAG),
    FrameKind.REPORT: (TAG, TAG + MAX_REPORT),
    FrameKind.REFUSAL: (1, 1),
    FrameKind.WAIT: (len(PROTOCOL) + 2,) * 2,
    FrameKind.WAITING: (0, 0),
}


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    kind: FrameKind
    body: bytes


def frame(kind: FrameKind, body: bytes = b"") -> bytes:
    """A frame's bytes. Raises PairingError for a body that no frame of this kind may have."""
    low, high = SIZES[kind]
    if not low <= len(body) <= high:
        raise PairingError(f"a {kind.name} of {len(body)} bytes cannot be sent", kind=Kind.TOO_LARGE)
    return bytes([kind]) + len(body).to_bytes(4) + body


class FrameReader:
    """Cuts what arrives into frames. After its first error it gives nothing more."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        self._held += data

    def next_frame(self) -> Frame | None:
        """The next whole frame; None until there is one. Raises PairingError where there will never be one."""
        if len(self._held) < HEAD:
            return None
        kind, size = _head(self._held)
        if len(self._held) < HEAD + size:
            return None
        body = bytes(self._held[HEAD : HEAD + size])
        del self._held[: HEAD + size]
        return Frame(kind=kind, body=body)

    def rest(self) -> bytes:
        """What came after the last frame; it is taken out."""
        rest = bytes(self._held)
        self._held.clear()
        return rest


def wait_frame(meeting: int) -> bytes:
    """How an inviting end asks a relay to let it wait under a meeting word."""
    return frame(FrameKind.WAIT, PROTOCOL + meeting.to_bytes(2))


def _head(held: bytearray) -> tuple[FrameKind, int]:
    size = int.from_bytes(held[1:HEAD])
    try:
        kind = FrameKind(held[0])
    except ValueError as error:
        raise PairingError("this is no message of an enrolment by a code") from error
    low, high = SIZES[kind]
    if not low <= size <= high:
        raise PairingError(f"a {kind.name} has {low} to {high} bytes, not {size}")
    return kind, size


def meeting_of(body: bytes) -> int:
    """The meeting word's number in a HELLO or WAIT. Raises PairingError (NOT_SUPPORTED: another version)."""
    if body[: len(PROTOCOL)] != PROTOCOL:
        raise PairingError("the other end speaks another version of this protocol", kind=Kind.NOT_SUPPORTED)
    meeting = int.from_bytes(body[len(PROTOCOL) : len(PROTOCOL) + 2])
    if meeting >= MEETINGS:
        raise PairingError("there is no such meeting word")
    return meeting
