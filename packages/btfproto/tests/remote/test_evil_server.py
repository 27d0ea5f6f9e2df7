"""What a client refuses to believe of an evil server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.messages import files, stores
from btfproto.provider import Entry, FileKind, FileSystemStatus, Lock, LockKind, OpenFlags, Owner, Seek
from btfproto.remote import FsClient
from btfproto.store import (
    Absent,
    Acquire,
    BlockChange,
    Commit,
    Conflict,
    Events,
    Found,
    Head,
    HeadDigest,
    HeadSummary,
    HeadWant,
    LeaseFree,
    RecordRef,
    Records,
    Snapshot,
    Unchanged,
)
from btfproto.store.remote import RemotePast, StoreClient
from btlib import BlockPath, Kind
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from .evil import ROOT, SERVICE, attributes, dialer_to, fs_link, store_link

ME = Owner(0, 0)
FILE = FileKind.FILE
Use = Callable[[FsClient], object]


def entry(name: str = "a", cookie: int = 1, inode: int = 7) -> Entry:
    return Entry(name=name, inode=inode, kind=FILE, cookie=cookie)


def listed(*entries: Entry) -> files.Listed:
    return files.Listed(entries=list(entries))


def attributed(inode: int = 7, kind: FileKind = FILE, **changes: int) -> files.Attributed:
    return files.Attributed(attributes=attributes(inode, kind, **changes))


def made(reply: files.FsReply | bytes) -> FsClient:
    def answer(request: files.FsRequest) -> files.FsReply | bytes:
        return files.Opened(handle=3) if isinstance(request, files.Open) else reply

    return FsClient(dialer_to(fs_link(answer)), SERVICE, BlockPath(ROOT))


def on_handle(use: Callable[[FsClient, int], object]) -> Use:
    return lambda fs: use(fs, fs.open(1, OpenFlags.READ | OpenFlags.WRITE))


def read_dir(fs: FsClient) -> object:
    return fs.readdir(1, 0, 10)


LIES: list[tuple[str, files.FsReply | bytes, Use]] = [
    ("a name that climbs out", listed(entry("..")), read_dir),
    ("a name that stays", listed(entry(".")), read_dir),
    ("a name with a slash", listed(entry("a/b")), read_dir),
    ("an absolute name", listed(entry("/etc")), read_dir),
    ("a name with a NUL", listed(entry("a\0b")), read_dir),
    ("an empty name", listed(entry("")), read_dir),
    ("a name of 256 bytes", listed(entry("x" * 256)), read_dir),
    ("a name of 256 bytes in fewer characters", listed(entry("ä" * 128)), read_dir),
    ("a name twice", listed(entry("a", 1), entry("a", 2)), read_dir),
    ("a cookie that stands still", listed(entry("a", 1), entry("b", 1)), read_dir),
    ("a cookie that goes back", listed(entry("a", 2), entry("b", 1)), read_dir),
    ("a cookie that was asked for", listed(entry("a", 5)), lambda fs: fs.readdir(1, 5, 10)),
    ("a cookie of zero", listed(entry("a", 0)), read_dir),
    ("a cookie beyond all offsets", listed(entry("a", 1 << 63)), read_dir),
    ("more entries than asked for", listed(entry("a", 1), entry("b", 2)), lambda fs: fs.readdir(1, 0, 1)),
    ("an entry without an inode", listed(entry(inode=0)), read_dir),
    ("attributes where a plain listing was asked for", listed(replace(entry(), attributes=attributes(7))), read_dir),
    ("an inode of zero", attributed(0), lambda fs: fs.lookup(1, "a")),
    ("a size beyond all offsets", attributed(size=1 << 63), lambda fs: fs.lookup(1, "a")),
    ("a mode with a file type", attributed(mode=0o100644), lambda fs: fs.lookup(1, "a")),
    ("the attributes of another inode", attributed(8), lambda fs: fs.getattr(7)),
    ("a link that became another inode", attributed(8), lambda fs: fs.link(7, 1, "b")),
    ("a file where a directory was made", attributed(), lambda fs: fs.mkdir(1, "d", 0o755, ME)),
    ("a directory where a symlink was made", attributed(7, FileKind.DIRECTORY), lambda fs: fs.symlink(1, "s", "t", ME)),
    (
        "a directory where a file was made",
        files.Created(attributes=attributes(7), handle=1),
        lambda fs: fs.create(1, "f", 0o644, ME, OpenFlags.WRITE),
    ),
    ("an empty target", files.Linked(target=""), lambda fs: fs.readlink(7)),
    ("a target with a NUL", files.Linked(target="a\0b"), lambda fs: fs.readlink(7)),
    ("a target without end", files.Linked(target="x" * 4096), lambda fs: fs.readlink(7)),
    ("more data than asked for", files.Data(data=b"12345"), on_handle(lambda fs, handle: fs.read(handle, 0, 4))),
    ("fewer bytes written than sent", files.Number(value=1), on_handle(lambda fs, handle: fs.write(handle, 0, b"12"))),
    ("more bytes written than sent", files.Number(value=3), on_handle(lambda fs, handle: fs.write(handle, 0, b"12"))),
    ("a seek that goes back", files.Number(value=4), on_handle(lambda fs, handle: fs.seek(handle, 5, Seek.DATA))),
    (
        "a seek beyond all offsets",
        files.Number(value=1 << 63),
        on_handle(lambda fs, handle: fs.seek(handle, 5, Seek.DATA)),
    ),
    ("a huge attribute", files.Xattr(value=bytes(65_537)), lambda fs: fs.getxattr(7, "user.a")),
    ("an attribute with a NUL in its name", files.XattrNames(names=["user.a\0b"]), lambda fs: fs.listxattr(7)),
    ("an attribute without a name", files.XattrNames(names=[""]), lambda fs: fs.listxattr(7)),
    ("attributes without number", files.XattrNames(names=["user.a"] * 5000), lambda fs: fs.listxattr(7)),
    ("a reply to another question", files.Done(), lambda fs: fs.lookup(1, "a")),
    (
        "a status where nothing is to tell",
        files.FileSystem(status=FileSystemStatus(capacity=1, available=1, files=1)),
        lambda fs: fs.unlink(1, "a"),
    ),
    ("no reply at all", b"", lambda fs: fs.lookup(1, "a")),
    ("garbage", b"\xff" * 40, lambda fs: fs.lookup(1, "a")),
]


@pytest.mark.parametrize(("reply", "use"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_file_client_does_not_believe(reply: files.FsReply | bytes, use: Use) -> None:
    client = made(reply)
    with pytest.raises(FsError) as refused:
        use(client)
    assert refused.value.kind is Kind.PROTOCOL
    client.shutdown()


def test_a_damaged_object_is_listed_by_name_without_attributes() -> None:
    client = made(listed(entry("damaged")))
    (found,) = client.readdir(1, 0, 10, True)
    assert (found.name, found.attributes) == ("damaged", None)
    client.shutdown()


def test_names_in_invalid_utf8_are_refused() -> None:
    from btfproto.messages import encode_fs_reply

    good = b"".join(encode_fs_reply(listed(entry("name"))))
    client = made(good.replace(b"name", b"na\xffe"))
    with pytest.raises(FsError) as refused:
        read_dir(client)
    assert refused.value.kind is Kind.PROTOCOL
    client.shutdown()


@given(st.binary(max_size=300))
def test_no_bytes_end_in_anything_but_a_protocol_error(body: bytes) -> None:
    client = made(body)
    with pytest.raises(FsError):
        client.getattr(99)
    client.shutdown()


def test_what_the_server_says_is_shown_in_one_printable_line() -> None:
    from btfproto.messages import Failed

    client = made(Failed(kind=Kind.IO, text="disk\x1b[2J\nfull" + "x" * 9000))
    with pytest.raises(FsError) as refused:
        client.statfs()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= 2000
    client.shutdown()


def test_a_lock_that_conflicts_is_passed_on() -> None:
    lock = Lock(kind=LockKind.WRITE, owner=1)
    client = made(files.LockFound(lock=lock))
    assert client.test_lock(client.open(1, OpenFlags.READ), lock) == lock
    client.shutdown()


BLOCK, OTHER = b"b" * 16, b"o" * 16
STORE_LIES: list[tuple[str, stores.StoreReply | bytes, Callable[[StoreClient], object]]] = [
    ("too few heads", stores.Heads([]), lambda store: store.read_heads([HeadWant(BLOCK)])),
    ("too many heads", stores.Heads([Absent(), Absent()]), lambda store: store.read_heads([HeadWant(BLOCK)])),
    (
        "the head of another block",
        stores.Heads([Found(Head(OTHER, 1, b"x"))]),
        lambda store: store.read_heads([HeadWant(BLOCK)]),
    ),
    (
        "unchanged, though nothing is known",
        stores.Heads([Unchanged()]),
        lambda store: store.read_heads([HeadWant(BLOCK)]),
    ),
    ("too few records", stores.GotRecords(Records(1, [])), lambda store: store.read_records(BLOCK, [RecordRef(0, 0)])),
    (
        "a conflict over a foreign block",
        stores.CommitDone(Conflict(OTHER, 3)),
        lambda store: store.commit(
            Commit(request=bytes(16), changes=[BlockChange(block=BLOCK, expected=0, version=1, signed=b"s")])
        ),
    ),
    (
        "a scan out of order",
        stores.Scanned([HeadSummary(OTHER, 1, False, 0), HeadSummary(BLOCK, 1, False, 0)]),
        lambda store: store.scan(None, 10),
    ),
    (
        "a scan that does not advance",
        stores.Scanned([HeadSummary(BLOCK, 1, False, 0)]),
        lambda store: store.scan(BLOCK, 10),
    ),
    ("more lines than asked for", stores.Scanned([HeadSummary(BLOCK, 1, False, 0)]), lambda store: store.scan(None, 0)),
    ("events from the past", stores.Watched(Events(3, [])), lambda store: store.watch(5, BLOCK, 0)),
    (
        "a release where a lease was asked for",
        stores.LeaseDone(LeaseFree()),
        lambda store: store.lease(Acquire(BLOCK, BLOCK, 1)),
    ),
    (
        "a snapshot that leads out of its directory",
        stores.Snapshotted([Snapshot("../..", 1, 1)]),
        lambda store: store.snapshots(),
    ),
    (
        "two snapshots of one name",
        stores.Snapshotted([Snapshot("s", 1, 1), Snapshot("s", 2, 1)]),
        lambda store: store.at("s"),
    ),
    (
        "another snapshot than asked for",
        stores.Snapshotted([Snapshot("t", 1, 1)]),
        lambda store: store.create_snapshot("s", 1),
    ),
    (
        "digests out of order",
        stores.Digested([HeadDigest(OTHER, 1, bytes(32)), HeadDigest(BLOCK, 1, bytes(32))]),
        lambda store: RemotePast(Snapshot("s", 1, 1), store).digests(None, 10),
    ),
    ("another reply", stores.Heads([]), lambda store: store.status()),
    ("garbage", b"\x00\xff", lambda store: store.status()),
]


@pytest.mark.parametrize(("reply", "use"), [lie[1:] for lie in STORE_LIES], ids=[lie[0] for lie in STORE_LIES])
def test_a_store_client_does_not_believe(
    reply: stores.StoreReply | bytes, use: Callable[[StoreClient], object]
) -> None:
    client = StoreClient(dialer_to(store_link(lambda request: reply)), SERVICE)
    with pytest.raises(StoreError) as refused:
        use(client)
    assert refused.value.kind is Kind.PROTOCOL
    client.close()
