"""Dialing several endpoints of one server: the first link that opens wins, the others are closed.

Each attempt begins a little after the one before, or as soon as all that run have failed (RFC 8305, with the opened
link in place of the connection). Every attempt is a thread of its own, which ends at the latest after `timeout`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from bttp.errors import AuthenticationError, BttpError, UnreachableError

STAGGER = 0.25  #: seconds between the starts of attempts, as RFC 8305 advises


class Closable(Protocol):
    def close(self) -> None: ...


Made = TypeVar("Made", bound=Closable)
Dial = Callable[[str, float], Made]


def first_link(endpoints: Sequence[str], dial: Dial[Made], timeout: float, *, stagger: float = STAGGER) -> Made:
    """The link of whichever answers first. `dial(endpoint, timeout)` makes one or raises BttpError.

    Raises AuthenticationError where somebody answered and was not believed, or did not want us, and nobody else was
    there; else UnreachableError.
    """
    if len(endpoints) == 1:
        return dial(endpoints[0], timeout)
    race = _Race(dial, timeout)
    for endpoint in endpoints:
        if race.start(endpoint, stagger):
            break
    return race.result()


class _Race(Generic[Made]):
    def __init__(self, dial: Dial[Made], timeout: float) -> None:
        self._dial = dial
        self._timeout = timeout
        self._news = threading.Condition()
        self._running = 0
        self._winner: Made | None = None
        self._errors: dict[str, BttpError] = {}

    def start(self, endpoint: str, stagger: float) -> bool:
        """Begin an attempt; whether some attempt has won before the next one is due."""
        self._running += 1
        threading.Thread(
            target=self._attempt, args=(endpoint,), name=f"btfproto-dialing-{endpoint}", daemon=True
        ).start()
        with self._news:
            self._news.wait_for(lambda: self._winner is not None or not self._running, stagger)
            return self._winner is not None

    def result(self) -> Made:
        with self._news:
            self._news.wait_for(lambda: self._winner is not None or not self._running)
            if self._winner is None:
                raise self._failure()
            return self._winner

    def _attempt(self, endpoint: str) -> None:
        made: Made | None = None
        try:
            made = self._dial(endpoint, self._timeout)
        except BttpError as error:
            self._errors[endpoint] = error
        with self._news:
            self._running -= 1
            if self._winner is None:
                self._winner, made = made, None
            self._news.notify_all()
        if made is not None:
            made.close()

    def _failure(self) -> BttpError:
        """A server that answered says more than those that did not."""
        for error in self._errors.values():
            if isinstance(error, AuthenticationError):
                return error
        if not self._errors:
            return UnreachableError("no endpoint is known")
        return UnreachableError("; ".join(f"{endpoint}: {error.message}" for endpoint, error in self._errors.items()))
