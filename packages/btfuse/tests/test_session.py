"""The loop and its handlers against a kernel made of a socket pair: no mount, no root."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator

import pytest
from btfproto.provider import FileKind, Owner
from btfuse._context import Context, Settings, Symlinks
from btfuse._protocol import (
    ATTR_OUT,
    BATCH_FORGET_IN,
    ENTRY_OUT,
    FALLOCATE_IN,
    FLUSH_IN,
    FORGET_ONE,
    INIT_IN,
    INIT_OUT,
    INTERRUPT_IN,
    LOCK_IN,
    OPEN_IN,
    OPEN_OUT,
    RENAME2_IN,
    SETATTR_IN,
    WRITE_IN,
    Init,
    Opcode,
    SetAttr,
)
from btfuse._session import MAX_WRITE
from btfuse.testing import MemoryProvider

from .socket_kernel import Answer, SocketKernel

OWNER = Owner(1000, 1000)


class Kernel(SocketKernel):
    """Over files in memory."""

    def __init__(self, settings: Settings) -> None:
        self.provider = MemoryProvider()
        super().__init__(Context(self.provider, settings))


@pytest.fixture
def settings() -> Settings:
    return Settings(mountpoint="/mnt", shared=False)


@pytest.fixture
def kernel(settings: Settings) -> Iterator[Kernel]:
    made = Kernel(settings)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("shared", [False, True])
def test_compiled_code_reads_only_where_the_mount_is_alone(shared: bool) -> None:
    btspeed = pytest.importorskip("btspeed", exc_type=ImportError)
    table = btspeed.ReadTable(12, b"")
    provider = MemoryProvider()
    settings = Settings(mountpoint="/mnt", shared=shared)
    assert Context(provider, settings).read_table is None
    provider.read_table = table  # type: ignore[attr-defined]
    assert Context(provider, settings).read_table is (None if shared else table)


def init(kernel: Kernel, minor: int = 45, flags: int = 0xFFFFFFFF) -> Answer:
    return kernel.ask(Opcode.INIT, 0, INIT_IN.pack(7, minor, 131072, flags) + bytes(48))


def test_the_first_exchange_agrees_on_large_requests(kernel: Kernel) -> None:
    error, content = init(kernel)
    major, _minor, _readahead, flags, _, _, max_write, _, max_pages, _ = INIT_OUT.unpack(content)
    assert (error, major, max_write, max_pages) == (0, 7, MAX_WRITE, MAX_WRITE // 4096)
    assert flags & Init.HANDLE_KILLPRIV_V2
    assert not flags & (Init.AUTO_INVAL_DATA | Init.POSIX_LOCKS | Init.WRITEBACK_CACHE)
    assert kernel.ready.is_set()


def test_nothing_is_agreed_that_the_kernel_does_not_offer(kernel: Kernel) -> None:
    _, content = init(kernel, flags=Init.ASYNC_READ)
    assert INIT_OUT.unpack(content)[3] == Init.ASYNC_READ


def test_a_kernel_that_is_too_old_is_refused(kernel: Kernel) -> None:
    assert init(kernel, minor=22)[0] == errno.EPROTO


@pytest.mark.parametrize("opcode", [0, 7, 19, 63, 64, 4096, 0xFFFFFFFF])
def test_an_unknown_request_is_not_implemented(kernel: Kernel, opcode: int) -> None:
    assert kernel.ask(opcode, 1)[0] == errno.ENOSYS


def test_an_absent_name_is_an_entry_without_a_node(kernel: Kernel) -> None:
    error, content = kernel.ask(Opcode.LOOKUP, 1, b"absent\0")
    assert error == 0
    node, _, valid, *_ = ENTRY_OUT.unpack(content)
    assert node == 0
    assert valid > 1000


def test_forgets_that_are_cut_off_forget_nothing_and_the_next_request_is_answered(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    made = kernel.provider.mkdir(kernel.provider.root, "d", 0o755, OWNER)
    assert kernel.lookup(1, "d") == made.inode
    cut = BATCH_FORGET_IN.pack(2, 0) + FORGET_ONE.pack(made.inode, 1) + bytes(7)
    assert kernel.ask(Opcode.BATCH_FORGET, 0, cut)[0] == errno.EIO
    assert "23 bytes of forgets" in caplog.text
    assert kernel.ask(Opcode.GETATTR, made.inode, bytes(16))[0] == 0
    assert kernel.provider.forgotten == []


def test_references_are_counted_and_the_last_is_forgotten(kernel: Kernel) -> None:
    made = kernel.provider.mkdir(kernel.provider.root, "d", 0o755, OWNER)
    assert kernel.lookup(1, "d") == kernel.lookup(1, "d") == made.inode
    forgets = BATCH_FORGET_IN.pack(2, 0) + FORGET_ONE.pack(made.inode, 1) + FORGET_ONE.pack(1, 9)
    kernel.send(Opcode.BATCH_FORGET, 0, forgets)
    kernel.ask(Opcode.GETATTR, 1, bytes(16))
    assert kernel.provider.forgotten == []
    kernel.send(Opcode.FORGET, made.inode, struct.pack("=Q", 1))
    kernel.ask(Opcode.GETATTR, 1, bytes(16))
    assert kernel.provider.forgotten == [made.inode]


def test_damage_is_an_errno_and_a_line_in_the_log_that_names_the_file(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    directory = kernel.provider.mkdir(kernel.provider.root, "photos", 0o755, OWNER)
    made = kernel.provider.mknod(directory.inode, "cat.jpg", FileKind.FILE, 0o644, OWNER)
    kernel.lookup(kernel.lookup(1, "photos"), "cat.jpg")
    kernel.provider.tampered.add(made.inode)
    error, _ = kernel.ask(Opcode.READ, made.inode, WRITE_IN.pack(0, 0, 4096, 0, 0, 0, 0))
    assert error == errno.EBADMSG
    assert "read of /photos/cat.jpg" in caplog.text


def test_a_defect_is_an_io_error_and_the_loop_goes_on(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    assert kernel.ask(Opcode.RENAME2, 1, RENAME2_IN.pack(1, 0, 0) + b"one name\0")[0] == errno.EIO
    assert "a defect of btfuse" in caplog.text
    assert kernel.ask(Opcode.GETATTR, 1, bytes(16))[0] == 0


def test_a_name_that_is_not_utf8_is_refused(kernel: Kernel) -> None:
    assert kernel.ask(Opcode.LOOKUP, 1, b"\xff\0")[0] == errno.EILSEQ


def test_whiteouts_and_unknown_allocations_are_refused(kernel: Kernel) -> None:
    assert kernel.ask(Opcode.RENAME2, 1, RENAME2_IN.pack(1, 4, 0) + b"a\0b\0")[0] == errno.EINVAL
    assert kernel.ask(Opcode.FALLOCATE, 1, FALLOCATE_IN.pack(1, 0, 1, 8, 0))[0] == errno.EOPNOTSUPP


def test_a_change_of_owner_takes_the_set_id_bits(kernel: Kernel) -> None:
    made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o6755, OWNER)
    kernel.lookup(1, "f")
    body = SETATTR_IN.pack(SetAttr.UID | SetAttr.KILL_SUIDGID, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0)
    error, content = kernel.ask(Opcode.SETATTR, made.inode, body)
    assert error == 0
    attributes = ATTR_OUT.unpack(content)
    assert attributes[12] == 0o100755
    assert attributes[14] == 5


def test_files_are_opened_without_a_request(kernel: Kernel) -> None:
    made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
    node = kernel.lookup(1, "f")
    assert kernel.ask(Opcode.OPEN, node, OPEN_IN.pack(os.O_RDWR, 0))[0] == errno.ENOSYS
    assert kernel.ask(Opcode.FLUSH, node, FLUSH_IN.pack(0, 0, 0, 0))[0] == errno.ENOSYS
    assert kernel.ask(Opcode.WRITE, node, WRITE_IN.pack(0, 0, 4, 0, 0, 0, 0) + b"data")[0] == 0
    assert kernel.ask(Opcode.READ, made.inode, WRITE_IN.pack(0, 1, 4096, 0, 0, 0, 0)) == (0, b"ata")


def test_an_unlinked_file_stays_until_the_kernel_forgets_it(kernel: Kernel) -> None:
    made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
    node = kernel.lookup(1, "f")
    assert kernel.ask(Opcode.UNLINK, 1, b"f\0")[0] == 0
    assert kernel.ask(Opcode.READ, node, WRITE_IN.pack(0, 0, 4096, 0, 0, 0, 0)) == (0, b"")
    kernel.send(Opcode.FORGET, node, struct.pack("=Q", 1))
    assert kernel.ask(Opcode.GETATTR, made.inode, bytes(16))[0] == errno.ESTALE


def test_what_the_provider_forgot_is_looked_up_again(kernel: Kernel) -> None:
    made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
    node = kernel.lookup(1, "f")
    for opcode, on, body in (
        (Opcode.GETATTR, node, bytes(16)),
        (Opcode.READ, node, WRITE_IN.pack(0, 0, 4096, 0, 0, 0, 0)),
        (Opcode.LINK, 1, struct.pack("=Q", node) + b"again\0"),
    ):
        kernel.provider.unknown.add(made.inode)
        assert kernel.ask(opcode, on, body)[0] == 0


def test_what_was_replaced_is_stale(kernel: Kernel) -> None:
    made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
    node = kernel.lookup(1, "f")
    kernel.provider.unlink(kernel.provider.root, "f")
    assert kernel.ask(Opcode.GETATTR, node, bytes(16))[0] == errno.ESTALE
    kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
    assert kernel.ask(Opcode.GETATTR, made.inode, bytes(16))[0] == errno.ESTALE


LEAVING = ["/etc/passwd", "../../x", "a/../../../x"]


def read_link(kernel: Kernel, target: str) -> Answer:
    directory = kernel.provider.mkdir(kernel.provider.root, "d", 0o755, OWNER)
    link = kernel.provider.symlink(directory.inode, "l", target, OWNER)
    kernel.lookup(kernel.lookup(1, "d"), "l")
    return kernel.ask(Opcode.READLINK, link.inode)


@pytest.mark.parametrize("target", LEAVING)
def test_a_symlink_that_leaves_the_mount_is_refused(
    kernel: Kernel, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_link(kernel, target) == (errno.EPERM, b"")
    assert f"/d/l was refused: its target {target!r}" in caplog.text


@pytest.mark.parametrize("target", ["x", "../x", "/mnt/x"])
def test_a_symlink_that_stays_inside_is_given(kernel: Kernel, target: str) -> None:
    assert read_link(kernel, target) == (0, target.encode())


@pytest.mark.parametrize("target", LEAVING)
def test_a_link_that_was_made_through_this_mount_is_given_as_it_is(kernel: Kernel, target: str) -> None:
    error, content = kernel.ask(Opcode.SYMLINK, 1, b"l\0" + target.encode() + b"\0")
    assert error == 0
    node = ENTRY_OUT.unpack(content)[0]
    assert kernel.ask(Opcode.READLINK, node) == (0, target.encode())


def test_a_link_that_was_changed_behind_the_mount_is_not_taken_for_the_one_that_was_made(kernel: Kernel) -> None:
    node = ENTRY_OUT.unpack(kernel.ask(Opcode.SYMLINK, 1, b"l\0/tmp\0")[1])[0]
    kernel.provider.retarget(node, "/etc/passwd")
    assert kernel.ask(Opcode.READLINK, node)[0] == errno.EPERM


class TestAsWritten:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(mountpoint="/mnt", shared=False, symlinks=Symlinks.AS_WRITTEN)

    @pytest.mark.parametrize("target", LEAVING)
    def test_every_target_is_given(self, kernel: Kernel, target: str) -> None:
        assert read_link(kernel, target) == (0, target.encode())


class TestShared:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(mountpoint="/mnt", shared=True, remote_locks=True)

    def test_the_kernel_forgets_soon(self, kernel: Kernel) -> None:
        flags = INIT_OUT.unpack(init(kernel)[1])[3]
        assert flags & Init.AUTO_INVAL_DATA
        assert flags & Init.POSIX_LOCKS
        assert ENTRY_OUT.unpack(kernel.ask(Opcode.LOOKUP, 1, b"absent\0")[1])[2] == 1

    def test_pages_are_kept_only_while_the_file_is_unchanged(self, kernel: Kernel) -> None:
        made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
        opens = [kernel.ask(Opcode.OPEN, made.inode, OPEN_IN.pack(os.O_RDWR, 0))[1] for _ in range(2)]
        assert [OPEN_OUT.unpack(content)[1] for content in opens] == [0, 2]
        kernel.provider.write(OPEN_OUT.unpack(opens[0])[0], 0, b"changed")
        _error, content = kernel.ask(Opcode.OPEN, made.inode, OPEN_IN.pack(os.O_RDWR, 0))
        assert OPEN_OUT.unpack(content)[1] == 0

    def test_what_was_written_is_committed_when_it_is_closed(self, kernel: Kernel) -> None:
        made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
        handle = kernel.open(made.inode)
        flush = FLUSH_IN.pack(handle, 0, 0, 1)
        kernel.ask(Opcode.FLUSH, made.inode, flush)
        assert kernel.provider.synced == 0
        kernel.ask(Opcode.WRITE, made.inode, WRITE_IN.pack(handle, 0, 4, 0, 0, 0, 0) + b"data")
        for _ in range(2):
            kernel.ask(Opcode.FLUSH, made.inode, flush)
        assert kernel.provider.synced == 1

    def test_a_lock_that_waits_is_answered_when_it_is_free(self, kernel: Kernel) -> None:
        handle = self.open_file(kernel)
        assert self.lock(kernel, handle, owner=1) == 0
        waiting = kernel.send(Opcode.SETLKW, 2, self.request(handle, owner=2))
        assert self.lock(kernel, handle, owner=3) == errno.EAGAIN
        unlock = kernel.send(Opcode.SETLK, 2, self.request(handle, owner=1, kind=fcntl.F_UNLCK))
        assert {kernel.receive()[:2], kernel.receive()[:2]} == {(unlock, 0), (waiting, 0)}

    def test_a_lock_that_waits_is_interrupted(self, kernel: Kernel) -> None:
        handle = self.open_file(kernel)
        assert self.lock(kernel, handle, owner=1) == 0
        waiting = kernel.send(Opcode.SETLKW, 2, self.request(handle, owner=2))
        kernel.send(Opcode.INTERRUPT, 0, INTERRUPT_IN.pack(waiting))
        assert kernel.receive()[:2] == (waiting, errno.EINTR)

    def test_an_interrupt_that_comes_before_the_wait_is_not_lost(self, kernel: Kernel) -> None:
        handle = self.open_file(kernel)
        assert self.lock(kernel, handle, owner=1) == 0
        waiting = kernel.send(Opcode.INTERRUPT, 0, INTERRUPT_IN.pack(8)) + 2
        assert waiting == 8
        assert kernel.ask(Opcode.SETLKW, 2, self.request(handle, owner=2))[0] == errno.EINTR

    def test_closing_gives_the_locks_of_a_process_back(self, kernel: Kernel) -> None:
        handle = self.open_file(kernel)
        assert self.lock(kernel, handle, owner=1) == 0
        assert kernel.ask(Opcode.FLUSH, 2, FLUSH_IN.pack(handle, 0, 0, 1))[0] == 0
        assert self.lock(kernel, handle, owner=2) == 0

    @staticmethod
    def open_file(kernel: Kernel) -> int:
        made = kernel.provider.mknod(kernel.provider.root, "f", FileKind.FILE, 0o644, OWNER)
        return kernel.open(made.inode)

    @staticmethod
    def request(handle: int, owner: int, kind: int = fcntl.F_WRLCK) -> bytes:
        return LOCK_IN.pack(handle, owner, 0, (1 << 63) - 1, kind, 7, 0, 0)

    def lock(self, kernel: Kernel, handle: int, owner: int) -> int:
        return kernel.ask(Opcode.SETLK, 2, self.request(handle, owner))[0]
