"""One sample of every message, as its vectors and the tests use it."""

from __future__ import annotations

from btfproto.messages import Failed, files, stores
from btfproto.provider import (
    AllocateMode,
    AttributeChanges,
    Attributes,
    Entry,
    FileKind,
    FileSystemStatus,
    Lock,
    LockKind,
    Owner,
    Seek,
)
from btfproto.store import (
    Absent,
    Acquire,
    BlockChange,
    Change,
    Commit,
    Committed,
    Conflict,
    Events,
    Fenced,
    Found,
    Head,
    HeadDigest,
    HeadSummary,
    HeadWant,
    LeaseBusy,
    LeaseFree,
    LeaseHeld,
    RecordHole,
    RecordRef,
    RecordRun,
    Records,
    Release,
    Snapshot,
    StoreMark,
    StoreStatus,
    Unchanged,
)
from btlib.kinds import Kind

A, B, KEY, HOLDER, REQUEST = b"A" * 16, b"B" * 16, b"K" * 16, b"H" * 16, b"R" * 16
SESSION = bytes(range(16))
OWNER = Owner(1000, 100)
ROOT = "/bt1zykynfv4sawy5qt7j749v7q4dddw8hnczqjf686k8rnqs69aqp8szxzz08"
SHOWN = Attributes(
    inode=7,
    kind=FileKind.FILE,
    mode=0o644,
    links=1,
    uid=1000,
    gid=100,
    size=5,
    blocks=8,
    accessed=1,
    modified=-1,
    changed=1_800_000_000_000_000_000,
)
LOCK = Lock(kind=LockKind.WRITE, start=1, end=2, owner=3, process=4)
CHANGES = AttributeChanges(mode=0o600, size=0)
COMMIT = Commit(
    request=REQUEST,
    changes=[
        BlockChange(
            block=A,
            expected=1,
            version=2,
            signed=b"signed",
            holes=[RecordHole(0, 1, 2)],
            runs=[RecordRun(0, 0, [b"sector", b"another"]), RecordRun(1, 0, [b"node"])],
        ),
        BlockChange(block=B, expected=3, version=4, signed=b"gone", removed=True),
    ],
    fences=[(KEY, 5)],
)

FS_REQUESTS: tuple[files.FsRequest, ...] = (
    files.Attach(path=ROOT),
    files.Detach(),
    files.Lookup(parent=1, name="näme"),
    files.GetAttributes(inode=7),
    files.SetAttributes(inode=7, changes=CHANGES),
    files.ReadLink(inode=7),
    files.ReadDirectory(inode=1, cookie=9, limit=100, plus=True),
    files.Create(parent=1, name="a", mode=0o644, owner=OWNER, flags=2),
    files.MakeDirectory(parent=1, name="a", mode=0o755, owner=OWNER),
    files.MakeSymlink(parent=1, name="a", target="../b", owner=OWNER),
    files.MakeNode(parent=1, name="a", kind=FileKind.FIFO, mode=0o644, owner=OWNER, device=0),
    files.MakeLink(inode=7, parent=1, name="a"),
    files.Unlink(parent=1, name="a"),
    files.RemoveDirectory(parent=1, name="a"),
    files.Rename(parent=1, name="a", new_parent=2, new_name="b", flags=1),
    files.Open(inode=7, flags=3),
    files.Read(handle=3, offset=4096, size=131_072),
    files.Write(handle=3, offset=4096, data=b"content"),
    files.Flush(handle=3),
    files.FSync(handle=3, data_only=True),
    files.Sync(),
    files.Close(handle=3),
    files.Forget(inodes=[7, 8]),
    files.Allocate(handle=3, mode=AllocateMode.PUNCH_HOLE, offset=0, length=4096),
    files.SeekTo(handle=3, offset=1, whence=Seek.HOLE),
    files.GetXattr(inode=7, name="user.a"),
    files.SetXattr(inode=7, name="user.a", value=b"value", create=True, replace=False),
    files.ListXattrs(inode=7),
    files.RemoveXattr(inode=7, name="user.a"),
    files.SetLock(handle=3, lock=LOCK),
    files.TestLock(handle=3, lock=LOCK),
    files.GetFileSystem(),
    files.Changes(milliseconds=30_000),
)

FS_REPLIES: tuple[files.FsReply, ...] = (
    files.Attached(session=SESSION, root=SHOWN, writable=False, why="no"),
    files.Done(),
    files.Attributed(attributes=SHOWN),
    files.Linked(target="../b"),
    files.Listed(
        entries=[
            Entry(name="a", inode=7, kind=FileKind.FILE, cookie=1, attributes=SHOWN),
            Entry(name="b", inode=8, kind=FileKind.DIRECTORY, cookie=2),
        ]
    ),
    files.Created(attributes=SHOWN, handle=3),
    files.Opened(handle=3),
    files.Data(data=b"content"),
    files.Number(value=7),
    files.Xattr(value=b"value"),
    files.XattrNames(names=["user.a", "user.b"]),
    files.LockFound(lock=LOCK),
    files.FileSystem(status=FileSystemStatus(capacity=1, available=2, files=3)),
    files.Changed(inodes=[7, 8], lost=True),
    files.NoSession(),
    Failed(kind=Kind.NOT_FOUND, text="there is no a", hint="look again"),
)

STORE_REQUESTS: tuple[stores.StoreRequest, ...] = (
    stores.ReadHeads([HeadWant(A), HeadWant(B, 7)]),
    stores.ReadRecords(A, [RecordRef(0, 0), RecordRef(1, 0)]),
    stores.DoCommit(COMMIT),
    stores.Scan(A, 100),
    stores.Watch(5, HOLDER, 30_000),
    stores.DoLease(Acquire(KEY, HOLDER, 10_000)),
    stores.DoLease(Release(KEY, HOLDER)),
    stores.GetStatus(),
    stores.SetFileLock(KEY, HOLDER, LOCK, True),
    stores.TestFileLock(KEY, HOLDER, LOCK),
    stores.DropFileLocks(HOLDER),
    stores.ListSnapshots(),
    stores.CreateSnapshot("mönday", 1_800_000_000),
    stores.DeleteSnapshot("mönday"),
    stores.ReadDigests(A, 100),
    stores.AskPast("mönday", stores.ReadHeads([HeadWant(A)])),
    stores.AskPast("mönday", stores.ReadDigests(None, 100)),
    stores.GetMark(7),
)

STORE_REPLIES: tuple[stores.StoreReply, ...] = (
    stores.Heads([Found(Head(A, 2, b"signed", small=b"sector")), Unchanged(), Absent()]),
    stores.GotRecords(Records(2, [b"sector", None])),
    stores.CommitDone(Committed(6)),
    stores.CommitDone(Conflict(A, 9)),
    stores.CommitDone(Fenced(KEY, 6)),
    stores.Scanned([HeadSummary(A, 2, False, 6), HeadSummary(B, 4, True, 0)]),
    stores.Watched(Events(6, [Change(A, 2)], [KEY])),
    stores.LeaseDone(LeaseHeld(5, 10_000)),
    stores.LeaseDone(LeaseBusy(3000)),
    stores.LeaseDone(LeaseFree()),
    stores.Status(StoreStatus(1, 2, 3, 4)),
    stores.FileLockDone(LOCK, True),
    stores.Snapshotted([Snapshot("mönday", 7, 1_800_000_000, 20_000)]),
    stores.Digested([HeadDigest(A, 2, bytes(range(32)))]),
    stores.MarkShown(StoreMark(KEY, 9, HOLDER)),
    Failed(kind=Kind.NO_SPACE, text="the disk is full"),
)
