"""Sessions: what belongs to whom, what is limited, and what survives lost links and restarted servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

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
    RenameFlags,
)
from btfproto.remote import FsClient, SessionLimits
from btfproto.testing.provider import write_file
from btlib import Kind
from bttp import ConnectionLostError

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


def drop_link(client: FsClient) -> None:
    """What a network does."""
    client._session._dialer.link().close()


class TestLosses:
    def test_a_session_survives_its_link_with_open_files_and_locks(self, net: Net) -> None:
        client, other = net.client(), net.client(net.member(9))
        inode = write_file(client, client.root, "file", b"123")
        handle = client.open(inode, READ_WRITE)
        client.lock(handle, Lock(kind=LockKind.WRITE, owner=5))
        drop_link(client)
        assert client.read(handle, 0, 10) == b"123"
        other.lookup(other.root, "file")
        with pytest.raises(FsError):
            other.lock(other.open(inode, READ_WRITE), Lock(kind=LockKind.WRITE, owner=5))

    def test_a_session_whose_client_stays_away_ends(self, make_net: MakeNet) -> None:
        net = make_net(limits=SessionLimits(grace_seconds=0.0))
        client, other = net.client(), net.client(net.member(9))
        inode = write_file(client, client.root, "file", b"123")
        client.lock(client.open(inode, READ_WRITE), Lock(kind=LockKind.WRITE, owner=5))
        drop_link(client)
        other.lookup(other.root, "file")
        handle = other.open(inode, READ_WRITE)
        end = time.monotonic() + 10
        while other.test_lock(handle, Lock(kind=LockKind.WRITE, owner=5)) is not None:
            assert time.monotonic() < end, "the lock of a client that is gone is still there"

    @pytest.fixture
    def worked(self, net: Net) -> tuple[Net, FsClient, int]:
        """A client that has looked deep into the tree; then the server forgets all sessions."""
        client = net.client()
        deep = client.mkdir(client.mkdir(client.root, "a", 0o755, ME).inode, "b", 0o755, ME)
        inode = write_file(client, deep.inode, "file", b"123")
        return net, client, inode

    def test_after_a_restart_inodes_are_looked_up_again(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        net.files.sessions.end_all()
        assert client.getattr(inode).size == 3
        assert client.lookup(client.root, "a").kind is FileKind.DIRECTORY

    def test_also_where_the_client_moved_them(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        parent = client.lookup(client.root, "a").inode
        client.rename(client.lookup(parent, "b").inode, "file", client.root, "moved", RenameFlags.NONE)
        net.files.sessions.end_all()
        assert client.getattr(inode).size == 3

    def test_what_lost_its_name_is_stale(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        parent = client.lookup(client.lookup(client.root, "a").inode, "b").inode
        client.unlink(parent, "file")
        net.files.sessions.end_all()
        with pytest.raises(FsError) as refused:
            client.getattr(inode)
        assert refused.value.kind is Kind.STALE

    def test_after_a_restart_open_files_are_opened_again(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        handle = client.open(inode, OpenFlags.READ)
        net.files.sessions.end_all()
        assert client.read(handle, 0, 10) == b"123"
        client.flush(handle)
        client.close(handle)

    def test_writes_that_may_be_lost_are_reported_once(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        handle = client.open(inode, READ_WRITE)
        client.write(handle, 0, b"new")
        net.files.sessions.end_all()
        with pytest.raises(FsError, match="started anew") as refused:
            client.fsync(handle)
        assert refused.value.kind is Kind.IO
        client.fsync(handle)
        client.close(handle)

    def test_what_was_synced_is_not_reported(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        handle = client.open(inode, READ_WRITE)
        client.write(handle, 0, b"new")
        client.fsync(handle)
        net.files.sessions.end_all()
        client.flush(handle)

    def test_many_threads_survive_a_restart_together(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        failed: list[FsError] = []

        def look() -> None:
            try:
                for _ in range(50):
                    client.getattr(inode)
            except FsError as error:
                failed.append(error)

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        net.files.sessions.end_all()
        for thread in threads:
            thread.join()
        assert failed == []

    def test_after_shutdown_everything_is_stale(self, net: Net) -> None:
        client = net.client()
        client.shutdown()
        client.shutdown()
        with pytest.raises(FsError) as refused:
            client.getattr(client.root)
        assert refused.value.kind is Kind.STALE
        assert len(net.files.sessions) == 0


def test_the_server_counts_what_its_sessions_hold(net: Net) -> None:
    client = net.client()
    _, handle = client.create(client.root, "file", 0o644, ME, READ_WRITE)
    client.lock(handle, Lock(kind=LockKind.WRITE, start=0, end=1, owner=1))
    assert net.files.figures() == {"sessions": 1, "open files": 1, "lock owners": 1}
    client.close(handle)
    assert net.files.figures() == {"sessions": 1, "open files": 0, "lock owners": 0}


class TestDoubt:
    """The reply is lost with the link, and the server is started anew before the request is repeated."""

    @pytest.fixture
    def shaken(self, net: Net) -> tuple[Net, FsClient, Callable[[], None]]:
        client = net.client()

        def lose_the_next_reply() -> None:
            link = client._session._dialer.link()
            call = link.call

            def answered_in_vain(*arguments: Any, **named: Any) -> memoryview:
                call(*arguments, **named)
                link.close()
                net.files.sessions.end_all()
                raise ConnectionLostError("lost")

            link.call = answered_in_vain  # type: ignore[method-assign]

        return net, client, lose_the_next_reply

    def test_what_was_made_is_made_once(self, shaken: tuple[Net, FsClient, Callable[[], None]]) -> None:
        net, client, lose = shaken
        root = client.root
        inode = write_file(client, root, "old", b"old")
        makes: list[Callable[[], object]] = [
            lambda: client.mkdir(root, "directory", 0o755, ME),
            lambda: client.symlink(root, "link", "target", ME),
            lambda: client.mknod(root, "fifo", FileKind.FIFO, 0o644, ME),
            lambda: client.link(inode, root, "again"),
        ]
        for make in makes:
            lose()
            make()
        lose()
        _, handle = client.create(root, "new", 0o644, ME, READ_WRITE | OpenFlags.EXCLUSIVE)
        client.close(handle)
        names = sorted(entry.name for entry in net.fs.readdir(net.fs.root, 0, 100))
        assert names == ["again", "directory", "fifo", "link", "new", "old"]

    def test_what_was_removed_is_removed_once(self, shaken: tuple[Net, FsClient, Callable[[], None]]) -> None:
        net, client, lose = shaken
        write_file(client, client.root, "file", b"")
        client.mkdir(client.root, "directory", 0o755, ME)
        lose()
        client.unlink(client.root, "file")
        lose()
        client.rmdir(client.root, "directory")
        assert net.fs.readdir(net.fs.root, 0, 100) == []

    @pytest.mark.parametrize("flags", [RenameFlags.NONE, RenameFlags.EXCHANGE])
    def test_what_was_moved_is_moved_once(
        self, shaken: tuple[Net, FsClient, Callable[[], None]], flags: RenameFlags
    ) -> None:
        net, client, lose = shaken
        one, two = write_file(client, client.root, "one", b"1"), write_file(client, client.root, "two", b"2")
        lose()
        client.rename(client.root, "one", client.root, "two", flags)
        found = {entry.name: entry.inode for entry in net.fs.readdir(net.fs.root, 0, 100)}
        assert found == ({"two": one} if flags is RenameFlags.NONE else {"two": one, "one": two})

    def test_what_may_have_been_appended_twice_is_reported(
        self, shaken: tuple[Net, FsClient, Callable[[], None]]
    ) -> None:
        _, client, lose = shaken
        handle = client.open(write_file(client, client.root, "log", b""), OpenFlags.WRITE | OpenFlags.APPEND)
        lose()
        client.write(handle, 0, b"line")
        with pytest.raises(FsError, match="started anew"):
            client.fsync(handle)
        client.close(handle)

    def test_a_request_that_never_went_out_fails_as_it_must(self, net: Net) -> None:
        client = net.client()
        client.mkdir(client.root, "there", 0o755, ME)
        net.files.sessions.end_all()
        with pytest.raises(FsError) as refused:
            client.mkdir(client.root, "there", 0o755, ME)
        assert refused.value.kind is Kind.EXISTS
        net.files.sessions.end_all()
        with pytest.raises(FsError) as refused:
            client.unlink(client.root, "absent")
        assert refused.value.kind is Kind.NOT_FOUND

    def test_a_failure_is_reported_although_its_first_report_was_lost(self, net: Net) -> None:
        client = net.client()
        inode = write_file(client, client.root, "file", b"")
        handle = client.open(inode, READ_WRITE)
        client.write(handle, 0, b"x")
        net.fs.table[inode].error = FsError(Kind.IO, "the disk failed")
        link = client._session._dialer.link()
        call = link.call

        def answered_in_vain(*arguments: Any, **named: Any) -> memoryview:
            call(*arguments, **named)
            link.close()
            raise ConnectionLostError("lost")

        link.call = answered_in_vain  # type: ignore[method-assign]
        with pytest.raises(FsError, match="the disk failed"):
            client.flush(handle)
        client.close(handle)
