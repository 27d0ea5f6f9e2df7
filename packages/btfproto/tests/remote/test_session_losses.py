"""Sessions whose link is lost: what is repeated, what is in doubt, and what the server keeps meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from btfproto.errors import FsError
from btfproto.messages import files
from btfproto.provider import (
    FileKind,
    Lock,
    LockKind,
    OpenFlags,
    RenameFlags,
)
from btfproto.remote import FsClient, SessionLimits
from btfproto.remote._link import SessionLostError
from btfproto.testing.provider import write_file
from btlib import Kind
from bttp import ConnectionLostError

from .conftest import MakeNet, Net
from .test_sessions import ME, READ_WRITE


def drop_link(client: FsClient) -> None:
    """What a network does."""
    client._session._dialer.link().close()


def after_the_next_answer(client: FsClient, act: Callable[[], object]) -> None:
    """Do something once, as another thread would, before the client takes its next answer in."""
    real = client._session.call

    def call(*request: Any) -> Any:
        client._session.call = real  # type: ignore[method-assign]
        reply = real(*request)
        act()
        return reply

    client._session.call = call  # type: ignore[method-assign, assignment]


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

    def test_what_was_written_while_a_file_was_synced_may_be_lost(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        handle = client.open(inode, READ_WRITE)
        acts: list[Callable[[], None]] = [lambda: client.fsync(handle), client.sync]
        for act in acts:
            after_the_next_answer(client, lambda: client.write(handle, 0, b"new"))
            act()
            net.files.sessions.end_all()
            with pytest.raises(FsError, match="started anew"):
                client.flush(handle)

    def test_so_may_a_write_whose_answer_came_when_the_file_was_opened_anew(
        self, worked: tuple[Net, FsClient, int]
    ) -> None:
        net, client, inode = worked
        handle = client.open(inode, READ_WRITE)

        def start_anew() -> None:
            net.files.sessions.end_all()
            assert client.read(handle, 0, 3) == b"new"

        after_the_next_answer(client, start_anew)
        client.write(handle, 0, b"new")
        with pytest.raises(FsError, match="started anew"):
            client.fsync(handle)

    def test_a_file_whose_locks_were_given_back_has_lost_nothing(self, worked: tuple[Net, FsClient, int]) -> None:
        net, client, inode = worked
        handle = client.open(inode, READ_WRITE)
        for kind in (LockKind.WRITE, LockKind.UNLOCK):
            client.lock(handle, Lock(kind=kind, owner=5))
        net.files.sessions.end_all()
        client.fsync(handle)
        client.lock(handle, Lock(kind=LockKind.READ, owner=5))
        net.files.sessions.end_all()
        with pytest.raises(FsError, match="started anew"):
            client.fsync(handle)

    def test_a_request_never_goes_into_a_newer_session_than_its_own(self, worked: tuple[Net, FsClient, int]) -> None:
        """There its handle may be another file's."""
        net, client, _ = worked
        net.files.sessions.end_all()
        session = client._session

        class RenewedMeanwhile(int):
            """A generation that is over just when it is looked at."""

            __hash__ = int.__hash__

            def __ne__(self, other: object) -> bool:
                session.renew(int(self))
                return bool(int(self) != other)

        request = files.GetAttributes(inode=client.root)
        with pytest.raises(SessionLostError):
            session.call(request, files.Attributed, RenewedMeanwhile(session.generation))

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
