"""The door to `.snapshots`: which requests of a session go to the past, from the first look at that name on.

Until somebody asks, no request takes a step more than without it. From then on each one is looked at: whether its node
is one of the past. These have handlers of their own, over `SnapshotTree`.
"""

from __future__ import annotations

import errno
import struct
import threading
from collections.abc import Callable

from btfproto.past import SnapshotKeeper
from btfproto.provider import FsProvider
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ._context import Context, Handler, Handlers, Head
from ._handles import InodeHandles
from ._namespace import SNAPSHOTS
from ._protocol import BODY, ROOT_NODE, Opcode, read_forgets
from ._snapshots import OPEN_PASTS, SnapshotTree

IDLE_FILES = OPEN_PASTS // 2  #: that stay open where the kernel closes none, each perhaps in a snapshot of its own
_NODE = struct.Struct("=Q")  # what begins the bodies of RENAME, RENAME2 and LINK: a second node
_SECOND_NODE = {Opcode.RENAME: errno.EROFS, Opcode.RENAME2: errno.EROFS, Opcode.LINK: errno.EXDEV}


class PastHandles(InodeHandles):
    """Nothing goes from a snapshot: no file has to be kept before its name does."""

    def __init__(self, provider: FsProvider) -> None:
        super().__init__(provider, IDLE_FILES)

    def keep_before_loss(self, parent: int, name: str) -> None:
        pass


class SnapshotDoor:
    """Leads requests of one session to the past. `enter` answers the look-up of the name, and opens the door."""

    def __init__(
        self,
        context: Context,
        keeper: SnapshotKeeper,
        present: list[Handler | None],
        make_handlers: Callable[[Context], Handlers],
    ) -> None:
        """`present`: the session's handlers by opcode, which are replaced at the first `enter`."""
        self.tree = SnapshotTree(keeper, context.provider)
        self._context = Context(self.tree, context.settings)
        self._context.handles = PastHandles(self.tree)
        self._present_context = context
        self._present = present
        self._make_handlers = make_handlers
        self._lock = threading.Lock()
        self._is_open = False

    def enter(self) -> bytes:
        with self._lock:
            if not self._is_open:
                self._open()
        attributes = self.tree.getattr(self.tree.root)
        return self._context.entry(attributes, self._present_context.nodes.root, SNAPSHOTS)

    def close(self) -> None:
        self.tree.shutdown()

    def _open(self) -> None:
        for opcode, past in self._make_handlers(self._context).items():
            present = self._present[opcode]
            if present is not None:
                self._present[opcode] = self._either(opcode, present, past)
        self._present[Opcode.BATCH_FORGET] = self._forget
        self._is_open = True

    def _either(self, opcode: Opcode, present: Handler, past: Handler) -> Handler:
        holds, second = self._holds, _SECOND_NODE.get(opcode)

        def choose(head: Head, buffer: memoryview) -> bytes | None:
            if holds(head[3]):
                return self._ask_past(past, head, buffer)
            if second is not None and holds(_NODE.unpack_from(buffer, BODY)[0]):
                raise OSError(second, "from or into a snapshot")
            return present(head, buffer)

        return choose

    def _holds(self, node: int) -> bool:
        """Whether the kernel has a node from here. (The tree itself may have forgotten it: see `_ask_past`.)"""
        return self._context.nodes.place(node) is not None

    def _ask_past(self, past: Handler, head: Head, buffer: memoryview) -> bytes | None:
        """Once more, where the tree was told to forget a node that another look-up gave to the kernel meanwhile."""
        try:
            return past(head, buffer)
        except BlocktreeError as error:
            if error.kind is not Kind.STALE or not self._context.revive(head[3]):
                raise
        return past(head, buffer)

    def _forget(self, head: Head, buffer: memoryview) -> None:
        for node, count in read_forgets(buffer[: head[0]]):
            if node != ROOT_NODE:
                context = self._context if self._holds(node) else self._present_context
                context.nodes.drop(node, count)
