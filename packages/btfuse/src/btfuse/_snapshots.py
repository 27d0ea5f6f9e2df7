"""`.snapshots`: a name at the root of a mount that is in no directory, below which each snapshot shows its files.

    mkdir .snapshots/NAME    makes a snapshot of what this mount and others have written
    rmdir .snapshots/NAME    deletes it; everything else below is refused (EROFS)

It is found by whoever asks for it, and never listed: a backup of the mount does not go into its own past. How requests
get here says `_snapshot_door`.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeVar

import msgspec
from btfproto.errors import FsError, StoreError
from btfproto.localfs import LocalFs
from btfproto.past import SnapshotKeeper
from btfproto.provider import (
    AllocateMode,
    AttributeChanges,
    Attributes,
    Entry,
    FileKind,
    FileSystemStatus,
    FsProvider,
    Lock,
    OpenFlags,
    Owner,
    RenameFlags,
    Seek,
)
from btlib.kinds import Kind

from ._namespace import SNAPSHOTS

NAME = SNAPSHOTS
T = TypeVar("T")
OPEN_PASTS = 16  #: snapshots that are looked into at a time, up to some 15 MB each; others are opened again
SEEN_SECONDS = 1.0  #: how long nobody asks whether a snapshot is there still, which another client may have deleted
NANO = 1_000_000_000


class _Place(NamedTuple):
    """An inode of one snapshot; 0: its root. The cursor tells it from another one that had the same name."""

    snapshot: str
    cursor: int
    inode: int

    @property
    def number(self) -> int:
        """Never 0 or the kernel's root, for all that matters."""
        data = struct.pack("<QQ", self.cursor, self.inode) + self.snapshot.encode()
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=b"btfuse snapshot").digest(), "little") | 2


@dataclass
class _Opened:
    """A snapshot that is looked into. `users`: requests that are under way in it, and handles that are open."""

    cursor: int
    fs: LocalFs
    seen: float = 0.0  # when it was there last
    users: int = 0
    is_over: bool = False  # deleted: whoever uses it last shuts it


