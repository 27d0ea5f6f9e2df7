"""`LocalFs`: the file system over a store. Where the keys are.

Every byte and name that it returns was verified; every change waits in memory for the next group, and groups reach the
store whole and in order. After a crash the tree is exactly some committed group. See `docs/spec/filesystem.md`.
"""

from __future__ import annotations

import os
import time
from types import TracebackType

from btlib.identity import Identity
from btlib.kinds import Kind

from ..domain import Volume
from ..errors import FsError
from ..provider import FileKind
from ..store import Store
from ._coherence import Coherence
from ._core import Clock, Random
from ._inode import Inode
from ._names import name_bytes
from ._pins import MemoryPins, Pins
from .options import FsOptions


class LocalFs(Coherence):
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
    ) -> None:
        """Verifies the way to the attach point. Raises FsError: NOT_FOUND, INTEGRITY, ROLLBACK, UNREACHABLE…"""
        super().__init__(store, identity, volume, options or FsOptions(), pins or MemoryPins(), clock, random)
        self.start_committer()
        self.start_locks()
        self.start_coherence()
        self.attached = self._attach()

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

    @property
    def root(self) -> int:
        return self.attached.number

    def shutdown(self) -> None:
        """Raises FsError where the last group could not be committed; it is lost then, and everything is released."""
        with self.mutex:
            if self.closed:
                return
        try:
            self.sync()
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
        self.pins.flush()

    def __enter__(self) -> LocalFs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
