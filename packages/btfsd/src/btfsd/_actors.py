"""The services as actors of a runtime: what starts, ends and shows each; what they say is in `btfproto`.

Their requests come through doors, as they are and many at once: on the wire nothing tells a service from one without a
runtime, and no message waits in a mailbox. A defect ends a life and with it what clients had there (sessions, leases),
as a server that is started anew does; the store itself stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio.to_thread
from btfproto.remote import CHANGES, FsServer, VolumeAttacher
from btfproto.store.remote import WATCH, StoreServer
from btrun import Actor, Ask, Reason, handle

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

GRACE = 600.0  #: seconds for the last commit: as long as `stop_seconds` may be, and that ends a stop before


class EndPolls(Ask[None], frozen=True):
    """The server is about to stop: answer all long polls now, and later ones at once."""


class StoreService(Actor):
    """The store, for end-to-end clients."""

    grace = GRACE

    def __init__(self, make: Callable[[], StoreServer]) -> None:
        self._server = make()
        self.answer(self._server.handle)
        self.answer(self._server.watch, below=WATCH)

    @handle
    def end_polls(self, message: EndPolls) -> None:
        self._server.drain()

    def figures(self) -> Mapping[str, int]:
        return self._server.figures()

    async def on_stop(self, reason: Reason) -> None:
        self._server.drain()
        await anyio.to_thread.run_sync(self._server.close)


class FileService(Actor):
    """Files, for thin clients."""

    grace = GRACE

    def __init__(
        self,
        make: Callable[[], tuple[FsServer, VolumeAttacher]],
        guard: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """`guard`: inside of it the volumes are shut down, which may fail where a disk is full."""
        self._server, self._attacher = make()
        self._guard = guard
        self.answer(self._server.handle)
        self.answer(self._server.changes, below=CHANGES)

    @handle
    def end_polls(self, message: EndPolls) -> None:
        self._server.drain()

    def figures(self) -> Mapping[str, int]:
        return self._server.figures()

    async def on_stop(self, reason: Reason) -> None:
        self._server.drain()
        await anyio.to_thread.run_sync(self._close)

    def _close(self) -> None:
        with self._guard(), ExitStack() as stack:
            stack.callback(self._attacher.close)
            stack.callback(self._server.close)
