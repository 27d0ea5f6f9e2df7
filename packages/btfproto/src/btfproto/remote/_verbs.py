"""What each file request does in a session: one small function a verb, and two tables.

Everything that a client sends is checked here (names, sizes, flags, inodes, handles, rights) before a provider sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from btlib.kinds import Kind
from btlib.paths import MAX_NAME_BYTES, check_name

from btfproto.errors import FsError
from btfproto.messages import files
from btfproto.provider import Attributes, LockKind, OpenFlags, RenameFlags

from ._session import Session

MAX_OFFSET = (1 << 63) - 1  #: what a file offset holds
MODE_BITS = 0o7777
_WRITING = OpenFlags.WRITE | OpenFlags.APPEND | OpenFlags.TRUNCATE
_OPEN_FLAGS = sum(OpenFlags)
_RENAME_FLAGS = sum(RenameFlags)

Request = TypeVar("Request", bound=msgspec.Struct)
Verb = Callable[[Session, Request], files.FsReply]

DONE = files.Done()


def lookup(session: Session, request: files.Lookup) -> files.FsReply:
    return _given(session, session.provider.lookup(session.inode(request.parent), _name(request.name)))


def get_attributes(session: Session, request: files.GetAttributes) -> files.FsReply:
    return files.Attributed(attributes=session.provider.getattr(session.inode(request.inode)))


def set_attributes(session: Session, request: files.SetAttributes) -> files.FsReply:
    inode, changes = session.inode(request.inode), request.changes
    if changes.mode is not None:
        _mode(changes.mode)
    if changes.size is not None:
        _offset(changes.size)
    attributes = session.provider.setattr(inode, changes)
    _tell(session, inode)
    return files.Attributed(attributes=attributes)


def read_link(session: Session, request: files.ReadLink) -> files.FsReply:
    return files.Linked(target=session.provider.readlink(session.inode(request.inode)))


def read_directory(session: Session, request: files.ReadDirectory) -> files.FsReply:
    limit = min(max(request.limit, 1), files.MAX_ENTRIES)
    entries = session.provider.readdir(session.inode(request.inode), request.cookie, limit, request.plus)
    session.give_listed(entry.inode for entry in entries if entry.attributes is None)
    for entry in entries:
        if entry.attributes is not None:
            session.give(entry.inode)
    return files.Listed(entries=entries)


def create(session: Session, request: files.Create) -> files.FsReply:
    parent = session.inode(request.parent)
    attributes, handle = session.provider.create(
        parent, _name(request.name), _mode(request.mode), request.owner, _flags(request.flags)
    )
    number = session.opened(handle, attributes.inode)
    session.give(attributes.inode)
    _tell(session, parent)
    return files.Created(attributes=attributes, handle=number)


def make_directory(session: Session, request: files.MakeDirectory) -> files.FsReply:
    parent = session.inode(request.parent)
    made = session.provider.mkdir(parent, _name(request.name), _mode(request.mode), request.owner)
    return _made(session, parent, made)


def make_symlink(session: Session, request: files.MakeSymlink) -> files.FsReply:
    parent = session.inode(request.parent)
    if not 1 <= len(request.target.encode()) <= files.MAX_TARGET or "\0" in request.target:
        raise FsError(Kind.NAME_TOO_LONG, f"the target of a symlink has 1 to {files.MAX_TARGET} bytes and no NUL")
    made = session.provider.symlink(parent, _name(request.name), request.target, request.owner)
    return _made(session, parent, made)


def make_node(session: Session, request: files.MakeNode) -> files.FsReply:
    parent = session.inode(request.parent)
    made = session.provider.mknod(
        parent, _name(request.name), request.kind, _mode(request.mode), request.owner, request.device
    )
    return _made(session, parent, made)


def make_link(session: Session, request: files.MakeLink) -> files.FsReply:
    inode, parent = session.inode(request.inode), session.inode(request.parent)
    made = session.provider.link(inode, parent, _name(request.name))
    _tell(session, inode)
    return _made(session, parent, made)


def unlink(session: Session, request: files.Unlink) -> files.FsReply:
    parent = session.inode(request.parent)
    session.provider.unlink(parent, _name(request.name))
    _tell(session, parent)
    return DONE


def remove_directory(session: Session, request: files.RemoveDirectory) -> files.FsReply:
    parent = session.inode(request.parent)
    session.provider.rmdir(parent, _name(request.name))
    _tell(session, parent)
    return DONE


def rename(session: Session, request: files.Rename) -> files.FsReply:
    parent, new_parent = session.inode(request.parent), session.inode(request.new_parent)
    if request.flags & ~_RENAME_FLAGS:
        raise FsError(Kind.INVALID, f"rename has no flags {request.flags:#x}")
    session.provider.rename(
        parent, _name(request.name), new_parent, _name(request.new_name), RenameFlags(request.flags)
    )
    _tell(session, parent, new_parent)
    return DONE


def open_file(session: Session, request: files.Open) -> files.FsReply:
    inode, flags = session.inode(request.inode), _flags(request.flags)
    handle = session.opened(session.provider.open(inode, flags), inode)
    if flags & OpenFlags.TRUNCATE:
        _tell(session, inode)
    return files.Opened(handle=handle)


def read(session: Session, request: files.Read) -> files.FsReply:
    handle = session.file(request.handle).handle
    _size(request.size)
    return files.Data(data=session.provider.read(handle, _offset(request.offset), request.size))


def write(session: Session, request: files.Write) -> files.FsReply:
    file = session.file(request.handle)
    _size(len(request.data))
    count = session.provider.write(file.handle, _offset(request.offset), request.data)
    _tell(session, file.inode)
    return files.Number(value=count)


def flush(session: Session, request: files.Flush) -> files.FsReply:
    session.provider.flush(session.file(request.handle).handle)
    return DONE


def fsync(session: Session, request: files.FSync) -> files.FsReply:
    session.provider.fsync(session.file(request.handle).handle, request.data_only)
    return DONE


def sync(session: Session, request: files.Sync) -> files.FsReply:
    session.provider.sync()
    return DONE


def close(session: Session, request: files.Close) -> files.FsReply:
    session.provider.close(session.closed(request.handle).handle)
    return DONE


def forget(session: Session, request: files.Forget) -> files.FsReply:
    session.forget(request.inodes)
    return DONE


def allocate(session: Session, request: files.Allocate) -> files.FsReply:
    file = session.file(request.handle)
    _offset(request.offset + request.length)
    session.provider.fallocate(file.handle, request.mode, request.offset, request.length)
    _tell(session, file.inode)
    return DONE


def seek_to(session: Session, request: files.SeekTo) -> files.FsReply:
    handle = session.file(request.handle).handle
    return files.Number(value=session.provider.seek(handle, _offset(request.offset), request.whence))


def get_xattr(session: Session, request: files.GetXattr) -> files.FsReply:
    return files.Xattr(value=session.provider.getxattr(session.inode(request.inode), _xattr(request.name)))


def set_xattr(session: Session, request: files.SetXattr) -> files.FsReply:
    inode = session.inode(request.inode)
    if len(request.value) > files.MAX_XATTR_VALUE:
        raise FsError(Kind.NO_SPACE, f"an extended attribute has at most {files.MAX_XATTR_VALUE} bytes")
    session.provider.setxattr(inode, _xattr(request.name), request.value, request.create, request.replace)
    _tell(session, inode)
    return DONE


def list_xattrs(session: Session, request: files.ListXattrs) -> files.FsReply:
    return files.XattrNames(names=session.provider.listxattr(session.inode(request.inode)))


def remove_xattr(session: Session, request: files.RemoveXattr) -> files.FsReply:
    inode = session.inode(request.inode)
    session.provider.removexattr(inode, _xattr(request.name))
    _tell(session, inode)
    return DONE


def set_lock(session: Session, request: files.SetLock) -> files.FsReply:
    lock = msgspec.structs.replace(request.lock, owner=session.lock_owner(request.lock.owner))
    handle = session.file(request.handle).handle
    if lock.kind is not LockKind.UNLOCK:
        session.note_lock(request.handle, lock)
    session.provider.lock(handle, lock)
    if lock.kind is LockKind.UNLOCK:
        session.note_lock(request.handle, lock)
    return DONE


def test_lock(session: Session, request: files.TestLock) -> files.FsReply:
    lock = msgspec.structs.replace(request.lock, owner=session.lock_owner(request.lock.owner))
    return files.LockFound(lock=session.provider.test_lock(session.file(request.handle).handle, lock))


def get_file_system(session: Session, request: files.GetFileSystem) -> files.FsReply:
    status = session.provider.statfs()
    return files.FileSystem(
        status=msgspec.structs.replace(status, read_only=status.read_only or not session.attachment.writable)
    )


VERBS: dict[type, Verb[Any]] = {
    files.Lookup: lookup,
    files.GetAttributes: get_attributes,
    files.SetAttributes: set_attributes,
    files.ReadLink: read_link,
    files.ReadDirectory: read_directory,
    files.Create: create,
    files.MakeDirectory: make_directory,
    files.MakeSymlink: make_symlink,
    files.MakeNode: make_node,
    files.MakeLink: make_link,
    files.Unlink: unlink,
    files.RemoveDirectory: remove_directory,
    files.Rename: rename,
    files.Open: open_file,
    files.Read: read,
    files.Write: write,
    files.Flush: flush,
    files.FSync: fsync,
    files.Sync: sync,
    files.Close: close,
    files.Forget: forget,
    files.Allocate: allocate,
    files.SeekTo: seek_to,
    files.GetXattr: get_xattr,
    files.SetXattr: set_xattr,
    files.ListXattrs: list_xattrs,
    files.RemoveXattr: remove_xattr,
    files.SetLock: set_lock,
    files.TestLock: test_lock,
    files.GetFileSystem: get_file_system,
}

#: Verbs that change files: refused in a session that only reads.
MUTATING: frozenset[type] = frozenset(
    {
        files.SetAttributes,
        files.Create,
        files.MakeDirectory,
        files.MakeSymlink,
        files.MakeNode,
        files.MakeLink,
        files.Unlink,
        files.RemoveDirectory,
        files.Rename,
        files.Write,
        files.Allocate,
        files.SetXattr,
        files.RemoveXattr,
    }
)

#: Verbs whose repetition must not act again (beside the mutating ones): the first reply is kept and given again.
#: A failure of the background is reported once: its repetition must not be a success.
ONCE: frozenset[type] = MUTATING | {files.Open, files.Close, files.SetLock, files.Flush, files.FSync}


def needs_write(request: files.FsRequest) -> bool:
    """Whether a request changes something, or prepares to."""
    if isinstance(request, files.Open):
        return bool(request.flags & _WRITING)
    if isinstance(request, files.SetLock):
        return request.lock.kind is LockKind.WRITE
    return type(request) in MUTATING


def _given(session: Session, attributes: Attributes) -> files.Attributed:
    session.give(attributes.inode)
    return files.Attributed(attributes=attributes)


def _made(session: Session, parent: int, attributes: Attributes) -> files.Attributed:
    _tell(session, parent)
    return _given(session, attributes)


def _tell(session: Session, *inodes: int) -> None:
    session.shared.tell(inodes, by=session)


def _name(name: str) -> str:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise FsError(Kind.NAME_TOO_LONG, f"a name has at most {MAX_NAME_BYTES} bytes: {name[:40]!a}")
    return check_name(name)


def _xattr(name: str) -> str:
    if not 1 <= len(name.encode()) <= files.MAX_XATTR_NAME or "\0" in name:
        raise FsError(Kind.RANGE, f"the name of an extended attribute has 1 to {files.MAX_XATTR_NAME} bytes and no NUL")
    return name


def _mode(mode: int) -> int:
    if mode & ~MODE_BITS:
        raise FsError(Kind.INVALID, f"mode {mode:#o} has more than permission bits")
    return mode


def _flags(flags: int) -> OpenFlags:
    if flags & ~_OPEN_FLAGS:
        raise FsError(Kind.INVALID, f"open has no flags {flags:#x}")
    return OpenFlags(flags)


def _offset(offset: int) -> int:
    if offset > MAX_OFFSET:
        raise FsError(Kind.TOO_LARGE, f"no file reaches to offset {offset}")
    return offset


def _size(size: int) -> None:
    if size > files.MAX_IO:
        raise FsError(Kind.LIMIT, f"one read or write has at most {files.MAX_IO} bytes, not {size}", "ask in parts")
