"""Notices: what waits in an actor's other lane, ahead of all messages. `Down` is one too."""

from __future__ import annotations

from .reasons import Down, Reason


class StopRequest:
    """A notice: end, for this reason."""

    __slots__ = ("reason",)

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class ExitNotice:
    """A notice: a linked actor ended."""

    __slots__ = ("down",)

    def __init__(self, down: Down) -> None:
        self.down = down


class Interrupt:
    """A notice: nothing but to look whether the worker may go on."""

    __slots__ = ()


INTERRUPT = Interrupt()
