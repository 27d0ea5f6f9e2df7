"""What every call that changes something does before it takes the lock: make room, and fetch the lease it lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from btlib.kinds import Kind

from ..errors import FsError

P = ParamSpec("P")
R = TypeVar("R")


class LeaseNeededError(Exception):
    """Inside a call: it would change a scope whose lease is not held. Nothing was changed yet; never leaves a call."""

    def __init__(self, scope: bytes) -> None:
        super().__init__(scope)
        self.scope = scope


class RoomNeededError(Exception):
    """Inside a call: what it adds does not fit beside what is uncommitted. Nothing was changed yet."""


class Changeable(Protocol):
    reloads: int
    live_group: int

    def heard_since(self, reloads: int) -> bool: ...
    def make_room(self) -> None: ...
    def commit_through(self, group: int, spill: bool = False) -> None: ...
    def acquire(self, scope: bytes) -> None: ...


S = TypeVar("S", bound=Changeable)


def changing(call: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorates such a call. It runs again, from the start, after it lacked a lease."""

    @wraps(call)
    def run(fs: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        fs.make_room()
        while True:
            heard = fs.reloads
            try:
                return call(fs, *args, **kwargs)
            except LeaseNeededError as needed:
                fs.acquire(needed.scope)
            except RoomNeededError:
                fs.commit_through(fs.live_group, spill=True)
            except FsError as error:  # without the lease, others may have changed what was just being read
                if error.kind is not Kind.INTEGRITY or not fs.heard_since(heard):
                    raise

    return run
