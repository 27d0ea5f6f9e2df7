"""`LocalFs`: the file system over a store. Where the keys are.

Every byte and name that it returns was verified; every change waits in memory for the next group, and groups reach the
store whole and in order. After a crash the tree is exactly some committed group. See `docs/spec/filesystem.md`.
"""

from __future__ import annotations

import os
import time
from functools import partial
from types import TracebackType

from btlib.identity import Identity
from btlib.kinds import Kind

from ..domain import Volume
from ..errors import FsError
from ..provider import Attributes, Entry, FileKind, OpenFlags
from ..revocations import RevocationView
from ..store import Store
from ._core import Clock, Random
from ._inode import Inode
from ._keeper import Keeper, NoKeeper
from ._names import name_bytes
from ._pins import MemoryPins, Pins
from ._rescuing import Rescuing
from .options import FsOptions


class LocalFs(Rescuing):
    """Implements `FsProvider`. Thread-safe. Does not close the store or the pins that it was given.

    `clock` tells nanoseconds since the epoch, `random` gives secret random bytes. It must not be used across a fork.
    """

    def __init__(
        self,
        store: Store,
        identity: Identity,
        volume: Volume,
        *,
        options: FsOptions | None = None,
        pins: Pins | None = None,
        clock: Clock = time.time_ns,
        random: Random = os.urandom,
        revocations: RevocationView | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """`keeper` takes what cannot be committed. Verifies the way to the attach point.

        Raises FsError: NOT_FOUND, INTEGRITY, ROLLBACK, UNREACHABLE…
        """
        super().__init__(store, identity, volume, options or FsOptions(), pins or MemoryPins(), clock, random)
        self.start_committer()
        self.start_locks()
        self.start_reading()
        self.start_coherence(revocations or RevocationView(store, volume.root))
        self.attached = self._attach()
        self.start_rescuing(keeper or NoKeeper())
        self.start_leases()

    def _attach(self) -> Inode:
        inode = self.load_root()
        for name in self.volume.rest:
            tree = inode.directory
            record = tree.find(name_bytes(name), name) if tree is not None else None
            if record is None:
                kind = Kind.NOT_FOUND if tree is not None else Kind.NOT_DIRECTORY
                raise FsError(kind, f"{self.volume.attach_path} does not exist: there is no {name!r} in {inode.path}")
            inode = self.child(inode, name, record)
        if inode.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, f"{self.volume.attach_path} is no directory")
        return inode

    # Where others write too, reading begins with a question.

    def lookup(self, parent: int, name: str) -> Attributes:
        if not self.options.shared:
            return super().lookup(parent, name)
        call = partial(super().lookup, parent, name)
        if not self._may_be_old(parent):  # then nobody else could have made it: a create asks nothing of the server
            return self.retrying(call, Kind.STALE, Kind.INTEGRITY)
        self.refresh(self.options.fresh_seconds)
        return self.retrying(call, Kind.NOT_FOUND, Kind.STALE, Kind.INTEGRITY)

    def readdir(self, inode: int, cookie: int, limit: int, plus: bool = False) -> list[Entry]:
        call = partial(super().readdir, inode, cookie, limit, plus)
        if not self.options.shared:
            return call()
        if not cookie and self._may_be_old(inode):
            self.refresh()
        return self.retrying(call, Kind.INTEGRITY)

    def open(self, inode: int, flags: OpenFlags) -> int:
        if self.options.shared and self._may_be_old(inode):
            self.refresh()
        return super().open(inode, flags)

    def close(self, handle: int) -> None:
        super().close(handle)
        self.settle_locks()

    def read(self, handle: int, offset: int, size: int) -> bytes:
        if not self.options.shared:
            return super().read(handle, offset, size)
        return self.retrying(partial(super().read, handle, offset, size), Kind.INTEGRITY)

    def getattr(self, inode: int) -> Attributes:
        if self.options.shared and self._may_be_old(inode):
            self.refresh(self.options.fresh_seconds)
        return super().getattr(inode)

    def _may_be_old(self, number: int) -> bool:
        """Whether others could have changed an object since it was last heard of."""
        inode = self.table.get(number)
        return inode is not None and not self.holds(inode.store.scope)

    @property
    def root(self) -> int:
        return self.attached.number

    def shutdown(self) -> None:
        """Raises FsError where the last group could not be committed; its keeper has it then. All is released."""
        with self.mutex:
            if self.closed:
                return
        try:
            self.finish_rescues()
            self.sync()
            if not self.options.shared:  # else it was compared as events came
                self.store_pin.remember()
        except FsError as error:
            self.finish_rescues()
            raise self.keep_uncommitted(error) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Release everything without a commit, as a crash would; idempotent."""
        with self.mutex:
            self.closed = True
            self.table.clear()
            self.handles.clear()
            self.dirty.clear()
        self.stop_committer()
        self.finish_rescues()
        self.stop_reading()
        self.stop_leases()
        self.release_locks()
        self.pins.flush()

    def __enter__(self) -> LocalFs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
