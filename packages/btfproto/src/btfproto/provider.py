"""`FsProvider`: the file system as an interface. `LocalFs` implements it over a store, `FsClient` over a link.

Inodes are numbers that stay the same for as long as the object exists (the first eight bytes of its block id; never 0);
they are not the kernel's. Names are `str`, 1 to 255 bytes of UTF-8, without `/` and NUL, neither `.` nor `..`.
Permission bits are stored, not enforced: that is the kernel's task (`default_permissions`). Who may read and write at
all is decided by capabilities, before an inode is ever handed out.

All calls are synchronous and thread-safe, and raise `btfproto.errors.FsError` with a `Kind` and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec
from btserde import I64, U16, U32, U64

if TYPE_CHECKING:
    from btspeed import ReadTable


class FileKind(enum.IntEnum):
    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2
    FIFO = 3
    SOCKET = 4
    CHARACTER_DEVICE = 5
    BLOCK_DEVICE = 6


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """What `stat` tells. Times are nanoseconds since the epoch; `blocks` counts 512-byte units, as POSIX does."""

    inode: U64
    kind: FileKind
    mode: U16  #: permission bits, with set-id and sticky bits; no file type
    links: U32
    uid: U32
    gid: U32
    device: U64 = 0
    size: U64
    blocks: U64
    accessed: I64
    modified: I64
    changed: I64


class AttributeChanges(msgspec.Struct, frozen=True, kw_only=True):
    """For `setattr`; None leaves a value as it is. `changed` is set by the provider."""

    mode: U16 | None = None
    uid: U32 | None = None
    gid: U32 | None = None
    size: U64 | None = None
    accessed: I64 | None = None
    modified: I64 | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One name of a directory. `cookie` continues a listing after it; it stays valid while other names come and go."""

    name: str
    inode: U64
    kind: FileKind
    cookie: U64
    attributes: Attributes | None = None  #: filled by `readdir(…, plus=True)`


class Owner(msgspec.Struct, frozen=True):
    uid: U32
    gid: U32


class OpenFlags(enum.IntFlag):
    READ = 1
    WRITE = 2
    APPEND = 4
    TRUNCATE = 8
    EXCLUSIVE = 16  #: for `create`: fail where the name exists


class RenameFlags(enum.IntFlag):
    NONE = 0
    NO_REPLACE = 1
    EXCHANGE = 2


class AllocateMode(enum.IntEnum):
    ALLOCATE = 0  #: grow the size where needed
    KEEP_SIZE = 1
    PUNCH_HOLE = 2
    ZERO_RANGE = 3


class Seek(enum.IntEnum):
    DATA = 0
    HOLE = 1


class LockKind(enum.IntEnum):
    READ = 0
    WRITE = 1
    UNLOCK = 2


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A byte range of a file, `end` exclusive (2**63: to the end), and who asks. A `flock` is the whole range."""

    kind: LockKind
    start: U64 = 0
    end: U64 = 1 << 63
    owner: U64  #: the kernel's lock owner
    process: U32 = 0


class FileSystemStatus(msgspec.Struct, frozen=True, kw_only=True):
    """For `statfs`, in bytes and counts."""

    capacity: U64
    available: U64
    files: U64
    name_limit: U16 = 255
    read_only: bool = False


Inode = int
Handle = int


@runtime_checkable
class ReadsDirectly(Protocol):
    """A provider in this process that lets compiled code answer some reads, by inode number, without asking it."""

    @property
    def read_table(self) -> ReadTable | None:
        """What may be read so at this moment; the provider keeps it right. None where there is no such code."""
        ...


@runtime_checkable
class KeepsUnlinked(Protocol):
    """A provider that keeps a file beyond its last name in the call that removes it."""

    def unlink_keeping(self, parent: Inode, name: str) -> tuple[Inode, Handle | None] | None:
        """`unlink`. Where a file lost its last name: its inode, and a handle for reading and writing unless it has one.

        Raises what `unlink` raises.
        """
        ...


class FsProvider(Protocol):
    """The calls of a file system. `handle` comes from `open` or `create` and lives until `close`."""

    @property
    def root(self) -> Inode:
        """The inode of the directory that was attached."""
        ...

    def lookup(self, parent: Inode, name: str) -> Attributes: ...
    def getattr(self, inode: Inode) -> Attributes: ...
    def setattr(self, inode: Inode, changes: AttributeChanges) -> Attributes: ...
    def readlink(self, inode: Inode) -> str: ...
    def readdir(self, inode: Inode, cookie: int, limit: int, plus: bool = False) -> list[Entry]:
        """Up to `limit` entries after `cookie` (0: from the start), without `.` and `..`; [] at the end."""
        ...

    def create(self, parent: Inode, name: str, mode: int, owner: Owner, flags: OpenFlags) -> tuple[Attributes, Handle]:
        """Make (or, without EXCLUSIVE, open) a regular file, in one step."""
        ...

    def mkdir(self, parent: Inode, name: str, mode: int, owner: Owner) -> Attributes: ...
    def symlink(self, parent: Inode, name: str, target: str, owner: Owner) -> Attributes: ...
    def mknod(
        self, parent: Inode, name: str, kind: FileKind, mode: int, owner: Owner, device: int = 0
    ) -> Attributes: ...
    def link(self, inode: Inode, parent: Inode, name: str) -> Attributes: ...
    def unlink(self, parent: Inode, name: str) -> None: ...
    def rmdir(self, parent: Inode, name: str) -> None: ...
    def rename(
        self,
        parent: Inode,
        name: str,
        new_parent: Inode,
        new_name: str,
        flags: RenameFlags = RenameFlags.NONE,
    ) -> None: ...

    def open(self, inode: Inode, flags: OpenFlags) -> Handle: ...
    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end of the file."""
        ...

    def write(self, handle: Handle, offset: int, data: bytes | memoryview) -> int:
        """All of `data`, in memory; durable after `fsync`. With APPEND, `offset` is ignored."""
        ...

    def flush(self, handle: Handle) -> None:
        """A descriptor was closed: report earlier asynchronous failures of this file, if any."""
        ...

    def fsync(self, handle: Handle, data_only: bool = False) -> None:
        """Return when everything written so far (this file's content, size and name included) is durable."""
        ...

    def sync(self) -> None:
        """Commit everything that is dirty; return when durable."""
        ...

    def close(self, handle: Handle) -> None: ...
    def forget(self, inode: Inode) -> None:
        """The kernel holds no reference to this inode any more; a hint."""
        ...

    def fallocate(self, handle: Handle, mode: AllocateMode, offset: int, length: int) -> None: ...
    def seek(self, handle: Handle, offset: int, whence: Seek) -> int: ...
    def getxattr(self, inode: Inode, name: str) -> bytes: ...
    def setxattr(self, inode: Inode, name: str, value: bytes, create: bool = False, replace: bool = False) -> None: ...
    def listxattr(self, inode: Inode) -> list[str]: ...
    def removexattr(self, inode: Inode, name: str) -> None: ...
    def lock(self, handle: Handle, lock: Lock) -> None:
        """Set or release a lock without waiting; raises WOULD_BLOCK where another owner's lock conflicts."""
        ...

    def test_lock(self, handle: Handle, lock: Lock) -> Lock | None:
        """The first lock that conflicts, or None."""
        ...

    def statfs(self) -> FileSystemStatus: ...
    def changes(self) -> Sequence[Inode]:
        """Inodes changed by others since the last call (for invalidation); never waits."""
        ...

    def shutdown(self) -> None:
        """Commit, release leases, end background threads; idempotent. Later calls raise STALE."""
        ...
