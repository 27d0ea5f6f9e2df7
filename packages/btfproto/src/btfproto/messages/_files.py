"""Requests to a file server and their replies, one pair a method of `FsProvider`, and the attaching of a session.

A request travels in an `FsCall` as the body of one call to `<server path>/fs` (`Changes`: `<server path>/fs/changes`).
Inodes and handles are those of the session that the call names. Names, targets and sizes are limited at both ends; the
constants below are the limits. Tags are part of the wire format: add at the end, never renumber.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from btserde import U16, U32, U64, Fixed, View

from btfproto.provider import (
    AllocateMode,
    AttributeChanges,
    Attributes,
    Entry,
    FileKind,
    FileSystemStatus,
    Lock,
    Owner,
    Seek,
)

from ._failure import Failed

MAX_IO = 1 << 20  #: bytes of one read or write: what the kernel asks for at once
MAX_ENTRIES = 4096  #: entries of one listing
MAX_TARGET = 4095  #: bytes of a symlink's target, as in POSIX (PATH_MAX without the NUL)
MAX_XATTR_NAME = 255
MAX_XATTR_VALUE = 65_536
MAX_XATTRS = 4096  #: names of one listing
MAX_CHANGED = 65_536  #: inodes of one `Changed` reply; more means "drop all that you cached"
MAX_CHANGES_MILLISECONDS = 60_000

SessionId = Annotated[bytes, Fixed[16]]
NO_SESSION = bytes(16)  #: the session of an `Attach`


class Attach(msgspec.Struct, frozen=True, kw_only=True, tag=1):
    """Opens a session at a directory. It belongs to the principals of this link, and outlives the link for a while."""

    path: str
    read_only: bool = False


class Detach(msgspec.Struct, frozen=True, tag=2):
    """Ends the session: commits, closes its handles, releases its locks."""


class Lookup(msgspec.Struct, frozen=True, kw_only=True, tag=3):
    parent: U64
    name: str


class GetAttributes(msgspec.Struct, frozen=True, kw_only=True, tag=4):
    inode: U64


class SetAttributes(msgspec.Struct, frozen=True, kw_only=True, tag=5):
    inode: U64
    changes: AttributeChanges


class ReadLink(msgspec.Struct, frozen=True, kw_only=True, tag=6):
    inode: U64


class ReadDirectory(msgspec.Struct, frozen=True, kw_only=True, tag=7):
    inode: U64
    cookie: U64
    limit: U32
    plus: bool


class Create(msgspec.Struct, frozen=True, kw_only=True, tag=8):
    parent: U64
    name: str
    mode: U16
    owner: Owner
    flags: U32  #: `OpenFlags`


class MakeDirectory(msgspec.Struct, frozen=True, kw_only=True, tag=9):
    parent: U64
    name: str
    mode: U16
    owner: Owner


class MakeSymlink(msgspec.Struct, frozen=True, kw_only=True, tag=10):
    parent: U64
    name: str
    target: str
    owner: Owner


class MakeNode(msgspec.Struct, frozen=True, kw_only=True, tag=11):
    parent: U64
    name: str
    kind: FileKind
    mode: U16
    owner: Owner
    device: U64


class MakeLink(msgspec.Struct, frozen=True, kw_only=True, tag=12):
    inode: U64
    parent: U64
    name: str


class Unlink(msgspec.Struct, frozen=True, kw_only=True, tag=13):
    parent: U64
    name: str


class RemoveDirectory(msgspec.Struct, frozen=True, kw_only=True, tag=14):
    parent: U64
    name: str


class Rename(msgspec.Struct, frozen=True, kw_only=True, tag=15):
    parent: U64
    name: str
    new_parent: U64
    new_name: str
    flags: U32  #: `RenameFlags`


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=16):
    inode: U64
    flags: U32  #: `OpenFlags`


class Read(msgspec.Struct, frozen=True, kw_only=True, tag=17):
    handle: U64
    offset: U64
    size: U32


class Write(msgspec.Struct, frozen=True, kw_only=True, tag=18):
    handle: U64
    offset: U64
    data: View


class Flush(msgspec.Struct, frozen=True, kw_only=True, tag=19):
    handle: U64


class FSync(msgspec.Struct, frozen=True, kw_only=True, tag=20):
    handle: U64
    data_only: bool


class Sync(msgspec.Struct, frozen=True, tag=21):
    pass


class Close(msgspec.Struct, frozen=True, kw_only=True, tag=22):
    handle: U64


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag=23):
    inodes: list[U64]


class Allocate(msgspec.Struct, frozen=True, kw_only=True, tag=24):
    handle: U64
    mode: AllocateMode
    offset: U64
    length: U64


class SeekTo(msgspec.Struct, frozen=True, kw_only=True, tag=25):
    handle: U64
    offset: U64
    whence: Seek


class GetXattr(msgspec.Struct, frozen=True, kw_only=True, tag=26):
    inode: U64
    name: str


class SetXattr(msgspec.Struct, frozen=True, kw_only=True, tag=27):
    inode: U64
    name: str
    value: bytes
    create: bool
    replace: bool


class ListXattrs(msgspec.Struct, frozen=True, kw_only=True, tag=28):
    inode: U64


class RemoveXattr(msgspec.Struct, frozen=True, kw_only=True, tag=29):
    inode: U64
    name: str


class SetLock(msgspec.Struct, frozen=True, kw_only=True, tag=30):
    handle: U64
    lock: Lock


class TestLock(msgspec.Struct, frozen=True, kw_only=True, tag=31):
    handle: U64
    lock: Lock


class GetFileSystem(msgspec.Struct, frozen=True, tag=32):
    pass


class Changes(msgspec.Struct, frozen=True, kw_only=True, tag=33):
    """A long poll: answered when others changed something, at the latest after `milliseconds`."""

    milliseconds: U32


FsRequest = (
    Attach
    | Detach
    | Lookup
    | GetAttributes
    | SetAttributes
    | ReadLink
    | ReadDirectory
    | Create
    | MakeDirectory
    | MakeSymlink
    | MakeNode
    | MakeLink
    | Unlink
    | RemoveDirectory
    | Rename
    | Open
    | Read
    | Write
    | Flush
    | FSync
    | Sync
    | Close
    | Forget
    | Allocate
    | SeekTo
    | GetXattr
    | SetXattr
    | ListXattrs
    | RemoveXattr
    | SetLock
    | TestLock
    | GetFileSystem
    | Changes
)


class FsCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request in a session. `number` is the client's and unique in it: a repetition is answered, not redone."""

    session: SessionId
    number: U64
    request: FsRequest


