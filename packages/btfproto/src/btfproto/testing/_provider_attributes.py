"""What every provider must do with attributes and locks, and as a whole."""

from __future__ import annotations

import threading

from btlib.kinds import Kind

from ..provider import AttributeChanges, FsProvider, Lock, LockKind, Owner
from ._provider_tools import ME, READ_WRITE, fs_check, list_names, opened, read_file, refused, write_file


@fs_check
def attributes_are_set(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    before = fs.getattr(inode)
    after = fs.setattr(inode, AttributeChanges(mode=0o4755, uid=1, gid=2, accessed=-5, modified=7_000_000_001))
    assert (after.mode, after.uid, after.gid, after.accessed, after.modified) == (0o4755, 1, 2, -5, 7_000_000_001)
    assert after.changed > before.changed
    assert fs.lookup(fs.root, "a") == after
    assert fs.setattr(inode, AttributeChanges(uid=3)).mode == 0o755


@fs_check
def times_follow_what_happens(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    root, file = fs.getattr(fs.root), fs.getattr(inode)
    with opened(fs, inode, READ_WRITE) as handle:
        fs.write(handle, 0, b"x")
    written = fs.getattr(inode)
    assert written.modified > file.modified
    assert written.changed > file.changed
    assert fs.getattr(fs.root) == root
    fs.link(inode, fs.root, "b")
    assert fs.getattr(fs.root).modified > root.modified
    assert fs.getattr(inode).modified == written.modified
    assert fs.getattr(inode).changed > written.changed


@fs_check
def a_set_group_id_directory_hands_its_group_down(fs: FsProvider) -> None:
    made = fs.mkdir(fs.root, "d", 0o2775, Owner(1, 7))
    file, handle = fs.create(made.inode, "f", 0o644, Owner(2, 8), READ_WRITE)
    fs.close(handle)
    below = fs.mkdir(made.inode, "e", 0o755, Owner(2, 8))
    assert (file.uid, file.gid, file.mode) == (2, 7, 0o644)
    assert (below.uid, below.gid, below.mode) == (2, 7, 0o2755)


@fs_check
def extended_attributes_are_kept(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"")
    fs.setxattr(inode, "user.one", b"1")
    fs.setxattr(inode, "user.two", bytes(1000))
    fs.sync()
    assert fs.listxattr(inode) == ["user.one", "user.two"]
    assert fs.getxattr(inode, "user.two") == bytes(1000)
    with refused(Kind.EXISTS):
        fs.setxattr(inode, "user.one", b"", create=True)
    with refused(Kind.NO_ATTRIBUTE):
        fs.setxattr(inode, "user.three", b"", replace=True)
    fs.setxattr(inode, "user.one", b"new", replace=True)
    assert fs.getxattr(inode, "user.one") == b"new"
    fs.removexattr(inode, "user.one")
    for call in (fs.getxattr, fs.removexattr):
        with refused(Kind.NO_ATTRIBUTE):
            call(inode, "user.one")
    with refused(Kind.NO_SPACE):
        fs.setxattr(inode, "user.huge", bytes(70_000))
    with refused(Kind.NOT_SUPPORTED):
        fs.setxattr(inode, "system.thing", b"")


@fs_check
def locks_exclude_other_owners(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"")
    with opened(fs, inode, READ_WRITE) as one, opened(fs, inode, READ_WRITE) as two:
        fs.lock(one, Lock(kind=LockKind.WRITE, start=0, end=10, owner=1, process=11))
        with refused(Kind.WOULD_BLOCK):
            fs.lock(two, Lock(kind=LockKind.READ, start=9, end=20, owner=2))
        held = fs.test_lock(two, Lock(kind=LockKind.READ, owner=2))
        assert held is not None
        assert (held.kind, held.start, held.end, held.process) == (LockKind.WRITE, 0, 10, 11)
        assert fs.test_lock(one, Lock(kind=LockKind.WRITE, owner=1)) is None
        fs.lock(two, Lock(kind=LockKind.READ, start=10, end=20, owner=2))
        fs.lock(one, Lock(kind=LockKind.UNLOCK, start=3, end=5, owner=1))
        fs.lock(two, Lock(kind=LockKind.WRITE, start=3, end=5, owner=2))
        with refused(Kind.WOULD_BLOCK):
            fs.lock(two, Lock(kind=LockKind.WRITE, start=5, end=6, owner=2))
    with opened(fs, inode, READ_WRITE) as three:
        fs.lock(three, Lock(kind=LockKind.WRITE, owner=3))


@fs_check
def what_was_synced_is_still_there(fs: FsProvider) -> None:
    data = bytes(range(256)) * 300
    inode = write_file(fs, fs.root, "a", data)
    with opened(fs, inode) as handle:
        fs.fsync(handle)
        fs.flush(handle)
    fs.sync()
    fs.forget(inode)
    assert read_file(fs, fs.lookup(fs.root, "a").inode) == data
    assert fs.lookup(fs.root, "a").blocks >= len(data) // 512


@fs_check
def the_file_system_tells_its_size(fs: FsProvider) -> None:
    status = fs.statfs()
    assert status.capacity >= status.available > 0
    assert status.name_limit == 255
    assert not status.read_only
    assert list(fs.changes()) == []


@fs_check
def threads_may_use_it_together(fs: FsProvider) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            directory = fs.mkdir(fs.root, f"t{number}", 0o755, ME).inode
            for step in range(30):
                data = bytes([number, step]) * 5000
                inode = write_file(fs, directory, f"f{step % 7}", data)
                assert read_file(fs, inode) == data
                if step % 10 == number:
                    fs.sync()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(list_names(fs, fs.root)) == ["t0", "t1", "t2", "t3"]


@fs_check
def after_shutdown_nothing_is_answered(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    root = fs.root
    fs.shutdown()
    fs.shutdown()
    for call in (lambda: fs.getattr(inode), lambda: fs.lookup(root, "a"), lambda: fs.readdir(root, 0, 1)):
        with refused(Kind.STALE):
            call()
