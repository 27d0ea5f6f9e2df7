"""Where a reference to an actor that is not here any more leads: every use says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import DiedError
from .reasons import Down, NeverLived
from .refs import UNSET, Ref, Unset

if TYPE_CHECKING:
    from ._runtime import Runtime


class Gone:
    """The target of such a reference."""

    def __init__(self, runtime: Runtime, ref: Ref) -> None:
        self._runtime = runtime
        self._down = Down(ref=ref, reason=NeverLived())

    def send(self, message: object) -> bool:
        self._runtime.dead_letters.add(self._down.ref.path, message, str(self._down.reason))
        return False

    async def call(self, message: object, *, timeout: float | Unset | None = UNSET, shielded: bool = False) -> object:
        raise DiedError(f"{self._down.ref.path} cannot answer {type(message).__name__}: {self._down.reason}")

    def stop(self, *, drain: bool = False) -> None:
        """It did already."""

    def kill(self) -> None:
        """It ended already."""

    def monitor(self) -> None:
        self._runtime.current_cell().take_down(self._down)

    def link(self) -> None:
        self._runtime.current_cell().take_exit(self._down)

    async def wait_down(self) -> Down:
        return self._down
