"""What every call that changes something does before it takes the lock: make room, and fetch the lease it lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class LeaseNeededError(Exception):
    """Inside a call: it would change a scope whose lease is not held. Nothing was changed yet; never leaves a call."""

    def __init__(self, scope: bytes) -> None:
        super().__init__(scope)
        self.scope = scope


class Changeable(Protocol):
    def make_room(self) -> None: ...
    def acquire(self, scope: bytes) -> None: ...


S = TypeVar("S", bound=Changeable)


def changing(call: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorates such a call. It runs again, from the start, after it lacked a lease."""

    @wraps(call)
    def run(fs: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        fs.make_room()
        while True:
            try:
                return call(fs, *args, **kwargs)
            except LeaseNeededError as needed:
                fs.acquire(needed.scope)

    return run
