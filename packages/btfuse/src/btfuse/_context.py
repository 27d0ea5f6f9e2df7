"""What all handlers of one mount share: the provider, the kernel's nodes, and how much the kernel may remember.

A *handler* answers one kind of request: it gets the unpacked header and the whole request buffer, and gives the body of
the answer, or None where there is none (yet). It raises `BlocktreeError` for what the provider refuses and `OSError`
for what only the kernel's interface knows. Request buffers are reused: whoever keeps bytes copies them.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from btfproto.provider import Attributes, FileKind, FsProvider, Owner, ReadsDirectly
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ._handles import InodeHandles
from ._nodes import Nodes
from ._protocol import BODY, ROOT_NODE, Opcode, pack_attributes, pack_entry, read_names

if TYPE_CHECKING:
    from btspeed import ReadTable

Head = tuple[int, int, int, int, int, int, int, int, int]  #: length, opcode, unique, node, uid, gid, pid, …
Answer = bytes | None  #: what follows the head of an answer; None: no answer, or given already
Handler = Callable[[Head, memoryview], Answer]
Handlers = Mapping[Opcode, Handler]

#: The kernel's answers stay valid until it changes the object itself: nobody else does. A day, because "for ever" would
#: hide a defect for ever.
EXCLUSIVE_SECONDS = 86_400
#: With other clients about, what the kernel remembers may be this old.
SHARED_SECONDS = 1

SET_ID = 0o6000
SET_UID = 0o4000
SET_GID = 0o2000
GROUP_EXECUTE = 0o010


class Symlinks(enum.Enum):
    """Which targets `readlink` gives away."""

    CONTAINED = "contained"  #: those inside the mount, and those that were made through this very mount
    AS_WRITTEN = "as-written"  #: all


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a mount behaves towards the kernel."""

    mountpoint: str
    shared: bool  #: others may change the tree while it is mounted
    symlinks: Symlinks = Symlinks.CONTAINED
    remote_locks: bool = False  #: locks are the provider's; else the kernel keeps them for this mount alone
    commit_on_close: bool = True  #: of a shared mount: others see a file when it is closed, not a little later
    write_back: bool = False  #: the kernel collects small writes

    @property
    def valid_seconds(self) -> int:
        return SHARED_SECONDS if self.shared else EXCLUSIVE_SECONDS


class Door(Protocol):
    """What answers for a name at the root that is in no directory (`_snapshot_door`)."""

    def enter(self) -> bytes: ...
    def close(self) -> None: ...


class Context:
    def __init__(self, provider: FsProvider, settings: Settings) -> None:
        self.provider = provider
        self.settings = settings
        self.valid = settings.valid_seconds
        self.nodes = Nodes(provider.root, self._forgotten)
        self.handles = InodeHandles(provider)  #: used only where the kernel sends no OPEN: `exclusive`
        self.exclusive = not settings.shared
        self.door: Door | None = None  #: to the snapshots, where there are any
        #: Files and directories seen with a set-id bit: few, so that the rest need not be asked at every write.
        self.set_id: set[int] = set()
        #: The data that the kernel keeps of a file in a shared mount: size and time of change when it was last opened.
        self.opened: dict[int, tuple[int, int]] = {}

    @property
    def read_table(self) -> ReadTable | None:
        """What compiled code may read: where the kernel opens by itself, a node says all about what is read."""
        provider = self.provider
        return provider.read_table if self.exclusive and isinstance(provider, ReadsDirectly) else None

    def _forgotten(self, inode: int) -> None:
        self.handles.drop(inode)
        self.set_id.discard(inode)
        self.opened.pop(inode, None)
        self.provider.forget(inode)

    def inode(self, head: Head) -> int:
        node = head[3]
        return self.nodes.root if node == ROOT_NODE else node

    def revive(self, inode: int) -> bool:
        """Have the provider load again what the kernel still holds: it bounds its memory, and then answers STALE.

        With all above it that was forgotten too. False where a name leads to nothing or to another object by now: then
        it is stale indeed.
        """
        lost, tried = [inode], {inode}
        while lost:
            place = self.nodes.place(lost[-1])
            if place is None:
                return False
            try:
                found = self.provider.lookup(*place).inode
            except BlocktreeError as error:
                if error.kind is not Kind.STALE or place[0] in tried:
                    return False
                lost.append(place[0])
                tried.add(place[0])
            else:
                if found != lost.pop():
                    return False
        return True

    def name(self, head: Head, buffer: memoryview, skip: int = 0) -> str:
        """The one name that follows `skip` bytes of a request's body."""
        return decode_name(bytes(buffer[BODY + skip : head[0] - 1]))

    def two_names(self, head: Head, buffer: memoryview, skip: int = 0) -> tuple[str, str]:
        first, second = read_names(bytes(buffer[BODY + skip : head[0]]), 2)
        return decode_name(first), decode_name(second)

    def entry(self, attributes: Attributes, parent: int, name: str) -> bytes:
        """Give the kernel a node."""
        self.nodes.hold(attributes.inode, parent, name)
        if attributes.mode & SET_ID:
            self.set_id.add(attributes.inode)
        return pack_entry(attributes, self.valid, self.valid)

    def attributes(self, attributes: Attributes) -> bytes:
        if attributes.mode & SET_ID:
            self.set_id.add(attributes.inode)
        return pack_attributes(attributes, self.valid)

    def owner(self, head: Head, parent: int) -> Owner:
        """Whose a new object is: the caller's, with the group of a set-gid directory."""
        if parent in self.set_id and (directory := self.provider.getattr(parent)).mode & SET_GID:
            return Owner(head[4], directory.gid)
        return Owner(head[4], head[5])

    def inherits_set_gid(self, parent: int) -> bool:
        if parent not in self.set_id:
            return False
        directory = self.provider.getattr(parent)
        return directory.kind is FileKind.DIRECTORY and bool(directory.mode & SET_GID)


def decode_name(name: bytes) -> str:
    """Names are UTF-8 everywhere; what is not has no place here (EILSEQ, as ext4 and others answer)."""
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "a name that is not UTF-8") from error


def surviving_mode(mode: int) -> int:
    """The mode after an unprivileged write or truncation: set-id bits go, as Linux has it."""
    mode &= ~SET_UID
    return mode & ~SET_GID if mode & GROUP_EXECUTE else mode
