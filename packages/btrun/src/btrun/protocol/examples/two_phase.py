"""Two-phase commit among three: all do it, or none does."""

from __future__ import annotations

from msgspec import Struct

from btrun.protocol import END, Protocol, Role, State


class Prepare(Struct, frozen=True, kw_only=True):
    """Can you do this? Keep it ready if so."""

    change: bytes


class Ready(Struct, frozen=True, kw_only=True):
    """It is durable here, and will be done when told."""


class Unable(Struct, frozen=True, kw_only=True):
    """It will not be done here."""

    reason: str


class Commit(Struct, frozen=True, kw_only=True):
    """Everyone is ready: do it."""


class Abort(Struct, frozen=True, kw_only=True):
    """Somebody is unable: forget it."""


class Done(Struct, frozen=True, kw_only=True):
    """It is done, or forgotten, as told."""


class TwoPhase(Protocol):
    """A coordinator and two participants agree on one change."""

    coordinator = Role("asks, and decides")
    first = Role("a participant")
    second = Role("a participant")

    start = State("the coordinator asks the first")
    asking = State("the coordinator asks the second")
    voting = State("the first answers", timeout=10)
    voting_ready = State("the second answers, the first is ready", timeout=10)
    voting_unable = State("the second answers, the first is unable", timeout=10)
    deciding = State("all answered, both ready: the coordinator decides")
    refusing = State("all answered, one unable: the coordinator must abort")
    committing = State("the second is told to do it")
    aborting = State("the second is told to forget it")
    first_done = State("the first confirms")
    second_done = State("the second confirms")

    start.lets(coordinator, {Prepare: asking}, to=first)
    asking.lets(coordinator, {Prepare: voting}, to=second)
    voting.lets(first, {Ready: voting_ready, Unable: voting_unable}, to=coordinator)
    voting_ready.lets(second, {Ready: deciding, Unable: refusing}, to=coordinator)
    voting_unable.lets(second, {Ready: refusing, Unable: refusing}, to=coordinator)
    deciding.lets(coordinator, {Commit: committing, Abort: aborting}, to=first)
    refusing.lets(coordinator, {Abort: aborting}, to=first)
    committing.lets(coordinator, {Commit: first_done}, to=second)
    aborting.lets(coordinator, {Abort: first_done}, to=second)
    first_done.lets(first, {Done: second_done}, to=coordinator)
    second_done.lets(second, {Done: END}, to=coordinator)
