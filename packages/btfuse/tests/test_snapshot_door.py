"""Which requests go to the past, while the kernel looks up and forgets at the same time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import btfuse._snapshots
import pytest
from btfproto.opening import open_alone
from btfproto.past import SnapshotKeeper
from btfproto.provider import FsProvider, OpenFlags, Owner
from btfproto.store import Snapshot
from btfuse._context import Context, Settings
from btfuse._protocol import (
    ATTR_OUT,
    FORGET_IN,
    GETXATTR_IN,
    INIT_IN,
    LOCK_IN,
    LOCK_OUT,
    MKDIR_IN,
    READ_IN,
    RELEASE_IN,
    ROOT_NODE,
    Opcode,
)
from btfuse._snapshot_door import SnapshotDoor
from btfuse._snapshots import NAME, OPEN_PASTS, SEEN_SECONDS, SnapshotTree

from .conftest import PASSPHRASE, Machine
from .socket_kernel import SocketKernel

OWNER = Owner(1000, 1000)
NOW, THEN = b"written later", b"as it was"


def write(fs: FsProvider, handle: int, data: bytes) -> int:
    assert fs.write(handle, 0, data) == len(data)
    return handle


def size_of(kernel: SocketKernel, node: int) -> int:
    error, content = kernel.ask(Opcode.GETATTR, node, bytes(16))
    assert error == 0
    return int(ATTR_OUT.unpack(content)[4])


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def kernel(machine: Machine, request: pytest.FixtureRequest) -> Iterator[SocketKernel]:
    """A tree with a file that was changed after the snapshot `then`."""
    identity = machine.domain.credentials.unlock(PASSPHRASE)
    fs = open_alone(machine.domain, identity, machine.domain.root_path)
    try:
        with closing(
            SocketKernel(Context(fs, Settings(mountpoint="/mnt", shared=request.param, remote_locks=request.param)))
        ) as made:
            assert made.ask(Opcode.INIT, 0, INIT_IN.pack(7, 45, 131072, 0xFFFFFFFF) + bytes(48))[0] == 0
            handle = write(fs, fs.create(fs.root, "f", 0o644, OWNER, OpenFlags.WRITE)[1], THEN)
            assert made.ask(Opcode.MKDIR, made.lookup(ROOT_NODE, NAME), MKDIR_IN.pack(0o755, 0) + b"then\0")[0] == 0
            fs.close(write(fs, handle, NOW))
            yield made
    finally:
        fs.shutdown()


def test_a_node_that_was_looked_up_while_it_was_forgotten_is_still_of_the_past(kernel: SocketKernel) -> None:
    then = kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then")
    node = kernel.lookup(then, "f")
    tree_of(kernel).forget(node)  # the end of a FORGET that began before the look-up
    assert size_of(kernel, node) == len(THEN)
    assert size_of(kernel, kernel.lookup(ROOT_NODE, "f")) == len(NOW)


def test_a_node_that_the_kernel_forgot_is_stale(kernel: SocketKernel) -> None:
    node = kernel.lookup(kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then"), "f")
    kernel.send(Opcode.FORGET, node, FORGET_IN.pack(1))  # has no answer
    assert kernel.ask(Opcode.GETATTR, node, bytes(16))[0] == errno.ESTALE
    again = kernel.lookup(kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then"), "f")
    assert size_of(kernel, again) == len(THEN)


def test_another_snapshot_of_the_same_name_has_other_nodes(kernel: SocketKernel) -> None:
    top = kernel.lookup(ROOT_NODE, NAME)
    old = kernel.lookup(kernel.lookup(top, "then"), "f")
    assert kernel.ask(Opcode.RMDIR, top, b"then\0")[0] == 0
    assert kernel.ask(Opcode.MKDIR, top, MKDIR_IN.pack(0o755, 0) + b"then\0")[0] == 0
    new = kernel.lookup(kernel.lookup(top, "then"), "f")
    assert new != old
    assert size_of(kernel, new) == len(NOW)
    assert kernel.ask(Opcode.GETATTR, old, bytes(16))[0] == errno.ESTALE


#: Alone, the kernel opens files itself and tells nobody.
with_handles = pytest.mark.parametrize("kernel", [True], ids=["shared"], indirect=True)


def tree_of(kernel: SocketKernel) -> SnapshotTree:
    return cast(SnapshotDoor, kernel.context.door).tree


def make_snapshot(kernel: SocketKernel, name: str, child: str = "f") -> int:
    """The node of `f`, or another name, in a snapshot of now."""
    top = kernel.lookup(ROOT_NODE, NAME)
    assert kernel.ask(Opcode.MKDIR, top, MKDIR_IN.pack(0o755, 0) + name.encode() + b"\0")[0] == 0
    return kernel.lookup(kernel.lookup(top, name), child)


def content_of(kernel: SocketKernel, node: int, handle: int) -> bytes:
    error, content = kernel.ask(Opcode.READ, node, READ_IN.pack(handle, 0, 4096) + bytes(20))
    assert error == 0
    return content


def release(kernel: SocketKernel, node: int, handle: int) -> None:
    assert kernel.ask(Opcode.RELEASE, node, RELEASE_IN.pack(handle, os.O_RDONLY, 0, 0))[0] == 0


def test_more_snapshots_are_looked_into_than_are_kept_open(
    kernel: SocketKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btfuse._snapshots, "OPEN_PASTS", 2)
    old = kernel.lookup(kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then"), "f")
    new = [make_snapshot(kernel, name) for name in ("a", "b", "c")]
    for _ in range(2):
        assert size_of(kernel, old) == len(THEN)
        assert [size_of(kernel, node) for node in new] == [len(NOW)] * 3


@with_handles
def test_one_more_snapshot_is_looked_into_while_files_are_open_in_all_that_are_kept(
    kernel: SocketKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btfuse._snapshots, "OPEN_PASTS", 2)
    nodes = [make_snapshot(kernel, name) for name in ("a", "b", "c")]
    handles = [kernel.open(node, os.O_RDONLY) for node in nodes]
    old = kernel.lookup(kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then"), "f")
    assert size_of(kernel, old) == len(THEN)
    for node, handle in zip(nodes, handles, strict=True):
        assert content_of(kernel, node, handle) == NOW
        release(kernel, node, handle)


@with_handles
def test_a_file_that_is_open_in_a_snapshot_is_read_on_when_the_snapshot_is_deleted(kernel: SocketKernel) -> None:
    top = kernel.lookup(ROOT_NODE, NAME)
    node = kernel.lookup(kernel.lookup(top, "then"), "f")
    handle = kernel.open(node, os.O_RDONLY)
    assert kernel.ask(Opcode.RMDIR, top, b"then\0")[0] == 0
    assert content_of(kernel, node, handle) == THEN
    release(kernel, node, handle)


def lock_of(handle: int, kind: int) -> bytes:
    """What SETLK says: the whole file, for process 7."""
    return LOCK_IN.pack(handle, 7, 0, (1 << 63) - 1, kind, 7, 0, 0)


@with_handles
def test_who_locks_a_file_of_the_past_locks_none_of_the_present(kernel: SocketKernel) -> None:
    """Handles of both are numbers from 1 on."""
    now = kernel.lookup(ROOT_NODE, "f")
    then = kernel.lookup(kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then"), "f")
    present, past = kernel.open(now), kernel.open(then, os.O_RDONLY)
    while past < present:  # until they have the same number
        past = kernel.open(then, os.O_RDONLY)
    assert kernel.ask(Opcode.SETLK, then, lock_of(past, fcntl.F_WRLCK)) == (0, b"")
    error, content = kernel.ask(Opcode.GETLK, now, LOCK_IN.pack(present, 8, 0, (1 << 63) - 1, fcntl.F_WRLCK, 8, 0, 0))
    assert (error, LOCK_OUT.unpack(content)[2]) == (0, fcntl.F_UNLCK)
    assert kernel.ask(Opcode.SETLK, then, lock_of(past, fcntl.F_UNLCK)) == (0, b"")


def test_what_lies_deep_in_a_snapshot_is_found_again_when_that_was_shut(
    kernel: SocketKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btfuse._snapshots, "OPEN_PASTS", 1)
    fs = kernel.context.provider
    inner = fs.mkdir(fs.mkdir(fs.root, "d", 0o755, OWNER).inode, "e", 0o755, OWNER).inode
    fs.close(write(fs, fs.create(inner, "g", 0o644, OWNER, OpenFlags.WRITE)[1], NOW))
    node = make_snapshot(kernel, "deep", "d")
    node = kernel.lookup(kernel.lookup(node, "e"), "g")
    for _ in range(2):
        assert size_of(kernel, kernel.lookup(kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then"), "f")) == len(THEN)
        assert size_of(kernel, node) == len(NOW)


alone = pytest.mark.parametrize("kernel", [False], ids=["alone"], indirect=True)


@alone
def test_files_that_nobody_closes_keep_no_more_snapshots_open_than_others(kernel: SocketKernel) -> None:
    nodes = [make_snapshot(kernel, f"s{number}") for number in range(OPEN_PASTS + 3)]
    for node in nodes:
        assert content_of(kernel, node, 0) == NOW
    assert len(tree_of(kernel)._opened) <= OPEN_PASTS
    assert [content_of(kernel, node, 0) for node in nodes] == [NOW] * len(nodes)


@alone
def test_a_removal_that_is_refused_keeps_no_file_open(kernel: SocketKernel) -> None:
    then = kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then")
    assert kernel.ask(Opcode.UNLINK, then, b"f\0")[0] == errno.EROFS
    assert not tree_of(kernel)._handles


def test_the_directory_of_snapshots_has_no_attributes_of_its_own(kernel: SocketKernel) -> None:
    top = kernel.lookup(ROOT_NODE, NAME)
    assert kernel.ask(Opcode.GETXATTR, top, GETXATTR_IN.pack(100, 0) + b"user.note\0")[0] == errno.ENODATA
    assert kernel.ask(Opcode.LISTXATTR, top, GETXATTR_IN.pack(100, 0)) == (0, b"")


def test_a_listing_leaves_nothing_out_while_snapshots_are_made_and_deleted(kernel: SocketKernel) -> None:
    for name in ("a", "b", "c"):
        make_snapshot(kernel, name)
    tree = tree_of(kernel)
    begun = tree.readdir(tree.root, 0, 2)
    assert [entry.name for entry in begun] == ["then", "a"]
    tree.rmdir(tree.root, "then")
    tree.rmdir(tree.root, "b")
    make_snapshot(kernel, "d")
    assert [entry.name for entry in tree.readdir(tree.root, begun[-1].cookie, 10)] == ["c", "d"]
    assert [entry.name for entry in tree.readdir(tree.root, 0, 10)] == ["a", "c", "d"]


class Asked:
    """A keeper that counts how often it is asked for one."""

    def __init__(self, keeper: SnapshotKeeper) -> None:
        self.count = 0
        self.files, self.all, self.create, self.delete = keeper.files, keeper.all, keeper.create, keeper.delete
        self._keeper = keeper

    def find(self, name: str) -> Snapshot:
        self.count += 1
        return self._keeper.find(name)


def test_whether_a_snapshot_is_there_still_is_not_asked_at_every_step(kernel: SocketKernel) -> None:
    node = kernel.lookup(kernel.lookup(kernel.lookup(ROOT_NODE, NAME), "then"), "f")
    tree = tree_of(kernel)
    now = [tree._clock() + SEEN_SECONDS]
    asked = Asked(tree._keeper)
    tree._keeper, tree._clock = cast(SnapshotKeeper, asked), lambda: now[0]
    for _ in range(5):
        assert size_of(kernel, node) == len(THEN)
    assert asked.count == 1
    asked.delete("then")  # as another client would
    now[0] += SEEN_SECONDS
    assert kernel.ask(Opcode.GETATTR, node, bytes(16))[0] == errno.ENOENT