class SnapshotTree:
    """An `FsProvider`: a directory of snapshots, below each its files. `root` is the directory itself. Thread-safe.

    Inodes are numbers made of the snapshot and the inode in it, so that they are the same after being forgotten.
    """

    def __init__(
        self, keeper: SnapshotKeeper, present: FsProvider, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keeper = keeper
        self._present = present
        self._clock = clock
        self._lock = threading.RLock()  # of the table of what is open; making one may take a while
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._places: dict[int, _Place] = {}
        self._handles: dict[int, tuple[_Opened, int]] = {}
        self._numbers = itertools.count(1)
        self._cookies: dict[tuple[str, int], int] = {}  # by name and cursor, in the order in which they were listed
        self._next_cookie = itertools.count(1)
        self.root = _Place(NAME, 0, 0).number

    def lookup(self, parent: int, name: str) -> Attributes:
        if parent == self.root:
            return self._snapshot_root(name)
        place = self._place(parent)
        with self._looking(place) as fs:
            return self._shown(place, fs.lookup(place.inode or fs.root, name))

    def getattr(self, inode: int) -> Attributes:
        if inode == self.root:
            return self._directory(self.root)
        place = self._place(inode)
        if not place.inode:
            self._find(place)
            return self._snapshot_root(place.snapshot)
        with self._looking(place) as fs:
            return self._shown(place, fs.getattr(place.inode))

    def readdir(self, inode: int, cookie: int, limit: int, plus: bool = False) -> list[Entry]:
        if inode == self.root:
            return [entry for entry in self._listed() if entry.cookie > cookie][:limit]
        place = self._place(inode)
        with self._looking(place) as fs:
            return [self._entry(place, entry) for entry in fs.readdir(place.inode or fs.root, cookie, limit, plus)]

    def readlink(self, inode: int) -> str:
        return self._act(inode, LocalFs.readlink)

    def getxattr(self, inode: int, name: str) -> bytes:
        if inode == self.root:
            raise FsError(Kind.NO_ATTRIBUTE, f"{NAME} has no attribute {name!r}")
        return self._act(inode, lambda fs, inner: fs.getxattr(inner, name))

    def listxattr(self, inode: int) -> list[str]:
        return self._act(inode, LocalFs.listxattr) if inode != self.root else []

    def open(self, inode: int, flags: OpenFlags) -> int:
        place = self._place(inode)
        opened = self._use(place)
        try:
            handle = opened.fs.open(place.inode, flags)
        except BaseException:
            self._let_go(opened)
            raise
        number = next(self._numbers)
        self._handles[number] = opened, handle
        return number

    def read(self, handle: int, offset: int, size: int) -> bytes:
        opened, inner = self._handle(handle)
        return opened.fs.read(inner, offset, size)

    def seek(self, handle: int, offset: int, whence: Seek) -> int:
        opened, inner = self._handle(handle)
        return opened.fs.seek(inner, offset, whence)

    def close(self, handle: int) -> None:
        opened, inner = self._handle(handle)
        del self._handles[handle]
        try:
            opened.fs.close(inner)
        finally:
            self._let_go(opened)

    def mkdir(self, parent: int, name: str, mode: int, owner: Owner) -> Attributes:
        """Make a snapshot, in the directory of them."""
        if parent != self.root:
            self._refuse()
        self._present.sync()
        self._stored(lambda: self._keeper.create(name))
        return self._snapshot_root(name)

    def rmdir(self, parent: int, name: str) -> None:
        """Delete one."""
        if parent != self.root:
            self._refuse()
        self._stored(lambda: self._keeper.delete(name))
        self._close(name)

    def statfs(self) -> FileSystemStatus:
        return msgspec.structs.replace(self._present.statfs(), read_only=True)

    def forget(self, inode: int) -> None:
        place = self._places.pop(inode, None)
        if place is None or not place.inode:
            return
        opened = self._opened.get(place.snapshot)
        if opened is not None and opened.cursor == place.cursor:
            opened.fs.forget(place.inode)

    def changes(self) -> Sequence[int]:
        return []

    def flush(self, handle: int) -> None:
        """Nothing was written."""

    def fsync(self, handle: int, data_only: bool = False) -> None:
        """Nothing was written."""

    def sync(self) -> None:
        """Nothing was written."""

    def lock(self, handle: int, lock: Lock) -> None:
        """Nobody changes anything: nothing to keep others from."""

    def test_lock(self, handle: int, lock: Lock) -> Lock | None:
        return None

    def shutdown(self) -> None:
        for name in list(self._opened):
            self._close(name)
        for handle in list(self._handles):
            self.close(handle)

    def setattr(self, inode: int, changes: AttributeChanges) -> Attributes:
        self._refuse()

    def create(self, parent: int, name: str, mode: int, owner: Owner, flags: OpenFlags) -> tuple[Attributes, int]:
        self._refuse()

    def symlink(self, parent: int, name: str, target: str, owner: Owner) -> Attributes:
        self._refuse()

    def mknod(self, parent: int, name: str, kind: FileKind, mode: int, owner: Owner, device: int = 0) -> Attributes:
        self._refuse()

    def link(self, inode: int, parent: int, name: str) -> Attributes:
        self._refuse()

    def unlink(self, parent: int, name: str) -> None:
        self._refuse()

    def rename(
        self, parent: int, name: str, new_parent: int, new_name: str, flags: RenameFlags = RenameFlags.NONE
    ) -> None:
        self._refuse()

    def write(self, handle: int, offset: int, data: bytes | memoryview) -> int:
        self._refuse()

    def fallocate(self, handle: int, mode: AllocateMode, offset: int, length: int) -> None:
        self._refuse()

    def setxattr(self, inode: int, name: str, value: bytes, create: bool = False, replace: bool = False) -> None:
        self._refuse()

    def removexattr(self, inode: int, name: str) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise FsError(Kind.READ_ONLY, "a snapshot cannot be changed")

    def _listed(self) -> list[Entry]:
        """All of now. A cookie stays that of its snapshot, whatever is made or deleted meanwhile."""
        found = self._stored(self._keeper.all)
        with self._lock:
            known = self._cookies
            self._cookies = {
                (one.name, one.cursor): known.get((one.name, one.cursor)) or next(self._next_cookie) for one in found
            }
            numbered = sorted(self._cookies.items(), key=lambda item: item[1])
        return [
            Entry(name=name, inode=_Place(name, cursor, 0).number, kind=FileKind.DIRECTORY, cookie=cookie)
            for (name, cursor), cookie in numbered
        ]

    def _act(self, inode: int, act: Callable[[LocalFs, int], T]) -> T:
        place = self._place(inode)
        with self._looking(place) as fs:
            return act(fs, place.inode or fs.root)

    def _stored(self, act: Callable[[], T]) -> T:
        """What the store refuses, as a file system refuses it."""
        try:
            return act()
        except StoreError as error:
            raise FsError(error.kind, error.message, error.hint) from error

    def _snapshot_root(self, name: str) -> Attributes:
        """Without looking into it: who lists many does not open all."""
        snapshot = self._stored(lambda: self._keeper.find(name))
        place = _Place(name, snapshot.cursor, 0)
        self._places[place.number] = place
        moment = snapshot.taken * NANO
        return msgspec.structs.replace(self._directory(place.number), accessed=moment, modified=moment, changed=moment)

    def _directory(self, number: int) -> Attributes:
        return msgspec.structs.replace(self._present.getattr(self._present.root), inode=number, links=2)

    def _shown(self, beside: _Place, attributes: Attributes) -> Attributes:
        place = beside._replace(inode=attributes.inode)
        number = place.number
        self._places[number] = place
        return msgspec.structs.replace(attributes, inode=number)

    def _entry(self, beside: _Place, entry: Entry) -> Entry:
        shown = None if entry.attributes is None else self._shown(beside, entry.attributes)
        return msgspec.structs.replace(entry, inode=beside._replace(inode=entry.inode).number, attributes=shown)

    def _place(self, inode: int) -> _Place:
        place = self._places.get(inode)
        if place is None:
            raise FsError(Kind.STALE, f"inode {inode} of {NAME} is not known any more")
        return place

    def _handle(self, handle: int) -> tuple[_Opened, int]:
        found = self._handles.get(handle)
        if found is None:
            raise FsError(Kind.STALE, f"handle {handle} of {NAME} is not open")
        return found

    @contextmanager
    def _looking(self, place: _Place) -> Iterator[LocalFs]:
        opened = self._use(place)
        try:
            yield opened.fs
        finally:
            self._let_go(opened)

    def _use(self, place: _Place) -> _Opened:
        """Its snapshot, open until `_let_go`."""
        with self._lock:
            now, opened = self._clock(), self._opened.get(place.snapshot)
            if opened is None or opened.cursor != place.cursor or now - opened.seen >= SEEN_SECONDS:
                self._find(place)
                if opened is None or opened.cursor != place.cursor:
                    opened = self._look_into(place)
                opened.seen = now
            self._opened.move_to_end(place.snapshot)
            opened.users += 1
            return opened

    def _look_into(self, place: _Place) -> _Opened:
        self._close(place.snapshot)
        self._shut_idle()
        opened = _Opened(place.cursor, self._stored(lambda: self._keeper.files(place.snapshot)))
        self._opened[place.snapshot] = opened
        return opened

    def _find(self, place: _Place) -> None:
        """Whether its snapshot is there still. Raises FsError (NOT_FOUND, STALE)."""
        try:
            found = self._stored(lambda: self._keeper.find(place.snapshot))
        except FsError as error:
            if error.kind is Kind.NOT_FOUND:
                self._close(place.snapshot)
            raise
        if found.cursor != place.cursor:
            raise FsError(Kind.STALE, f"the snapshot {place.snapshot} was deleted, and another one has its name")

    def _let_go(self, opened: _Opened) -> None:
        with self._lock:
            opened.users -= 1
            is_last = opened.is_over and not opened.users
        if is_last:
            opened.fs.shutdown()

    def _shut_idle(self) -> None:
        """Make room for one more, where somebody uses fewer than all."""
        idle = [name for name, opened in self._opened.items() if not opened.users]
        for name in idle[: max(0, len(self._opened) + 1 - OPEN_PASTS)]:
            self._close(name)

    def _close(self, name: str) -> None:
        with self._lock:
            opened = self._opened.pop(name, None)
            if opened is None:
                return
            opened.is_over = True
            is_idle = not opened.users
        if is_idle:
            opened.fs.shutdown()
