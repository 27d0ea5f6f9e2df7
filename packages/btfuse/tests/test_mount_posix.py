"""What programs expect of a file system, through a real mount of a file system in memory, over both bindings."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.mount

NOBODY = 65534


@contextlib.contextmanager
def opened(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def raises(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is checked
        yield
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]


def names_in(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


def as_nobody(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a user without rights."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


def test_content_is_read_back(mount: Path) -> None:
    content = os.urandom(3_000_001)
    (mount / "file").write_bytes(content)
    assert (mount / "file").read_bytes() == content


def test_whoever_reads_and_writes_here_and_there_past_the_cache_reads_what_was_written_last(mount: Path) -> None:
    chooser = random.Random(5)
    content = bytearray(os.urandom(4 << 20))
    (mount / "file").write_bytes(content)
    page = mmap.mmap(-1, 4096)  # aligned, as O_DIRECT wants it
    with opened(mount / "file", os.O_RDWR | os.O_DIRECT) as descriptor:
        for number in range(6000):
            at = chooser.randrange(1024) * 4096
            if number % 1500 == 1499:  # rare, so that whole stretches lie unchanged
                page[:] = os.urandom(4096)
                os.pwrite(descriptor, page, at)
                content[at : at + 4096] = page[:]
                os.fsync(descriptor)
            else:
                os.preadv(descriptor, [page], at)
                assert page[:] == content[at : at + 4096]


def test_a_missing_file_is_missing_until_it_is_made(mount: Path) -> None:
    assert not (mount / "later").exists()
    (mount / "later").touch()
    assert (mount / "later").exists()
    (mount / "later").unlink()
    assert not (mount / "later").exists()


def test_an_exclusive_create_fails_where_the_name_exists(mount: Path) -> None:
    (mount / "file").touch()
    with raises(errno.EEXIST):
        (mount / "file").touch(exist_ok=False)


def test_opening_with_truncation_empties(mount: Path) -> None:
    (mount / "file").write_bytes(b"long content")
    with opened(mount / "file", os.O_WRONLY | os.O_TRUNC):
        assert (mount / "file").stat().st_size == 0


def test_truncation_shortens_and_extends_with_zeros(mount: Path) -> None:
    file = mount / "file"
    file.write_bytes(b"0123456789")
    os.truncate(file, 4)
    os.truncate(file, 8)
    assert file.read_bytes() == b"0123\0\0\0\0"


def test_two_processes_append_without_losing_a_line(mount: Path) -> None:
    code = "import os,sys\nf=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND)\n[os.write(f,b'line\\n') for _ in range(500)]"
    (mount / "log").touch()
    writers = [subprocess.Popen([sys.executable, "-c", code, str(mount / "log")]) for _ in range(2)]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    assert (mount / "log").read_bytes() == b"line\n" * 1000


def test_an_unlinked_open_file_lives_until_it_is_closed(mount: Path) -> None:
    with opened(mount / "file", os.O_RDWR | os.O_CREAT) as descriptor:
        (mount / "file").unlink()
        os.write(descriptor, b"still here")
        os.ftruncate(descriptor, 5)
        os.fchmod(descriptor, 0o600)
        status = os.fstat(descriptor)
        assert (status.st_nlink, status.st_size, stat.S_IMODE(status.st_mode)) == (0, 5, 0o600)
        assert os.pread(descriptor, 20, 0) == b"still"
        assert list(mount.iterdir()) == []
    mount.rmdir()
    mount.mkdir()


def test_a_large_file_without_a_name_is_read_and_written(mount: Path) -> None:
    content = os.urandom(3_000_000)
    (mount / "file").write_bytes(content)
    (mount / "again").hardlink_to(mount / "file")
    os.sync()
    with opened(mount / "file", os.O_RDWR) as descriptor:
        (mount / "file").unlink()
        assert os.fstat(descriptor).st_nlink == 1
        (mount / "again").unlink()
        assert os.fstat(descriptor).st_nlink == 0
        os.pwrite(descriptor, b"changed", 1_000_000)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(descriptor, len(content), 0) == content[:1_000_000] + b"changed" + content[1_000_007:]
    assert list(mount.iterdir()) == []


def test_names_of_other_things_than_files_are_unlinked(mount: Path) -> None:
    (mount / "link").symlink_to("nowhere")
    os.mkfifo(mount / "pipe")
    (mount / "directory").mkdir()
    (mount / "link").unlink()
    (mount / "pipe").unlink()
    for name, number in (("directory", errno.EISDIR), ("absent", errno.ENOENT)):
        with raises(number):
            (mount / name).unlink()
    assert names_in(mount) == ["directory"]


def test_a_rename_replaces_a_file_that_is_open(mount: Path) -> None:
    (mount / "old").write_bytes(b"old")
    (mount / "new").write_bytes(b"new")
    with opened(mount / "old", os.O_RDONLY) as descriptor:
        (mount / "new").rename(mount / "old")
        assert os.read(descriptor, 10) == b"old"
        assert os.fstat(descriptor).st_nlink == 0
    assert (mount / "old").read_bytes() == b"new"
    assert names_in(mount) == ["old"]


def test_a_renamed_directory_takes_its_content_along(mount: Path) -> None:
    (mount / "a/b/c").mkdir(parents=True)
    (mount / "a/b/c/file").write_bytes(b"x")
    (mount / "other").mkdir()
    (mount / "a/b").rename(mount / "other/moved")
    assert (mount / "other/moved/c/file").read_bytes() == b"x"
    assert not (mount / "a/b").exists()
    assert (mount / "other/moved/c/..").stat().st_ino == (mount / "other/moved").stat().st_ino


def test_a_directory_that_is_not_empty_is_neither_removed_nor_replaced(mount: Path) -> None:
    (mount / "full/x").mkdir(parents=True)
    (mount / "empty").mkdir()
    with raises(errno.ENOTEMPTY):
        (mount / "full").rmdir()
    with raises(errno.ENOTEMPTY):
        (mount / "empty").rename(mount / "full")


def test_names_may_be_exchanged_and_are_not_replaced_where_that_is_asked(mount: Path) -> None:
    (mount / "one").write_text("1")
    (mount / "two").write_text("2")
    assert _renameat2(mount / "one", mount / "two", flags=1) == errno.EEXIST
    assert _renameat2(mount / "one", mount / "two", flags=2) == 0
    assert ((mount / "one").read_text(), (mount / "two").read_text()) == ("2", "1")


def _renameat2(old: Path, new: Path, flags: int) -> int:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    done = library.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags)
    return 0 if done == 0 else ctypes.get_errno()


def test_hard_links_are_one_file(mount: Path) -> None:
    first, second = mount / "first", mount / "second"
    first.write_bytes(b"first")
    os.link(first, second)
    assert first.stat().st_nlink == second.stat().st_nlink == 2
    assert first.stat().st_ino == second.stat().st_ino
    second.write_bytes(b"through the second name")
    second.chmod(0o600)
    assert first.read_bytes() == b"through the second name"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    first.unlink()
    assert second.stat().st_nlink == 1


def test_relative_symlinks_inside_the_mount_are_followed(mount: Path) -> None:
    (mount / "a/b").mkdir(parents=True)
    (mount / "target").write_text("found")
    (mount / "a/b/link").symlink_to("../../target")
    assert (mount / "a/b/link").readlink() == Path("../../target")
    assert (mount / "a/b/link").read_text() == "found"


@pytest.mark.parametrize("size", [1, 255])
def test_names_have_up_to_255_bytes(mount: Path, size: int) -> None:
    file = mount / ("n" * size)
    file.touch()
    assert names_in(mount) == ["n" * size]
    file.unlink()


def test_longer_names_are_refused(mount: Path) -> None:
    with raises(errno.ENAMETOOLONG):
        (mount / ("n" * 256)).touch()


def test_a_name_that_is_not_utf8_is_refused(mount: Path) -> None:
    with raises(errno.EILSEQ):
        (mount / os.fsdecode(b"\xff\xfe")).mkdir()


def test_deep_paths_work(mount: Path) -> None:
    deep = mount.joinpath(*["d"] * 100)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    assert (deep / "file").read_text() == "deep"


def test_times_have_nanoseconds(mount: Path) -> None:
    (mount / "file").touch()
    os.utime(mount / "file", ns=(1_234_567_890_123_456_789, -5_000_000_001))
    status = (mount / "file").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (1_234_567_890_123_456_789, -5_000_000_001)


def test_writing_moves_the_times_on(mount: Path) -> None:
    (mount / "file").touch()
    os.utime(mount / "file", ns=(0, 0))
    changed = (mount / "file").stat().st_ctime_ns
    (mount / "file").write_bytes(b"x")
    assert (mount / "file").stat().st_mtime_ns > 0
    assert (mount / "file").stat().st_ctime_ns > changed


def test_extended_attributes_are_kept(mount: Path) -> None:
    file = mount / "file"
    file.touch()
    os.setxattr(file, "user.colour", b"blue")
    os.setxattr(file, "user.empty", b"")
    os.setxattr(file, "trusted.large", bytes(30_000))
    assert os.getxattr(file, "user.colour") == b"blue"
    assert os.getxattr(file, "user.empty") == b""
    assert len(os.getxattr(file, "trusted.large")) == 30_000
    assert sorted(os.listxattr(file)) == ["trusted.large", "user.colour", "user.empty"]
    os.removexattr(file, "user.colour")
    with raises(errno.ENODATA):
        os.getxattr(file, "user.colour")
    with raises(errno.EEXIST):
        os.setxattr(file, "user.empty", b"", os.XATTR_CREATE)


def test_security_attributes_are_refused(mount: Path) -> None:
    (mount / "file").touch()
    with raises(errno.EOPNOTSUPP):
        os.setxattr(mount / "file", "security.mine", b"x")


def test_a_sparse_file_reads_as_zeros_between(mount: Path) -> None:
    with opened(mount / "file", os.O_RDWR | os.O_CREAT) as descriptor:
        os.pwrite(descriptor, b"end", 10_000_000)
        assert os.pread(descriptor, 8, 5_000_000) == bytes(8)
        assert os.fstat(descriptor).st_size == 10_000_003


def test_space_is_allocated_and_holes_are_punched(mount: Path) -> None:
    file = mount / "file"
    file.write_bytes(b"x" * 10_000)
    subprocess.run(["fallocate", "-l", "20000", str(file)], check=True)
    assert file.stat().st_size == 20_000
    subprocess.run(["fallocate", "-p", "-o", "1000", "-l", "2000", str(file)], check=True)
    assert file.read_bytes() == b"x" * 1000 + bytes(2000) + b"x" * 7000 + bytes(10_000)


def test_a_range_is_zeroed_with_and_without_keeping_the_size(mount: Path) -> None:
    file = mount / "file"
    file.write_bytes(b"x" * 10_000)
    subprocess.run(["fallocate", "-z", "-n", "-o", "1000", "-l", "2000", str(file)], check=True)
    subprocess.run(["fallocate", "-z", "-n", "-o", "9000", "-l", "2000", str(file)], check=True)
    assert file.read_bytes() == b"x" * 1000 + bytes(2000) + b"x" * 6000 + bytes(1000)
    subprocess.run(["fallocate", "-z", "-o", "9000", "-l", "2000", str(file)], check=True)
    assert file.stat().st_size == 11_000


def test_a_seek_for_a_hole_is_answered(mount: Path) -> None:
    (mount / "file").write_bytes(b"data")
    with opened(mount / "file", os.O_RDONLY) as descriptor:
        assert os.lseek(descriptor, 0, os.SEEK_DATA) == 0
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == 4


def test_a_shared_mapping_writes_the_file(mount: Path) -> None:
    file = mount / "file"
    file.write_bytes(bytes(100_000))
    with opened(file, os.O_RDWR) as descriptor, mmap.mmap(descriptor, 0) as mapping:
        mapping[50_000:50_005] = b"hello"
        mapping.flush()
    assert file.read_bytes()[49_999:50_006] == b"\0hello\0"


def test_flock_excludes_another_open_file(mount: Path) -> None:
    (mount / "file").touch()
    with opened(mount / "file", os.O_RDWR) as first, opened(mount / "file", os.O_RDWR) as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        with raises(errno.EAGAIN):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(first, fcntl.LOCK_UN)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_statfs_tells_sizes(mount: Path) -> None:
    status = os.statvfs(mount)
    assert status.f_namemax == 255
    assert status.f_frsize * status.f_blocks >= status.f_frsize * status.f_bavail > 0


def test_ten_thousand_entries_are_listed_once_each_while_others_come_and_go(mount: Path) -> None:
    steady = [f"steady-{number:05}" for number in range(10_000)]
    for name in steady:
        (mount / name).touch()
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            (mount / "passing").touch()
            (mount / "passing").unlink()

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for _ in range(3):
            # What comes and goes may be seen at each place where it was; what stays is seen once.
            assert sorted(name for name in names_in(mount) if name != "passing") == steady
    finally:
        stop.set()
        disturber.join()


def test_special_files_are_made(mount: Path) -> None:
    os.mkfifo(mount / "fifo")
    os.mknod(mount / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert stat.S_ISFIFO((mount / "fifo").stat().st_mode)
    status = (mount / "null").stat()
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == os.makedev(1, 3)


def test_device_files_are_not_opened(mount: Path) -> None:
    os.mknod(mount / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with raises(errno.EACCES):
        (mount / "null").read_bytes()


def test_permissions_are_enforced_by_the_kernel(mount: Path) -> None:
    secret = mount / "secret"
    secret.write_text("mine")
    secret.chmod(0o600)
    assert "PermissionError" in as_nobody("import sys; open(sys.argv[1])", str(secret)).stderr
    secret.chmod(0o644)
    assert as_nobody("import sys; print(open(sys.argv[1]).read())", str(secret)).stdout == "mine\n"


def test_owners_are_changed_and_given_to_new_files(mount: Path) -> None:
    mount.chmod(0o777)
    as_nobody("import sys; open(sys.argv[1], 'w').write('x')", str(mount / "theirs"))
    assert ((mount / "theirs").stat().st_uid, (mount / "theirs").stat().st_gid) == (NOBODY, NOBODY)
    os.chown(mount / "theirs", 1, 2)
    assert ((mount / "theirs").stat().st_uid, (mount / "theirs").stat().st_gid) == (1, 2)
    os.chown(mount / "theirs", -1, 3)
    assert ((mount / "theirs").stat().st_uid, (mount / "theirs").stat().st_gid) == (1, 3)


def test_a_write_by_somebody_without_rights_takes_the_set_id_bits(mount: Path) -> None:
    program = mount / "program"
    program.write_text("x")
    program.chmod(0o6777)
    done = as_nobody("import sys; open(sys.argv[1], 'a').write('y')", str(program))
    assert done.stderr == ""
    assert program.read_text() == "xy"
    assert stat.S_IMODE(program.stat().st_mode) == 0o777


def test_new_files_take_the_group_of_a_set_gid_directory(mount: Path) -> None:
    os.chown(mount, -1, 7)
    mount.chmod(0o2777)
    (mount / "file").touch()
    (mount / "sub").mkdir()
    assert (mount / "file").stat().st_gid == 7
    assert (mount / "sub").stat().st_gid == 7
    assert (mount / "sub").stat().st_mode & stat.S_ISGID


def test_a_file_copied_by_the_kernel_is_the_same(mount: Path) -> None:
    (mount / "from").write_bytes(os.urandom(1_000_000))
    with opened(mount / "from", os.O_RDONLY) as source, opened(mount / "to", os.O_WRONLY | os.O_CREAT) as target:
        done = 0
        while copied := os.copy_file_range(source, target, 1_000_000):
            done += copied
    assert done == 1_000_000
    assert (mount / "to").read_bytes() == (mount / "from").read_bytes()


def test_fsync_reaches_files_and_directories(mount: Path) -> None:
    with opened(mount / "file", os.O_RDWR | os.O_CREAT) as descriptor:
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        os.fdatasync(descriptor)
    with opened(mount, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)


def test_direct_io_reads_and_writes(mount: Path) -> None:
    file = mount / "file"
    with opened(file, os.O_RDWR | os.O_CREAT | os.O_DIRECT) as descriptor, mmap.mmap(-1, 8192) as aligned:
        aligned.write(b"d" * 8192)
        assert os.writev(descriptor, [aligned]) == 8192
        aligned[:] = bytes(8192)
        os.preadv(descriptor, [aligned], 0)
        assert aligned[:] == b"d" * 8192
