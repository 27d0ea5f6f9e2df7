"""Why an actor ended, and the notice that tells it. Values: they can be sent, and encoded."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .refs import Ref


class Stopped(msgspec.Struct, frozen=True, tag=1):
    """It was asked to end, and did."""

    def __str__(self) -> str:
        return "it was stopped"


class Killed(msgspec.Struct, frozen=True, tag=2):
    """It was asked to end, and was cancelled when its grace was over."""

    def __str__(self) -> str:
        return "it was killed"


class Crashed(msgspec.Struct, frozen=True, tag=3):
    """A handler or hook raised what is no answer."""

    error: str  #: the class of the exception
    text: str

    def __str__(self) -> str:
        return f"it failed with {self.error}: {self.text}"


class LinkedExit(msgspec.Struct, frozen=True, tag=4):
    """An actor to which it was linked ended, and it did not take the notice."""

    name: str

    def __str__(self) -> str:
        return f"{self.name}, to which it was linked, ended"


class Unreachable(msgspec.Struct, frozen=True, tag=5):
    """Nobody knows: the link to its runtime broke. The actor may live."""

    text: str

    def __str__(self) -> str:
        return f"its runtime cannot be reached: {self.text}"


class NeverLived(msgspec.Struct, frozen=True, tag=6):
    """There is no such actor (any more)."""

    def __str__(self) -> str:
        return "there is no such actor"


Reason: TypeAlias = Stopped | Killed | Crashed | LinkedExit | Unreachable | NeverLived


def is_failure(reason: Reason) -> bool:
    """Whether a transient actor is restarted after this, and a linked one ends."""
    return not isinstance(reason, Stopped)


class Down(msgspec.Struct, frozen=True, kw_only=True):
    """What a monitor gets, as a message ahead of all ordinary ones: this actor ended, for this reason.

    `restarting`: its supervisor starts it anew, without the state it had; the reference stays good and so does the
    monitor. Otherwise this is the last notice.
    """

    ref: Ref
    reason: Reason
    restarting: bool = False
