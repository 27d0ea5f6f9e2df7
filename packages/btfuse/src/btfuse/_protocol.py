"""The kernel's FUSE protocol, version 7, as structures and flags (`linux/fuse.h`).

    request   in-header 40 bytes | fixed part | names, each ended by NUL, or data
    answer    out-header 16 bytes | fixed part or data

Everything is in the byte order of the machine and at its natural alignment; the layouts below state every padding, so
that `=` (no alignment of its own) fits.

Pure: no descriptor is touched. `_session` reads and writes, the handlers answer.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

from btfproto.provider import Attributes

ROOT_NODE = 1
MAJOR = 7
#: The version that we answer with. It fixes the sizes of the structures below; what came later is used only by flags.
MINOR = 33
OLDEST_MINOR = 23  #: Linux 3.15: the first with the long init answer

IN_HEADER = struct.Struct("=IIQQIIIHH")  #: length, opcode, unique, node, uid, gid, pid, extension length, padding
OUT_HEADER = struct.Struct("=IiQ")  #: length, error (0 or negative), unique
BODY = IN_HEADER.size

INIT_IN = struct.Struct("=IIII")  #: major, minor, max_readahead, flags; since 7.36 more, which we need not
#: major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages, alignment
INIT_OUT = struct.Struct("=IIIIHHIIHH32x")
FORGET_IN = struct.Struct("=Q")
FORGET_ONE = struct.Struct("=QQ")
BATCH_FORGET_IN = struct.Struct("=II")  #: how many FORGET_ONE follow, unused
#: valid, padding, handle, size, lock owner, three times, three nanoseconds, mode, unused, uid, gid, unused
SETATTR_IN = struct.Struct("=IIQQQqqqIIIIIIII")
MKNOD_IN = struct.Struct("=IIII")  #: mode, device, umask, padding
MKDIR_IN = struct.Struct("=II")  #: mode, umask
RENAME_IN = struct.Struct("=Q")  #: new parent
RENAME2_IN = struct.Struct("=QII")  #: new parent, flags, padding
LINK_IN = struct.Struct("=Q")  #: node
OPEN_IN = struct.Struct("=II")  #: flags, open flags
OPEN_OUT = struct.Struct("=QIi")  #: handle, open flags, backing
CREATE_IN = struct.Struct("=IIII")  #: flags, mode, umask, open flags
RELEASE_IN = struct.Struct("=QIIQ")  #: handle, flags, release flags, lock owner
FLUSH_IN = struct.Struct("=QIIQ")  #: handle, unused, padding, lock owner
READ_IN = struct.Struct("=QQI")  #: handle, offset, size; then what we need not: read flags, lock owner, flags, padding
WRITE_IN = struct.Struct("=QQIIQII")  #: handle, offset, size, write flags, lock owner, flags, padding
WRITE_OUT = struct.Struct("=II")
STATFS_OUT = struct.Struct("=QQQQQIII28x")  #: blocks, free, available, files, free files, block size, name limit, unit
FSYNC_IN = struct.Struct("=QII")  #: handle, flags, padding
SETXATTR_IN = struct.Struct("=II")  #: size, flags
GETXATTR_IN = struct.Struct("=II")  #: size, padding
GETXATTR_OUT = struct.Struct("=II")
LOCK_IN = struct.Struct("=QQQQIIII")  #: handle, owner, start, end (inclusive), type, pid, flags, padding
LOCK_OUT = struct.Struct("=QQII")
ACCESS_IN = struct.Struct("=II")  #: what is asked for, as in access(2); padding
INTERRUPT_IN = struct.Struct("=Q")
FALLOCATE_IN = struct.Struct("=QQQII")  #: handle, offset, length, mode, padding
LSEEK_IN = struct.Struct("=QQII")  #: handle, offset, whence, padding
LSEEK_OUT = struct.Struct("=Q")
DIRENT = struct.Struct("=QQII")  #: inode, offset to go on at, name length, type; then the name, filled up to 8 bytes
INVALIDATE_INODE_OUT = struct.Struct("=Qqq")

_ATTR = "QQQqqqIIIIIIIIII"  # inode, size, blocks, 3 times, 3 nanoseconds, mode, links, uid, gid, rdev, blksize, flags
ATTR_OUT = struct.Struct("=QII" + _ATTR)  #: valid, nanoseconds, padding, attributes
ENTRY_OUT = struct.Struct("=QQQQII" + _ATTR)  #: node, generation, entry valid, attr valid, their nanoseconds

#: `st_blksize`: what tools take as a good size of a request.
BLOCK_SIZE = 128 * 1024
NANO = 1_000_000_000


class Opcode(enum.IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46


#: More than the highest opcode that Linux knows; larger ones are answered ENOSYS like every unknown one.
OPCODE_LIMIT = 64


class Init(enum.IntFlag):
    """Flags of the INIT exchange that we use."""

    ASYNC_READ = 1 << 0
    POSIX_LOCKS = 1 << 1
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    FLOCK_LOCKS = 1 << 10
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    WRITEBACK_CACHE = 1 << 16
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24
    #: Clearing set-id bits at a write is ours. Without it the kernel asks for `security.capability` at every write.
    HANDLE_KILLPRIV_V2 = 1 << 28


class SetAttr(enum.IntFlag):
    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8
    KILL_SUIDGID = 1 << 11


OPEN_KILL_SUIDGID = 1
WRITE_KILL_SUIDGID = 4
RELEASE_FLOCK_UNLOCK = 2
FSYNC_DATA_ONLY = 1
LOCK_IS_FLOCK = 1
FOPEN_KEEP_CACHE = 1 << 1
NOTIFY_INVALIDATE_INODE = 2

#: `FileKind` → the type bits of `st_mode`, in the order of the enumeration.
TYPE_BITS = (0o100000, 0o040000, 0o120000, 0o010000, 0o140000, 0o020000, 0o060000)


def pack_attributes(attributes: Attributes, valid: int) -> bytes:
    """The answer to GETATTR and SETATTR; the kernel may keep it for `valid` seconds."""
    a = attributes
    accessed, accessed_ns = divmod(a.accessed, NANO)
    modified, modified_ns = divmod(a.modified, NANO)
    changed, changed_ns = divmod(a.changed, NANO)
    return ATTR_OUT.pack(
        valid, 0, 0,
        a.inode, a.size, a.blocks, accessed, modified, changed, accessed_ns, modified_ns, changed_ns,
        TYPE_BITS[a.kind] | a.mode, a.links, a.uid, a.gid, a.device & 0xFFFFFFFF, BLOCK_SIZE, 0,
    )  # fmt: skip


def pack_entry(attributes: Attributes, entry_valid: int, attr_valid: int) -> bytes:
    """The answer to LOOKUP and to everything that makes a name."""
    a = attributes
    accessed, accessed_ns = divmod(a.accessed, NANO)
    modified, modified_ns = divmod(a.modified, NANO)
    changed, changed_ns = divmod(a.changed, NANO)
    return ENTRY_OUT.pack(
        a.inode, 0, entry_valid, attr_valid, 0, 0,
        a.inode, a.size, a.blocks, accessed, modified, changed, accessed_ns, modified_ns, changed_ns,
        TYPE_BITS[a.kind] | a.mode, a.links, a.uid, a.gid, a.device & 0xFFFFFFFF, BLOCK_SIZE, 0,
    )  # fmt: skip


def pack_absence(valid: int) -> bytes:
    """The answer to a LOOKUP of a name that does not exist, for the kernel to remember."""
    return ENTRY_OUT.pack(0, 0, valid, 0, 0, 0, *[0] * 16)


def pack_dirent(inode: int, offset: int, type_bits: int, name: bytes) -> bytes:
    """One entry of READDIR; `offset` is where a listing goes on after it."""
    return DIRENT.pack(inode, offset, len(name), type_bits >> 12) + name + bytes(-len(name) % 8)


def read_names(body: bytes, count: int) -> list[bytes]:
    """The names that end a request. Raises ValueError where the kernel's request is not as it should be."""
    names = body.split(b"\0")
    if len(names) < count + 1:
        raise ValueError(f"a request with {len(names) - 1} names instead of {count}")
    return names[:count]


def read_forgets(request: memoryview) -> Iterator[tuple[int, int]]:
    """The nodes of a BATCH_FORGET, header included, and how often each. Raises ValueError, before the first, where the
    kernel's request is not as it should be."""
    forgets = request[BODY + BATCH_FORGET_IN.size :]
    if len(forgets) % FORGET_ONE.size:
        raise ValueError(f"{len(forgets)} bytes of forgets, of {FORGET_ONE.size} bytes each")
    return FORGET_ONE.iter_unpack(forgets)
