"""Sessions: what belongs to whom, what is limited, and what survives lost links and restarted servers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from btfproto.errors import FsError
from btfproto.messages import (
    Failed,
    decode_fs_reply,
    encode_fs_call,
    encode_fs_reply,
    files,
)
from btfproto.provider import (
    AttributeChanges,
    FileKind,
    Lock,
    LockKind,
    OpenFlags,
    Owner,
)
from btfproto.remote import FsClient, SessionLimits
from btfproto.testing.provider import write_file
from btlib import Kind

from .conftest import MakeNet, Net

ME = Owner(1000, 1000)
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE


def ask(
    client: FsClient, request: files.FsRequest, *, session: bytes | None = None, number: int = 1 << 40
) -> files.FsReply:
    """What the server itself answers, past all that the client checks."""
    inner = client._session
    call = files.FsCall(session=session or inner.attached.session, number=number, request=request)
    return decode_fs_reply(inner._dialer.call(inner._service, encode_fs_call(call), timeout=10))


class TestRights:
    @pytest.fixture
    def reader(self, net: Net) -> FsClient:
        write_file(net.fs, net.fs.root, "file", b"content")
        net.writable = False
        return net.client(net.member(9))

    def test_a_session_without_the_right_reads(self, reader: FsClient) -> None:
        found = reader.lookup(reader.root, "file")
        assert reader.read(reader.open(found.inode, OpenFlags.READ), 0, 100) == b"content"
        assert reader.statfs().read_only
        assert not reader.writable
        assert reader.why_not == "the test says so"

    def test_and_is_refused_every_change_with_a_sentence(self, net: Net, reader: FsClient) -> None:
        root, inode = reader.root, reader.lookup(reader.root, "file").inode
        handle = reader.open(inode, OpenFlags.READ)
        changes: list[files.FsRequest] = [
            files.SetAttributes(inode=inode, changes=AttributeChanges(mode=0)),
            files.Create(parent=root, name="a", mode=0o644, owner=ME, flags=2),
            files.MakeDirectory(parent=root, name="a", mode=0o755, owner=ME),
            files.MakeSymlink(parent=root, name="a", target="b", owner=ME),
            files.MakeNode(parent=root, name="a", kind=FileKind.FIFO, mode=0o644, owner=ME, device=0),
            files.MakeLink(inode=inode, parent=root, name="a"),
            files.Unlink(parent=root, name="file"),
            files.RemoveDirectory(parent=root, name="file"),
            files.Rename(parent=root, name="file", new_parent=root, new_name="a", flags=0),
            files.Open(inode=inode, flags=int(READ_WRITE)),
            files.Open(inode=inode, flags=int(OpenFlags.READ | OpenFlags.TRUNCATE)),
            files.Write(handle=handle, offset=0, data=b"x"),
            files.SetXattr(inode=inode, name="user.a", value=b"", create=False, replace=False),
            files.RemoveXattr(inode=inode, name="user.a"),
            files.SetLock(handle=handle, lock=Lock(kind=LockKind.WRITE, owner=1)),
        ]
        who = net.member(9).principal
        for number, change in enumerate(changes):
            with pytest.raises(FsError) as refused:
                ask(reader, change, number=(1 << 41) + number)
            assert refused.value.kind is Kind.READ_ONLY
            assert f"bt grant {who} {net.world.path()} write" in str(refused.value)
        assert [entry.name for entry in net.fs.readdir(net.fs.root, 0, 10)] == ["file"]

    def test_who_asks_for_a_read_only_session_gets_one(self, net: Net) -> None:
        client = net.client(read_only=True)
        with pytest.raises(FsError) as refused:
            client.mkdir(client.root, "a", 0o755, ME)
        assert refused.value.kind is Kind.READ_ONLY

    def test_a_right_that_ends_ends_in_the_session_too(self, net: Net) -> None:
        net.until = int(time.time()) - 1
        client = net.client()
        assert client.writable
        with pytest.raises(FsError, match="expired") as refused:
            client.mkdir(client.root, "a", 0o755, ME)
        assert refused.value.kind is Kind.READ_ONLY

    def test_a_right_that_ended_and_was_given_anew_counts_in_the_same_session(self, net: Net) -> None:
        net.until = int(time.time()) - 1
        client = net.client()
        net.until = int(time.time()) + 3600
        client.mkdir(client.root, "a", 0o755, ME)
        assert net.asked == 2
        client.mkdir(client.root, "b", 0o755, ME)
        assert net.asked == 2

    def test_all_of_the_last_second_belongs_to_a_right(self, net: Net) -> None:
        client = net.client()
        (place,) = net.files.sessions._places.values()
        session = place.session
        session.attachment = replace(session.attachment, writable_until=1000)
        session.require_write(1000.9)
        assert not session.lapsed(1000.9)
        with pytest.raises(FsError, match="expired"):
            session.require_write(1001.0)
        assert session.lapsed(1001.0)
        assert client.writable

    def test_who_goes_on_writing_without_a_right_is_judged_once_in_a_while(self, net: Net) -> None:
        net.until = int(time.time()) - 1
        client = net.client()
        net.writable = False
        for _ in range(20):
            with pytest.raises(FsError, match="the test says so"):
                client.mkdir(client.root, "a", 0o755, ME)
        assert net.asked <= 3

    def test_an_inode_that_was_not_given_is_not_known(self, net: Net) -> None:
        inode = write_file(net.fs, net.fs.root, "file", b"secret")
        client = net.client()
        with pytest.raises(FsError) as refused:
            client.getattr(inode)
        assert refused.value.kind is Kind.STALE
        client.lookup(client.root, "file")
        assert client.getattr(inode).size == 6

    def test_an_inode_that_was_forgotten_is_not_known_any_more(self, net: Net) -> None:
        client = net.client()
        inode = write_file(client, client.root, "file", b"")
        ask(client, files.Forget(inodes=[inode, client.root]))
        with pytest.raises(FsError):
            ask(client, files.GetAttributes(inode=inode))
        assert client.getattr(client.root).kind is FileKind.DIRECTORY

    def test_a_session_is_worth_nothing_to_another_principal(self, net: Net) -> None:
        mine, other = net.client(), net.client(net.member(9))
        stolen = mine._session.attached.session
        assert ask(other, files.GetAttributes(inode=mine.root), session=stolen) == files.NoSession()


class TestLimits:
    @pytest.fixture
    def tight(self, make_net: MakeNet) -> Net:
        limits = SessionLimits(
            max_handles=2, max_inodes=4, max_locks=2, max_listed=3, max_sessions_per_principal=2, max_sessions=3
        )
        return make_net(limits=limits)

    def test_open_files_are_limited_and_a_closed_one_makes_room(self, tight: Net) -> None:
        client = tight.client()
        inode = write_file(client, client.root, "file", b"")
        first, _ = client.open(inode, OpenFlags.READ), client.open(inode, OpenFlags.READ)
        with pytest.raises(FsError, match="max_handles") as refused:
            client.open(inode, OpenFlags.READ)
        assert refused.value.kind is Kind.LIMIT
        client.close(first)
        client.open(inode, OpenFlags.READ)

    def test_inodes_are_limited_and_a_forgotten_one_makes_room(self, tight: Net) -> None:
        client = tight.client()
        inodes = [client.mkdir(client.root, name, 0o755, ME).inode for name in "abc"]
        tight.fs.mkdir(tight.fs.root, "d", 0o755, ME)
        with pytest.raises(FsError, match="max_inodes"):
            client.lookup(client.root, "d")
        ask(client, files.Forget(inodes=inodes))
        client.lookup(client.root, "d")

    def test_of_listed_inodes_the_oldest_are_forgotten(self, tight: Net) -> None:
        for name in "abcdefgh":
            tight.fs.mkdir(tight.fs.root, name, 0o755, ME)
        client = tight.client()
        entries = client.readdir(client.root, 0, 100)
        assert client.getattr(entries[-1].inode).kind is FileKind.DIRECTORY
        with pytest.raises(FsError, match="look its name up again"):
            ask(client, files.GetAttributes(inode=entries[0].inode))
        assert client.getattr(entries[0].inode).kind is FileKind.DIRECTORY, "the client does look it up again"

    def test_locks_are_limited(self, tight: Net) -> None:
        client = tight.client()
        handle = client.open(write_file(client, client.root, "file", b"123"), READ_WRITE)
        for owner in (1, 2):
            client.lock(handle, Lock(kind=LockKind.WRITE, start=owner, end=owner + 1, owner=owner))
        with pytest.raises(FsError, match="max_locks"):
            client.lock(handle, Lock(kind=LockKind.WRITE, start=5, end=6, owner=3))
        client.lock(handle, Lock(kind=LockKind.UNLOCK, owner=1))
        client.lock(handle, Lock(kind=LockKind.WRITE, start=5, end=6, owner=3))

    def test_sessions_are_limited_for_each_principal_and_for_all(self, tight: Net) -> None:
        kept = [tight.client(), tight.client()]
        with pytest.raises(FsError, match="max_sessions_per_principal"):
            tight.client()
        kept.append(tight.client(tight.member(8)))
        with pytest.raises(FsError, match="max_sessions there"):
            tight.client(tight.member(9))
        kept[0].shutdown()
        tight.client(tight.member(9))


class TestRequests:
    @pytest.mark.parametrize(
        ("request_", "kind"),
        [
            (files.Lookup(parent=0, name=".."), Kind.STALE),
            (files.MakeDirectory(parent=1, name="a/b", mode=0o755, owner=ME), Kind.INVALID),
            (files.MakeDirectory(parent=1, name="..", mode=0o755, owner=ME), Kind.INVALID),
            (files.MakeDirectory(parent=1, name="", mode=0o755, owner=ME), Kind.INVALID),
            (files.MakeDirectory(parent=1, name="a\0", mode=0o755, owner=ME), Kind.INVALID),
            (files.MakeDirectory(parent=1, name="ä" * 128, mode=0o755, owner=ME), Kind.NAME_TOO_LONG),
            (files.MakeDirectory(parent=1, name="a", mode=0o40755, owner=ME), Kind.INVALID),
            (files.MakeSymlink(parent=1, name="a", target="", owner=ME), Kind.NAME_TOO_LONG),
            (files.MakeSymlink(parent=1, name="a", target="x" * 4096, owner=ME), Kind.NAME_TOO_LONG),
            (files.Rename(parent=1, name="a", new_parent=1, new_name="b", flags=4), Kind.INVALID),
            (files.Rename(parent=1, name="a", new_parent=1, new_name="..", flags=0), Kind.INVALID),
            (files.Open(inode=1, flags=1 << 20), Kind.INVALID),
            (files.Read(handle=99, offset=0, size=1), Kind.BAD_HANDLE),
            (files.Close(handle=99), Kind.BAD_HANDLE),
            (files.SetAttributes(inode=1, changes=AttributeChanges(size=1 << 63)), Kind.TOO_LARGE),
            (files.GetXattr(inode=1, name="x" * 256), Kind.RANGE),
            (files.Changes(milliseconds=0), Kind.NO_SUCH_TARGET),
        ],
    )
    def test_what_an_evil_client_asks_for_is_refused(self, net: Net, request_: files.FsRequest, kind: Kind) -> None:
        client = net.client()
        for field in ("parent", "new_parent", "inode"):
            if getattr(request_, field, None) == 1:
                request_ = type(request_)(
                    **{f: getattr(request_, f) for f in request_.__struct_fields__} | {field: client.root}
                )
        with pytest.raises(FsError) as refused:
            ask(client, request_)
        assert refused.value.kind is kind

    def test_reads_and_writes_have_a_size(self, net: Net) -> None:
        client = net.client()
        handle = client._handles.get(client.open(write_file(client, client.root, "f", b""), READ_WRITE))
        assert handle is not None
        for request in (
            files.Read(handle=handle.remote, offset=0, size=files.MAX_IO + 1),
            files.Write(handle=handle.remote, offset=0, data=bytes(files.MAX_IO + 1)),
        ):
            with pytest.raises(FsError) as refused:
                ask(client, request)
            assert refused.value.kind is Kind.LIMIT
        with pytest.raises(FsError) as refused:
            ask(client, files.Read(handle=handle.remote, offset=1 << 63, size=1))
        assert refused.value.kind is Kind.TOO_LARGE

    @pytest.mark.parametrize("body", [b"", b"\xff" * 100, bytes(24) + b"\x63"])
    def test_garbage_gets_a_protocol_error_and_the_link_lives_on(self, net: Net, body: bytes) -> None:
        client = net.client()
        inner = client._session
        with pytest.raises(FsError) as refused:
            decode_fs_reply(inner._dialer.call(inner._service, [body], timeout=10))
        assert refused.value.kind is Kind.PROTOCOL
        assert client.getattr(client.root).inode == client.root

    def test_a_large_file_is_read_and_written_in_parts(self, net: Net) -> None:
        client, data = net.client(), bytes(range(256)) * 12_000
        handle = client.open(write_file(client, client.root, "large", b""), READ_WRITE)
        assert client.write(handle, 0, data) == len(data)
        assert client.read(handle, 0, len(data) + 5) == data

    def test_a_repeated_number_is_answered_again_and_done_once(self, net: Net) -> None:
        client = net.client()
        make = files.MakeDirectory(parent=client.root, name="once", mode=0o755, owner=ME)
        first, second = ask(client, make, number=7777), ask(client, make, number=7777)
        assert first == second
        with pytest.raises(FsError) as refused:
            ask(client, make, number=7778)
        assert refused.value.kind is Kind.EXISTS

    def test_a_failure_travels_with_its_hint(self) -> None:
        failed = Failed(kind=Kind.FORBIDDEN, text="no", hint="ask")
        with pytest.raises(FsError) as refused:
            decode_fs_reply(b"".join(encode_fs_reply(failed)))
        assert (refused.value.kind, refused.value.message, refused.value.hint) == (Kind.FORBIDDEN, "no", "ask")


class TestSharing:
    def test_locks_of_two_clients_conflict_and_end_with_the_session(self, net: Net) -> None:
        mine, other = net.client(), net.client(net.member(9))
        inode = write_file(mine, mine.root, "file", b"123")
        other.lookup(other.root, "file")
        whole = Lock(kind=LockKind.WRITE, owner=5)
        mine.lock(mine.open(inode, READ_WRITE), whole)
        handle = other.open(inode, READ_WRITE)
        with pytest.raises(FsError) as refused:
            other.lock(handle, whole)
        assert refused.value.kind is Kind.WOULD_BLOCK
        assert other.test_lock(handle, whole) is not None
        mine.shutdown()
        other.lock(handle, whole)

    def test_file_calls_that_wait_keep_nobody_from_the_store(self, net: Net) -> None:
        """A thin client's call may wait for a lease; the client that holds it must be able to commit and release."""
        held = net.held = threading.Event()
        threads = [threading.Thread(target=net.client) for _ in range(12)]
        for thread in threads:
            thread.start()
        assert net.store_client().status().blocks > 0
        held.set()
        for thread in threads:
            thread.join()
        assert len(net.files.sessions) == 12

    def test_what_one_client_changes_another_hears_of(self, net: Net) -> None:
        mine, other = net.client(), net.client(net.member(9))
        inode = write_file(mine, mine.root, "file", b"1")
        other.lookup(other.root, "file")
        heard: set[int] = set(other.changes())
        write_file(mine, mine.root, "file", b"12")
        end = time.monotonic() + 10
        while inode not in heard:
            assert time.monotonic() < end, "the other client never heard of the change"
            heard.update(other.changes())

    def test_an_inode_is_forgotten_by_the_provider_when_no_session_refers_to_it(self, net: Net) -> None:
        mine, other = net.client(), net.client(net.member(9))
        inode = write_file(mine, mine.root, "file", b"1")
        other.lookup(other.root, "file")
        ask(mine, files.Forget(inodes=[inode] * 5))
        assert net.files.sessions._shared[net.fs]._kept[inode] == 1
        assert other.getattr(inode).size == 1


def test_the_server_counts_what_its_sessions_hold(net: Net) -> None:
    client = net.client()
    _, handle = client.create(client.root, "file", 0o644, ME, READ_WRITE)
    client.lock(handle, Lock(kind=LockKind.WRITE, start=0, end=1, owner=1))
    assert net.files.figures() == {"sessions": 1, "open files": 1, "lock owners": 1}
    client.close(handle)
    assert net.files.figures() == {"sessions": 1, "open files": 0, "lock owners": 0}
