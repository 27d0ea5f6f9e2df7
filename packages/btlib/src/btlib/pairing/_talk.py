"""What both ends of an enrolment by a code have in common: frames in, frames and events out, one end."""

from __future__ import annotations

import abc
from collections import deque
from typing import Generic, TypeVar

import msgspec

from ..errors import PairingError
from ..kinds import Kind
from ._frames import Frame, FrameKind, FrameReader, Refusal, frame

INVITE_ANEW = "invite anew: bt invite"
E = TypeVar("E")

#: What a refusal means to whoever hears it. It is hearsay: anyone in between can say it.
_HEARD: dict[Refusal, tuple[Kind, str, str]] = {
    Refusal.WRONG_CODE: (
        Kind.UNAUTHENTICATED,
        "the other end says that the code was wrong, or what was sent was changed; the code is used up",
        INVITE_ANEW,
    ),
    Refusal.EXPIRED: (Kind.EXPIRED, "the other end says that the code has expired", INVITE_ANEW),
    Refusal.USED: (
        Kind.UNAUTHENTICATED,
        "the other end says that the code is used up: somebody was let in with it, or guessed wrong",
        INVITE_ANEW,
    ),
    Refusal.NOBODY: (
        Kind.NO_SUCH_TARGET,
        "nobody waits there under the first word of this code",
        f"check the code; if its time is over or it was used, {INVITE_ANEW}",
    ),
    Refusal.BUSY: (Kind.BUSY, "too many knock there at once", "try again; the code is still good"),
    Refusal.FAILED: (Kind.INTERNAL, "the other end could not go on", "look there for the reason"),
    Refusal.VERSION: (Kind.NOT_SUPPORTED, "the other end speaks another version of this protocol", "update it"),
    Refusal.DAMAGED: (Kind.PROTOCOL, "the other end did not understand what reached it", "try again"),
}
#: What this end says when it breaks off, by the kind of its own error.
_SAID = {
    Kind.UNAUTHENTICATED: Refusal.WRONG_CODE,
    Kind.EXPIRED: Refusal.EXPIRED,
    Kind.CONFLICT: Refusal.USED,
    Kind.NO_SUCH_TARGET: Refusal.NOBODY,
    Kind.NOT_SUPPORTED: Refusal.VERSION,
}


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The talk is over; `reason` is None where it came to its end."""

    reason: PairingError | None


class Talk(abc.ABC, Generic[E]):
    """One end of one connection. Not thread-safe; it stays closed after its first error.

    After each call poll `next_event()` until None, then send `data_to_send()`.
    """

    def __init__(self) -> None:
        self.closed = False
        self._reader = FrameReader()
        self._out = bytearray()
        self._events: deque[E | Ended] = deque()

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what came from the other end."""
        self._reader.feed(data)
        try:
            while not self.closed and (found := self._reader.next_frame()) is not None:
                self._take(found, now)
        except PairingError as error:
            self._break_off(error)

    def receive_eof(self) -> None:
        """The other end is gone."""
        if not self.closed:
            self._end(
                PairingError("the other end closed the connection", kind=Kind.UNREACHABLE, hint="look there, try again")
            )

    def next_event(self) -> E | Ended | None:
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        data = bytes(self._out)
        self._out.clear()
        return data

    def give_up(self) -> None:
        """Tell the other end that this one cannot go on, for a reason of its own."""
        if not self.closed:
            self._send(FrameKind.REFUSAL, bytes([Refusal.FAILED]))
            self._end(None)

    def _take(self, found: Frame, now: float) -> None:
        if found.kind is FrameKind.REFUSAL:
            self._end(heard(found.body[0]))
        elif found.kind is not self._expected():
            raise PairingError(f"a {found.kind.name} came where none may come")
        else:
            self._follow(found, now)

    @abc.abstractmethod
    def _expected(self) -> FrameKind | None:
        """The one kind of frame that may come now; None: none."""

    @abc.abstractmethod
    def _follow(self, found: Frame, now: float) -> None:
        """Go on with the expected frame. Raises PairingError."""

    def _send(self, kind: FrameKind, body: bytes = b"") -> None:
        self._out += frame(kind, body)

    def _break_off(self, error: PairingError) -> None:
        self._send(FrameKind.REFUSAL, bytes([_SAID.get(error.kind, Refusal.DAMAGED)]))
        self._end(error)

    def _end(self, reason: PairingError | None) -> None:
        self.closed = True
        self._events.append(Ended(reason=reason))


def heard(number: int) -> PairingError:
    """The error that a refusal means here."""
    try:
        kind, message, hint = _HEARD[Refusal(number)]
    except ValueError:
        return PairingError(f"the other end refused, for a reason that is not known here ({number})")
    return PairingError(message, kind=kind, hint=hint)


def misused(what: str) -> PairingError:
    """The error of a caller that is not in step."""
    return PairingError(f"{what} is not due now", kind=Kind.INTERNAL)
