"""`FsClient`: a file system at a server, as an `FsProvider`.

Every call is one message. Replies are checked for what cannot be true (`_checks`); for contents the server is trusted,
since in thin mode it holds the keys. A lost link is made anew under the same session. Where the server was started
anew, inodes are looked up and files opened again; writes that were not yet synced then are reported once, by the next
`flush` or `fsync` of that file, as an IO error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath

from btfproto._dial import Dialer
from btfproto.errors import FsError
from btfproto.messages import files
from btfproto.provider import (
    AllocateMode,
    AttributeChanges,
    Attributes,
    Entry,
    FileKind,
    FileSystemStatus,
    Handle,
    Inode,
    Lock,
    OpenFlags,
    Owner,
    RenameFlags,
    Seek,
)

from ._checks import check_attributes, check_entries, check_target, check_xattr_names, lie
from ._doubt import Doubted
from ._feed import ChangeFeed
from ._link import FsSession, SessionLostError
from ._memory import KEPT_FLAGS, Handles, OpenHandle, bad_handle, lost
from ._places import Places

AWAY = (Kind.UNREACHABLE, Kind.DEADLINE)  #: the server cannot be told of an end; its session runs out by itself
RENEWALS = 3  #: how often a call survives a server that starts anew while it is under way
FORGET_BATCH = 256  #: inodes told at once that the kernel forgot; a message each would double the traffic of `rm -r`

Reply = TypeVar("Reply", bound=msgspec.Struct)
DONE = files.Done


class FsClient:
    """See `FsProvider`. Thread-safe."""

    def __init__(self, dialer: Dialer, service: BlockPath, path: BlockPath, *, read_only: bool = False) -> None:
        """Attach at `path`. `service` is `<server path>/fs`. Raises FsError with the server's reason."""
        try:
            self._session = FsSession(dialer, service, path, read_only=read_only)
        except BaseException:
            dialer.close()
            raise
        self._lock = threading.Lock()
        self._reopening = threading.Lock()
        self._places = Places(self._session)
        self._handles = Handles()
        self._forgotten: list[Inode] = []
        self._feed = ChangeFeed(self._session, self._known)
        self._closed = False

    @property
    def root(self) -> Inode:
        return self._session.attached.root.inode

    @property
    def writable(self) -> bool:
        """Whether the server lets this client write here; `why_not` has its reason otherwise."""
        return self._session.attached.writable

    @property
    def why_not(self) -> str | None:
        return self._session.attached.why

    # --- names

    def lookup(self, parent: Inode, name: str) -> Attributes:
        request = files.Lookup(parent=parent, name=name)
        return self._learn(parent, name, self._inode_call(request, files.Attributed, parent).attributes)

    def getattr(self, inode: Inode) -> Attributes:
        request = files.GetAttributes(inode=inode)
        return check_attributes(self._inode_call(request, files.Attributed, inode).attributes, inode=inode)

    def setattr(self, inode: Inode, changes: AttributeChanges) -> Attributes:
        request = files.SetAttributes(inode=inode, changes=changes)
        return check_attributes(self._inode_call(request, files.Attributed, inode).attributes, inode=inode)

    def readlink(self, inode: Inode) -> str:
        return check_target(self._inode_call(files.ReadLink(inode=inode), files.Linked, inode).target)

    def readdir(self, inode: Inode, cookie: int, limit: int, plus: bool = False) -> list[Entry]:
        limit = min(limit, files.MAX_ENTRIES)
        request = files.ReadDirectory(inode=inode, cookie=cookie, limit=limit, plus=plus)
        entries = self._inode_call(request, files.Listed, inode).entries
        check_entries(entries, cookie, limit, plus)
        self._places.listed(inode, ((entry.name, entry.inode) for entry in entries))
        return entries

    def create(self, parent: Inode, name: str, mode: int, owner: Owner, flags: OpenFlags) -> tuple[Attributes, Handle]:
        request = files.Create(parent=parent, name=name, mode=mode, owner=owner, flags=int(flags))
        reply, generation = self._inode_call_in(request, files.Created, parent)
        attributes = self._learn(parent, name, check_attributes(reply.attributes, kind=FileKind.FILE))
        return attributes, self._opened(attributes.inode, flags, reply.handle, generation)

    def mkdir(self, parent: Inode, name: str, mode: int, owner: Owner) -> Attributes:
        request = files.MakeDirectory(parent=parent, name=name, mode=mode, owner=owner)
        return self._make(request, parent, name, FileKind.DIRECTORY)

    def symlink(self, parent: Inode, name: str, target: str, owner: Owner) -> Attributes:
        request = files.MakeSymlink(parent=parent, name=name, target=target, owner=owner)
        return self._make(request, parent, name, FileKind.SYMLINK)

    def mknod(self, parent: Inode, name: str, kind: FileKind, mode: int, owner: Owner, device: int = 0) -> Attributes:
        request = files.MakeNode(parent=parent, name=name, kind=kind, mode=mode, owner=owner, device=device)
        return self._make(request, parent, name, kind)

    def link(self, inode: Inode, parent: Inode, name: str) -> Attributes:
        request = files.MakeLink(inode=inode, parent=parent, name=name)
        attributes = self._inode_call(request, files.Attributed, inode, parent).attributes
        return self._learn(parent, name, check_attributes(attributes, inode=inode))

    def unlink(self, parent: Inode, name: str) -> None:
        self._inode_call(files.Unlink(parent=parent, name=name), DONE, parent)
        self._places.gone(parent, name)

    def rmdir(self, parent: Inode, name: str) -> None:
        self._inode_call(files.RemoveDirectory(parent=parent, name=name), DONE, parent)
        self._places.gone(parent, name)

    def rename(
        self,
        parent: Inode,
        name: str,
        new_parent: Inode,
        new_name: str,
        flags: RenameFlags = RenameFlags.NONE,
    ) -> None:
        request = files.Rename(parent=parent, name=name, new_parent=new_parent, new_name=new_name, flags=int(flags))
        self._inode_call(request, DONE, parent, new_parent)
        exchange = bool(flags & RenameFlags.EXCHANGE)
        self._places.moved(parent, name, new_parent, new_name, exchange=exchange)

    # --- open files

    def open(self, inode: Inode, flags: OpenFlags) -> Handle:
        reply, generation = self._inode_call_in(files.Open(inode=inode, flags=int(flags)), files.Opened, inode)
        return self._opened(inode, flags, reply.handle, generation)

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        parts: list[bytes | memoryview] = []
        while size > 0:
            part = self._read(handle, offset, min(size, files.MAX_IO))
            parts.append(part)
            if len(part) < min(size, files.MAX_IO):
                break
            offset, size = offset + len(part), size - len(part)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def write(self, handle: Handle, offset: int, data: bytes | memoryview) -> int:
        view = memoryview(data)
        for start in range(0, len(view), files.MAX_IO):
            self._write(handle, offset + start, view[start : start + files.MAX_IO])
        return len(view)

    def flush(self, handle: Handle) -> None:
        file = self._open_file(handle)
        if not (file.written or file.lost):
            return  # nothing of this file can have failed
        self._handle_call(handle, lambda remote: files.Flush(handle=remote), DONE)
        self._report_lost(handle)

    def fsync(self, handle: Handle, data_only: bool = False) -> None:
        file = self._open_file(handle)
        written = file.written  # what is written meanwhile may come after it
        self._handle_call(handle, lambda remote: files.FSync(handle=remote, data_only=data_only), DONE)
        self._report_lost(handle)
        file.synced = max(file.synced, written)

    def sync(self) -> None:
        written = self._handles.written()
        self._inode_call(files.Sync(), DONE)
        for file, count in written:
            file.synced = max(file.synced, count)

    def close(self, handle: Handle) -> None:
        with self._lock:
            file = self._handles.pop(handle)
        if file is None:
            raise bad_handle(handle)
        try:
            self._session.call(files.Close(handle=file.remote), DONE, file.generation)
        except SessionLostError:
            if file.dirty:
                raise lost() from None

    def forget(self, inode: Inode) -> None:
        self._places.forget(inode)
        with self._lock:
            self._forgotten.append(inode)
            if len(self._forgotten) < FORGET_BATCH:
                return
            batch, self._forgotten = self._forgotten, []
        self._inode_call(files.Forget(inodes=batch), DONE)

    def fallocate(self, handle: Handle, mode: AllocateMode, offset: int, length: int) -> None:
        self._handle_call(
            handle,
            lambda remote: files.Allocate(handle=remote, mode=mode, offset=offset, length=length),
            DONE,
            dirty=True,
        )

    def seek(self, handle: Handle, offset: int, whence: Seek) -> int:
        found = self._handle_call(
            handle, lambda remote: files.SeekTo(handle=remote, offset=offset, whence=whence), files.Number
        ).value
        if not offset <= found < 1 << 63:
            raise lie(f"position {found} for a seek from {offset}")
        return found

    def lock(self, handle: Handle, lock: Lock) -> None:
        self._handle_call(handle, lambda remote: files.SetLock(handle=remote, lock=lock), DONE)
        self._open_file(handle).note_lock(lock)

    def test_lock(self, handle: Handle, lock: Lock) -> Lock | None:
        return self._handle_call(handle, lambda remote: files.TestLock(handle=remote, lock=lock), files.LockFound).lock

    # --- extended attributes

    def getxattr(self, inode: Inode, name: str) -> bytes:
        value = self._inode_call(files.GetXattr(inode=inode, name=name), files.Xattr, inode).value
        if len(value) > files.MAX_XATTR_VALUE:
            raise lie(f"an extended attribute of {len(value)} bytes")
        return value

    def setxattr(self, inode: Inode, name: str, value: bytes, create: bool = False, replace: bool = False) -> None:
        request = files.SetXattr(inode=inode, name=name, value=value, create=create, replace=replace)
        self._inode_call(request, DONE, inode)

    def listxattr(self, inode: Inode) -> list[str]:
        return check_xattr_names(self._inode_call(files.ListXattrs(inode=inode), files.XattrNames, inode).names)

    def removexattr(self, inode: Inode, name: str) -> None:
        self._inode_call(files.RemoveXattr(inode=inode, name=name), DONE, inode)

    # --- the whole

    def statfs(self) -> FileSystemStatus:
        return self._inode_call(files.GetFileSystem(), files.FileSystem).status

    def changes(self) -> Sequence[Inode]:
        return self._feed.take()

    def shutdown(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._feed.stop()
        try:
            self._session.close()
        except SessionLostError:
            if self._handles.any_dirty:
                raise lost() from None
        except FsError as error:
            if error.kind not in AWAY or self._handles.any_dirty:
                raise
        finally:
            self._feed.join()

    # --- inside

    def _inode_call(self, request: files.FsRequest, expected: type[Reply], *inodes: Inode) -> Reply:
        return self._inode_call_in(request, expected, *inodes)[0]

    def _inode_call_in(self, request: files.FsRequest, expected: type[Reply], *inodes: Inode) -> tuple[Reply, int]:
        """A call about some inodes, and the generation in which it was answered."""

        calls = Doubted(self._session, request, expected, self._places)

        def attempt(generation: int) -> Reply:
            for inode in inodes:
                self._places.introduce(inode, generation)
            try:
                return calls.send(generation)
            except FsError as error:
                lost_one = error.kind is Kind.STALE and not isinstance(error, SessionLostError)
                if not lost_one or not self._places.look_again(inodes, generation):
                    raise
            return calls.send(generation)

        return self._renewing(attempt)

    def _handle_call(
        self,
        handle: Handle,
        request: Callable[[int], files.FsRequest],
        expected: type[Reply],
        *,
        dirty: bool = False,
    ) -> Reply:
        file = self._open_file(handle)

        def attempt(generation: int) -> Reply:
            self._reopen(file, generation)
            try:
                return self._session.call(request(file.remote), expected, generation)
            except SessionLostError as gone:
                if dirty and gone.in_doubt and file.flags & OpenFlags.APPEND:
                    file.lost = True  # it may be there twice
                raise

        reply, generation = self._renewing(attempt)
        if dirty:
            with self._lock:
                file.written += 1
            file.lost = file.lost or generation != file.generation  # opened anew since: it may be lost already
        return reply

    def _renewing(self, attempt: Callable[[int], Reply]) -> tuple[Reply, int]:
        """Try in the present session; where the server has forgotten it, in a new one."""
        if self._closed:
            raise FsError(Kind.STALE, "this file system was shut down")
        for _ in range(RENEWALS):
            generation = self._session.generation
            try:
                return attempt(generation), generation
            except SessionLostError:
                self._session.renew(generation)
        raise FsError(Kind.UNREACHABLE, "the server forgot this session again and again", "look at its log")

    def _reopen(self, file: OpenHandle, generation: int) -> None:
        """See to it that a file is open in this session."""
        if file.generation == generation:
            return
        with self._reopening:  # once, however many threads use it
            if file.generation == generation:
                return
            self._places.introduce(file.inode, generation)
            request = files.Open(inode=file.inode, flags=int(file.flags & KEPT_FLAGS))
            file.reopened(self._session.call(request, files.Opened, generation).handle, generation)

    def _report_lost(self, handle: Handle) -> None:
        file = self._open_file(handle)
        if file.lost:
            file.lost = False
            raise lost()

    def _make(self, request: files.FsRequest, parent: Inode, name: str, kind: FileKind) -> Attributes:
        attributes = self._inode_call(request, files.Attributed, parent).attributes
        return self._learn(parent, name, check_attributes(attributes, kind=kind))

    def _learn(self, parent: Inode, name: str, attributes: Attributes) -> Attributes:
        check_attributes(attributes)
        self._places.learn(parent, name, attributes.inode)
        return attributes

    def _opened(self, inode: Inode, flags: OpenFlags, remote: int, generation: int) -> Handle:
        with self._lock:
            return self._handles.add(OpenHandle(inode, flags, remote, generation))

    def _known(self) -> list[Inode]:
        return [self.root, *self._places.inodes()]

    def _open_file(self, handle: Handle) -> OpenHandle:
        file = self._handles.get(handle)
        if file is None:
            raise bad_handle(handle)
        return file

    def _read(self, handle: Handle, offset: int, size: int) -> bytes | memoryview:
        data = self._handle_call(
            handle, lambda remote: files.Read(handle=remote, offset=offset, size=size), files.Data
        ).data
        if len(data) > size:
            raise lie(f"{len(data)} bytes where {size} were asked for")
        return data

    def _write(self, handle: Handle, offset: int, data: memoryview) -> None:
        count = self._handle_call(
            handle, lambda remote: files.Write(handle=remote, offset=offset, data=data), files.Number, dirty=True
        ).value
        if count != len(data):
            raise lie(f"{count} bytes written where {len(data)} were sent")
