from __future__ import annotations

import pytest
from btfproto.errors import FsError
from btfproto.provider import FileKind, OpenFlags, Owner
from btfuse._handles import InodeHandles
from btfuse.testing import MemoryProvider
from btlib.kinds import Kind

OWNER = Owner(0, 0)


def make_files(provider: MemoryProvider, count: int) -> list[int]:
    return [provider.mknod(provider.root, f"f{n}", FileKind.FILE, 0o644, OWNER).inode for n in range(count)]


def opened(provider: MemoryProvider) -> int:
    return len(provider._handles)


def test_a_handle_is_opened_once_and_dropped_with_the_inode() -> None:
    provider = MemoryProvider()
    (inode,) = make_files(provider, 1)
    handles = InodeHandles(provider)
    assert handles.get(inode) == handles.get(inode)
    handles.drop(inode)
    handles.drop(inode)
    assert opened(provider) == 0


def test_idle_handles_are_bounded_and_kept_ones_are_not_among_them() -> None:
    provider = MemoryProvider()
    inodes = make_files(provider, 9)
    handles = InodeHandles(provider, limit=3)
    handles.keep(inodes[0])
    for inode in inodes[1:]:
        handles.get(inode)
    assert opened(provider) == 4
    provider.unlink(provider.root, "f0")
    provider.write(handles.get(inodes[0]), 0, b"still")


def test_only_the_last_name_of_a_file_is_a_loss() -> None:
    provider = MemoryProvider()
    first, _ = make_files(provider, 2)
    provider.mkdir(provider.root, "d", 0o755, OWNER)
    provider.link(first, provider.root, "again")
    handles = InodeHandles(provider)
    for name in ("f0", "d", "absent"):
        handles.keep_before_loss(provider.root, name)
    assert opened(provider) == 0
    handles.keep_before_loss(provider.root, "f1")
    assert opened(provider) == 1


def test_what_may_not_be_written_is_opened_for_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = MemoryProvider()
    (inode,) = make_files(provider, 1)
    plain = provider.open

    def read_only(inode: int, flags: OpenFlags) -> int:
        if flags & OpenFlags.WRITE:
            raise FsError(Kind.READ_ONLY, "no write capability")
        return plain(inode, flags)

    monkeypatch.setattr(provider, "open", read_only)
    assert provider.read(InodeHandles(provider).get(inode), 0, 10) == b""
