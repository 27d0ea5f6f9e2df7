"""Those who want to hear of something that happens once. Pure.

Each is called once, whatever thread adds it while another tells: adding, and taking out to call, are single steps on a
dictionary, and the fact stands before anybody is taken out.
"""

from __future__ import annotations

from collections.abc import Callable

Callback = Callable[[], None]


class Callbacks:
    """The listeners of one thing."""

    def __init__(self, run: Callable[[Callback], None]) -> None:
        """`run` calls one, and sees to it that its failure does not keep the others from theirs."""
        self._run = run
        self._waiting: dict[object, Callback] = {}
        self.told = False  #: whether it has happened

    def add(self, callback: Callback) -> Callback:
        """Call it when it happens; at once if it has. The result forgets it."""
        token = object()
        self._waiting[token] = callback
        if self.told:
            self._take(token)
        return lambda: self._forget(token)

    def tell(self) -> None:
        """It happens."""
        self.told = True
        for token in list(self._waiting):
            self._take(token)

    def _take(self, token: object) -> None:
        callback = self._waiting.pop(token, None)
        if callback is not None:
            self._run(callback)

    def _forget(self, token: object) -> None:
        self._waiting.pop(token, None)
