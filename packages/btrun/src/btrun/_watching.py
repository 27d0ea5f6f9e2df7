"""Who is told of the end of an actor, and of whose ends an actor is told: monitors, links, and whoever waits.

Monitors and links are told of the end of each life, `wait_down` of the last one. What is told goes into the lane of
notices, ahead of all messages. An actor that ended for good is told nothing any more, and tells at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ._notices import ExitNotice
from ._states import State
from .reasons import Down, Reason
from .refs import Ref

if TYPE_CHECKING:
    from ._runtime import Runtime

Watcher: TypeAlias = Callable[[Down], None]


class Watched:
    """What a life has to do with other lives."""

    __slots__ = ("watchers", "watching")

    if TYPE_CHECKING:
        runtime: Runtime
        state: State
        ended: Reason

        @property
        def ref(self) -> Ref: ...

        def _notice(self, notice: ExitNotice | Down) -> None: ...

    watchers: list[Watcher] | None
    watching: list[tuple[Watched, Watcher]] | None

    def monitor(self) -> None:
        """See Ref.monitor."""
        observer = self.runtime.current_cell()
        observer.watch(self, observer.take_down)

    def link(self) -> None:
        """See Ref.link."""
        observer = self.runtime.current_cell()
        observer.watch(self, observer.take_exit)
        self.watch(observer, self.take_exit)

    def watch(self, target: Watched, watcher: Watcher) -> None:
        """Let `watcher`, one of this actor's, be told of the end of `target`."""
        if target.watchers is None or watcher not in target.watchers:
            self.watching = [*(self.watching or ()), (target, watcher)]
            target.add_watcher(watcher)

    def add_watcher(self, watcher: Watcher) -> None:
        """Tell it of the end of each life; at once if that was the last."""
        if self.state is State.ENDED:
            watcher(Down(ref=self.ref, reason=self.ended))
        else:
            self.watchers = [*(self.watchers or ()), watcher]

    def unwatch(self, watcher: Watcher) -> None:
        if self.watchers is not None and watcher in self.watchers:
            self.watchers.remove(watcher)

    def take_down(self, down: Down) -> None:
        """A monitored actor ended."""
        self._notice(down)

    def take_exit(self, down: Down) -> None:
        """A linked actor ended."""
        self._notice(ExitNotice(down))

    async def wait_down(self, *, last: bool = True) -> Down:
        """See Ref.wait_down. Not `last`: also of a life after which it is started anew."""
        wait = self.runtime.loop.make_wait()

        def watcher(down: Down) -> None:
            if not (last and down.restarting) and not wait.done():
                wait.set_result(down)

        self.add_watcher(watcher)
        try:
            down = await wait
        finally:
            self.unwatch(watcher)
        assert isinstance(down, Down)
        return down

    def unwatch_all(self) -> None:
        """It does not care any more."""
        for target, watcher in self.watching or ():
            target.unwatch(watcher)
        self.watching = None

    def _tell(self, down: Down) -> None:
        for watcher in list(self.watchers or ()):
            watcher(down)
