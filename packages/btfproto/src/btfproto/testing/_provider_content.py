"""What every provider must do with the content of files."""

from __future__ import annotations

from btlib.kinds import Kind

from ..provider import AllocateMode, AttributeChanges, FileKind, FsProvider, OpenFlags, Seek
from ._provider_tools import ME, READ_WRITE, fs_check, list_names, opened, read_file, refused, write_file

SIZES = (0, 1, 100, 4096, 16383, 16384, 16385, 40_000, 200_000)  #: around the bounds of sectors and pages


@fs_check
def a_new_file_is_found_under_its_name(fs: FsProvider) -> None:
    made, handle = fs.create(fs.root, "a", 0o640, ME, READ_WRITE)
    assert fs.lookup(fs.root, "a") == fs.getattr(made.inode) == made
    assert (made.kind, made.mode, made.links, made.uid, made.gid) == (FileKind.FILE, 0o640, 1, 1000, 100)
    assert (made.size, made.blocks) == (0, 0)
    assert made.inode != 0
    fs.close(handle)
    with refused(Kind.NOT_FOUND):
        fs.lookup(fs.root, "b")
    with refused(Kind.NOT_DIRECTORY):
        fs.lookup(made.inode, "b")


@fs_check
def create_opens_what_exists_unless_exclusive(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    shown, handle = fs.create(fs.root, "a", 0o600, ME, READ_WRITE)
    assert (shown.inode, shown.mode, fs.read(handle, 0, 10)) == (inode, 0o644, b"abc")
    fs.close(handle)
    with refused(Kind.EXISTS):
        fs.create(fs.root, "a", 0o600, ME, READ_WRITE | OpenFlags.EXCLUSIVE)
    shown, handle = fs.create(fs.root, "a", 0o600, ME, READ_WRITE | OpenFlags.TRUNCATE)
    assert shown.size == 0
    fs.close(handle)
    fs.mkdir(fs.root, "d", 0o755, ME)
    with refused(Kind.IS_DIRECTORY):
        fs.create(fs.root, "d", 0o600, ME, READ_WRITE)


@fs_check
def impossible_names_are_refused(fs: FsProvider) -> None:
    for name in ("", ".", "..", "a/b", "/", "a\0b"):
        with refused(Kind.INVALID):
            fs.mkdir(fs.root, name, 0o755, ME)
    for name in ("x" * 256, "ö" * 128):
        with refused(Kind.NAME_TOO_LONG):
            fs.mkdir(fs.root, name, 0o755, ME)
    names = ["x" * 255, "ö" * 127, " ", "...", "-rf", "a\nb", "\u202e", "\\"]
    for name in names:
        fs.mkdir(fs.root, name, 0o755, ME)
    assert sorted(list_names(fs, fs.root)) == sorted(names)


@fs_check
def content_reads_back_at_every_size(fs: FsProvider) -> None:
    for size in SIZES:
        data = bytes(range(251)) * (size // 251 + 1)
        inode = write_file(fs, fs.root, f"f{size}", data[:size])
        assert fs.getattr(inode).size == size
        assert read_file(fs, inode) == data[:size]
        with opened(fs, inode) as handle:
            assert fs.read(handle, size, 10) == b""
            assert fs.read(handle, max(size - 3, 0), 100) == data[max(size - 3, 0) : size]
            assert fs.read(handle, size // 2, 0) == b""


@fs_check
def writes_overlap_as_in_a_bytearray(fs: FsProvider) -> None:
    model = bytearray()
    _, handle = fs.create(fs.root, "a", 0o644, ME, READ_WRITE)
    for step, (offset, size) in enumerate([(0, 5), (3, 20_000), (16_380, 10), (60_000, 1), (0, 1), (32_768, 16_384)]):
        data = bytes([step + 1]) * size
        model.extend(bytes(max(offset + size - len(model), 0)))
        model[offset : offset + size] = data
        assert fs.write(handle, offset, memoryview(data)) == size
        assert fs.read(handle, 0, 100_000) == bytes(model)
    fs.close(handle)


@fs_check
def appending_ignores_the_offset(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    with opened(fs, inode, OpenFlags.WRITE | OpenFlags.APPEND) as handle:
        fs.write(handle, 0, b"def")
    assert read_file(fs, inode) == b"abcdef"


@fs_check
def handles_do_only_what_they_were_opened_for(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    with opened(fs, inode) as handle, refused(Kind.BAD_HANDLE):
        fs.write(handle, 0, b"x")
    with opened(fs, inode, OpenFlags.WRITE) as handle, refused(Kind.BAD_HANDLE):
        fs.read(handle, 0, 1)
    for call in (lambda: fs.close(handle), lambda: fs.read(handle, 0, 1), lambda: fs.fsync(handle)):
        with refused(Kind.BAD_HANDLE):
            call()
    with refused(Kind.IS_DIRECTORY):
        fs.open(fs.root, OpenFlags.WRITE)


@fs_check
def a_file_shrinks_and_grows_with_zeros(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"x" * 50_000)
    for size in (20_000, 100, 0, 16_384, 70_000):
        fs.setattr(inode, AttributeChanges(size=min(size, fs.getattr(inode).size)))
        fs.setattr(inode, AttributeChanges(size=size))
        assert fs.getattr(inode).size == size
    assert read_file(fs, inode) == bytes(70_000)
    write_file(fs, fs.root, "a", b"x" * 50_000)
    fs.sync()
    fs.setattr(inode, AttributeChanges(size=20_000))
    fs.setattr(inode, AttributeChanges(size=40_000))
    assert read_file(fs, inode) == b"x" * 20_000 + bytes(20_000)
    fs.sync()
    assert read_file(fs, inode) == b"x" * 20_000 + bytes(20_000)
    with refused(Kind.IS_DIRECTORY):
        fs.setattr(fs.root, AttributeChanges(size=0))


@fs_check
def holes_cost_nothing_and_read_as_zeros(fs: FsProvider) -> None:
    _, handle = fs.create(fs.root, "a", 0o644, ME, READ_WRITE)
    fs.write(handle, 10 << 20, b"end")
    fs.fsync(handle)
    shown = fs.lookup(fs.root, "a")
    assert shown.size == (10 << 20) + 3
    assert shown.blocks <= 64
    assert fs.read(handle, 5 << 20, 1000) == bytes(1000)
    assert fs.seek(handle, 0, Seek.HOLE) == 0
    data = fs.seek(handle, 0, Seek.DATA)
    assert 0 < data <= 10 << 20
    assert fs.seek(handle, data, Seek.HOLE) == shown.size
    with refused(Kind.RANGE):
        fs.seek(handle, shown.size, Seek.DATA)
    fs.close(handle)


@fs_check
def ranges_are_allocated_punched_and_zeroed(fs: FsProvider) -> None:
    for sync in (False, True):
        inode = write_file(fs, fs.root, f"a{sync}", b"x" * 60_000)
        if sync:
            fs.sync()
        with opened(fs, inode, READ_WRITE) as handle:
            fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 10_000, 30_000)
            expected = b"x" * 10_000 + bytes(30_000) + b"x" * 20_000
            assert read_file(fs, inode) == expected
            fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 50, 10)
            fs.fallocate(handle, AllocateMode.KEEP_SIZE, 0, 100_000)
            assert fs.getattr(inode).size == 60_000
            fs.fallocate(handle, AllocateMode.ALLOCATE, 50_000, 20_000)
            fs.fallocate(handle, AllocateMode.ZERO_RANGE, 65_000, 15_000)
            expected = expected[:50] + bytes(10) + expected[60:] + bytes(20_000)
            assert read_file(fs, inode) == expected
            fs.fsync(handle)
            assert read_file(fs, inode) == expected


@fs_check
def impossible_sizes_are_refused(fs: FsProvider) -> None:
    inode = write_file(fs, fs.root, "a", b"abc")
    with refused(Kind.TOO_LARGE):
        fs.setattr(inode, AttributeChanges(size=1 << 63))
    with opened(fs, inode, READ_WRITE) as handle:
        with refused(Kind.TOO_LARGE):
            fs.write(handle, (1 << 63) - 10, b"x" * 20)
        with refused(Kind.TOO_LARGE):
            fs.fallocate(handle, AllocateMode.ALLOCATE, 1 << 62, 1 << 62)
    assert read_file(fs, inode) == b"abc"