class Attached(msgspec.Struct, frozen=True, kw_only=True, tag=1):
    """The session, its root, and whether it may write; if not although it was asked for, `why` says why."""

    session: SessionId
    root: Attributes
    writable: bool
    why: str | None = None


class Done(msgspec.Struct, frozen=True, tag=2):
    """There is nothing to tell but that it is done."""


class Attributed(msgspec.Struct, frozen=True, kw_only=True, tag=3):
    attributes: Attributes


class Linked(msgspec.Struct, frozen=True, kw_only=True, tag=4):
    """The target of a symlink."""

    target: str


class Listed(msgspec.Struct, frozen=True, kw_only=True, tag=5):
    entries: list[Entry]


class Created(msgspec.Struct, frozen=True, kw_only=True, tag=6):
    attributes: Attributes
    handle: U64


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag=7):
    handle: U64


class Data(msgspec.Struct, frozen=True, kw_only=True, tag=8):
    data: View


class Number(msgspec.Struct, frozen=True, kw_only=True, tag=9):
    """Bytes written, or the position found by a seek."""

    value: U64


class Xattr(msgspec.Struct, frozen=True, kw_only=True, tag=10):
    value: bytes


class XattrNames(msgspec.Struct, frozen=True, kw_only=True, tag=11):
    names: list[str]


class LockFound(msgspec.Struct, frozen=True, kw_only=True, tag=12):
    lock: Lock | None


class FileSystem(msgspec.Struct, frozen=True, kw_only=True, tag=13):
    status: FileSystemStatus


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag=14):
    """Inodes that others changed. With `lost`, some are missing from the list: drop all that is cached."""

    inodes: list[U64]
    lost: bool = False


class NoSession(msgspec.Struct, frozen=True, tag=15):
    """The server does not know the session: it ended, or the server was started anew. Attach again."""


FsReply = (
    Attached
    | Done
    | Attributed
    | Linked
    | Listed
    | Created
    | Opened
    | Data
    | Number
    | Xattr
    | XattrNames
    | LockFound
    | FileSystem
    | Changed
    | NoSession
    | Failed
)
