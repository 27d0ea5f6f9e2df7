"""After a lazy re-keying a file gets a new key when it is written: the old one opens nothing that is written later."""

from __future__ import annotations

import pytest
from btfproto.domain import DomainReader, grant_access, unverified_header
from btfproto.errors import FsError
from btfproto.localfs import LocalFs, _renewing
from btfproto.localfs._locking import Asked
from btfproto.provider import AllocateMode, AttributeChanges, Lock, LockKind, OpenFlags
from btfproto.store import Found, HeadWant, RecordRef, Store
from btfproto.store.remote._locks import LockTable
from btfproto.testing.domains import DAY, NOW
from btfproto.testing.provider import read_file, write_file
from btlib import Rights
from btlib.block import SectorCipher
from btlib.errors import IntegrityError
from btlib.readcaps import open_readcap
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_rekeying import ALICE, BOB, ME, FaultyStore, Tree, shared

BIG = bytes(range(256)) * 4000  #: what `large` holds: 63 sectors
RW = OpenFlags.READ | OpenFlags.WRITE


class Revoked(Tree):
    """Bob was revoked, and the directories have new keys. He has the keys that he read before."""

    def __init__(self) -> None:
        super().__init__()
        fs = self.open(self.world.machine)
        self.stolen = {name: self.key_of(fs, "photos", name) for name in ("small", "empty", "large", "link")}
        fs.shutdown()
        self.revoke(BOB)
        self.rekey(lazily=True)

    def is_open_to_bob(self, name: str) -> bool:
        """Whether a key that he stole opens anything of what the store has now."""
        key = self.stolen[name]
        (found,) = self.store.read_heads([HeadWant(key.block, 0)])
        assert isinstance(found, Found)
        header = unverified_header(found.head)
        refs = [RecordRef(0, index) for index in range(header.sector_count)]
        records = self.store.read_records(key.block, refs).records
        opened = 0
        for epoch in {0, header.key_epoch}:
            cipher = SectorCipher(key.key, key.block, epoch)
            opened += _opens(lambda c=cipher: c.open_attributes(header.version, header.attributes))
            for index, record in enumerate(records):
                if record is not None:
                    opened += _opens(lambda c=cipher, i=index, r=record: c.open(i, bytes(r)))
        return opened > 0

    def epoch_of(self, name: str) -> int:
        return self.epochs()[f"photos/{name}"]

    def content(self, name: str) -> bytes:
        fs = self.open(self.world.machine)
        found = read_file(fs, fs.lookup(fs.lookup(fs.root, "photos").inode, name).inode)
        fs.shutdown()
        return found


def _opens(attempt: object) -> bool:
    assert callable(attempt)
    try:
        attempt()
    except IntegrityError:
        return False
    return True


@pytest.fixture
def tree() -> Revoked:
    return Revoked()


def photos_of(fs: LocalFs) -> int:
    return fs.lookup(fs.root, "photos").inode


def write_at(fs: LocalFs, name: str, offset: int, data: bytes) -> None:
    handle = fs.open(fs.lookup(photos_of(fs), name).inode, RW)
    fs.write(handle, offset, data)
    fs.close(handle)


def test_until_it_is_written_a_file_keeps_its_key(tree: Revoked) -> None:
    assert tree.is_open_to_bob("large")
    assert tree.epoch_of("large") == 0


def test_a_write_into_the_middle_seals_the_whole_file_anew(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    write_at(fs, "large", 500_000, b"secret")
    fs.shutdown()
    assert tree.content("large") == BIG[:500_000] + b"secret" + BIG[500_006:]
    assert tree.epoch_of("large") == 1
    assert not tree.is_open_to_bob("large")


@pytest.mark.parametrize("name", ["small", "empty", "large"])
def test_so_does_every_other_change_of_content(tree: Revoked, name: str) -> None:
    fs = tree.open(tree.world.machine)
    inode = fs.lookup(photos_of(fs), name).inode
    before = read_file(fs, inode)
    expected = {"small": before + bytes(99), "empty": b"", "large": before[:70_000] + bytes(30_000) + before[100_000:]}
    if name == "small":
        fs.setattr(inode, AttributeChanges(size=100))
    elif name == "empty":
        fs.setxattr(inode, "user.note", b"secret")
    else:
        handle = fs.open(inode, RW)
        fs.fallocate(handle, AllocateMode.PUNCH_HOLE, 70_000, 30_000)
        fs.close(handle)
    fs.shutdown()
    assert tree.content(name) == expected[name]
    assert not tree.is_open_to_bob(name)


def test_a_file_that_is_written_anew_has_a_new_key(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    write_file(fs, photos_of(fs), "large", b"short")
    fs.shutdown()
    assert tree.content("large") == b"short"
    assert not tree.is_open_to_bob("large")


def test_a_change_of_times_alone_seals_nothing_anew(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    fs.setattr(fs.lookup(photos_of(fs), "large").inode, AttributeChanges(modified=1))
    fs.shutdown()
    assert tree.epoch_of("large") == 0


def test_what_is_made_afterwards_does_not_wait(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    made = fs.mkdir(photos_of(fs), "2025", 0o755, ME).inode
    write_file(fs, made, "new", b"n")
    fs.shutdown()
    assert (tree.epoch_of("2025"), tree.epoch_of("2025/new")) == (1, 1)
    assert tree.rekey(resume=True).blocks == 405


def test_what_was_written_is_not_sealed_anew_when_it_is_gone_on_with(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    write_at(fs, "small", 0, b"S")
    fs.shutdown()
    assert tree.rekey(resume=True).blocks == 404
    assert set(tree.epochs().values()) == {1}


def test_who_was_granted_the_directory_reads_what_was_written(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    write_at(fs, "small", 0, b"S")
    fs.shutdown()
    alice = tree.open(ALICE, "photos")
    assert read_file(alice, alice.lookup(alice.root, "small").inode) == b"S"
    alice.shutdown()


def test_a_file_for_which_a_readcap_was_granted_does_not_wait() -> None:
    """A file system does not know who has one, so it could not be made anew at a write."""
    tree = Tree()
    fs = tree.open(tree.world.machine)
    target = tree.key_of(fs, "photos", "small")
    fs.shutdown()
    grant = {"read": True, "rights": Rights(0), "now": NOW, "not_after": NOW + DAY, "random": tree.world.random}
    grant_access(tree.store, tree.world.machine, target, ALICE.public, **grant)  # type: ignore[arg-type]
    tree.revoke(BOB)
    tree.rekey(lazily=True)
    assert tree.epochs()["photos/small"] == 1
    fs = tree.open(tree.world.machine)
    write_at(fs, "small", 0, b"S")
    now = tree.key_of(fs, "photos", "small")
    fs.shutdown()
    reader = DomainReader(tree.store, tree.world.root.principal)
    _, record = reader.grants(tree.world.created.scope, ALICE.principal)
    keys = [open_readcap(ALICE.opener, one) for one in record.readcaps if one.block == target.block]
    assert [(key.key, key.key_epoch) for key in keys] == [(now.key, 1)]


def test_a_power_cut_leaves_the_file_as_it_was_or_as_it_is_with_the_key_that_opens_it(tree: Revoked) -> None:
    for commits, expected in ((0, BIG), (1, b"X" + BIG[1:])):
        fs = tree.open(tree.world.machine)
        tree.store.left = commits
        write_at(fs, "large", 0, b"X")
        if commits:
            fs.sync()
        else:
            with pytest.raises(FsError, match="the device failed"):
                fs.sync()
        fs.abandon()
        tree.store.left = None
        assert tree.content("large") == expected
    assert not tree.is_open_to_bob("large")


def test_what_could_not_be_committed_goes_with_what_was_written_meanwhile(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    write_at(fs, "large", 0, b"X")
    tree.store.left = 0
    for _ in range(2):
        with pytest.raises(FsError, match="the device failed"):
            fs.sync()
        write_at(fs, "large", 300_000, b"Y")
    tree.store.left = None
    fs.sync()
    write_at(fs, "large", 5, b"Z")
    fs.shutdown()
    assert tree.content("large") == b"X" + BIG[1:5] + b"Z" + BIG[6:300_000] + b"Y" + BIG[300_001:]
    assert not tree.is_open_to_bob("large")


def test_a_name_that_moves_before_the_commit_takes_the_new_key_along(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    write_at(fs, "small", 0, b"S")
    fs.rename(photos_of(fs), "small", fs.lookup(photos_of(fs), "2024").inode, "moved")
    write_at(fs, "large", 0, b"L")
    fs.link(fs.lookup(photos_of(fs), "large").inode, photos_of(fs), "too")
    fs.shutdown()
    assert tree.content("too") == tree.content("large") == b"L" + BIG[1:]
    again = tree.open(tree.world.machine)
    inner = again.lookup(photos_of(again), "2024").inode
    assert read_file(again, again.lookup(inner, "moved").inode) == b"S"
    again.shutdown()
    assert not tree.is_open_to_bob("small")


def test_a_file_without_a_name_is_committed_as_it_is(tree: Revoked) -> None:
    fs = tree.open(tree.world.machine)
    handle = fs.open(fs.lookup(photos_of(fs), "large").inode, RW)
    fs.write(handle, 0, b"X")
    fs.unlink(photos_of(fs), "large")
    fs.sync()
    assert fs.read(handle, 0, 2) == b"X" + BIG[1:2]
    fs.close(handle)
    fs.shutdown()
    assert "photos/large" not in tree.epochs()


def test_what_has_several_names_or_is_too_long_keeps_its_key(tree: Revoked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_renewing, "MAX_RENEWED", 500_000)
    fs = tree.open(tree.world.machine)
    fs.link(fs.lookup(photos_of(fs), "small").inode, photos_of(fs), "small too")
    fs.sync()
    write_at(fs, "small", 0, b"S")
    write_at(fs, "large", 0, b"X")
    fs.shutdown()
    assert (tree.epoch_of("small"), tree.epoch_of("large")) == (0, 0)
    assert (tree.content("small too"), tree.content("large")) == (b"S", b"X" + BIG[1:])
    fs = tree.open(tree.world.machine)
    fs.setattr(fs.lookup(photos_of(fs), "large").inode, AttributeChanges(size=400_000))
    fs.shutdown()
    assert tree.content("large") == b"X" + BIG[1:400_000]
    assert not tree.is_open_to_bob("large")


def test_what_does_not_fit_into_the_group_waits_for_the_next_one(
    tree: Revoked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_renewing, "RENEWED_ROOM", len(BIG) + 50_000)
    fs = tree.open(tree.world.machine)
    first = fs.done
    write_at(fs, "small", 10, bytes(60_000))
    assert fs.done == first
    write_at(fs, "large", 0, b"X")
    assert fs.done > first
    fs.shutdown()
    assert tree.content("large") == b"X" + BIG[1:]


def test_a_damaged_file_keeps_its_key_and_hinders_no_other(tree: Revoked, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = tree.open(tree.world.machine)
    read, spoilt = fs.store.read_records, RecordRef(0, 40)
    monkeypatch.setattr(
        fs.store, "read_records", lambda block, refs: read(block, [RecordRef(0, 3) if r == spoilt else r for r in refs])
    )
    write_at(fs, "large", 0, b"X")
    write_at(fs, "small", 0, b"S")
    fs.shutdown()
    monkeypatch.undo()
    assert (tree.epoch_of("large"), tree.epoch_of("small")) == (0, 1)
    assert tree.content("large") == b"X" + BIG[1:]


def test_who_has_the_file_open_elsewhere_reads_on_under_the_new_key(tree: Revoked) -> None:
    reader, writer = (shared(tree, tree.world.machine) for _ in range(2))
    inode = reader.lookup(photos_of(reader), "large").inode
    handle = reader.open(inode, OpenFlags.READ)
    assert reader.read(handle, 0, 5) == BIG[:5]
    write_at(writer, "large", 0, b"X")
    writer.sync()
    assert reader.getattr(inode).inode == inode
    assert reader.read(handle, 0, 5) == b"X" + BIG[1:5]
    reader.close(handle)
    reader.shutdown()
    writer.shutdown()


def test_a_mount_that_does_not_know_the_new_key_of_its_directory_writes_nothing_under_the_old_one() -> None:
    tree = Tree()
    fs = shared(tree, tree.world.machine)
    handle = fs.open(fs.lookup(photos_of(fs), "small").inode, RW)
    top = fs.open(fs.lookup(fs.root, "elsewhere").inode, RW)
    tree.revoke(BOB)
    tree.rekey(lazily=True, place=())
    fs.refresh()
    for one in (handle, top):
        with pytest.raises(FsError, match="its key was changed"):
            fs.write(one, 0, b"secret")
    fs.abandon()


pieces = st.tuples(st.sampled_from(["write", "cut", "punch", "sync"]), st.integers(0, 120_000), st.integers(1, 50_000))


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(pieces, min_size=1, max_size=8), failing=st.sets(st.integers(0, 7)))
def test_whatever_is_done_to_it_the_file_reads_as_if_it_had_kept_its_key(
    steps: list[tuple[str, int, int]], failing: set[int]
) -> None:
    tree = Revoked()
    fs = tree.open(tree.world.machine)
    handle = fs.open(fs.lookup(photos_of(fs), "large").inode, RW)
    model = bytearray(BIG)
    for number, (what, offset, size) in enumerate(steps):
        if what == "write":
            model.extend(bytes(max(0, offset + size - len(model))))
            model[offset : offset + size] = b"w" * size
            fs.write(handle, offset, b"w" * size)
        elif what == "cut":
            model = model[:offset].ljust(offset, b"\0")
            fs.setattr(fs.lookup(photos_of(fs), "large").inode, AttributeChanges(size=offset))
        elif what == "punch":
            end = min(offset + size, len(model))
            model[offset:end] = bytes(max(end - offset, 0))
            fs.fallocate(handle, AllocateMode.PUNCH_HOLE, offset, size)
        else:
            tree.store.left = 0 if number in failing else None
            _try_to_sync(fs)
            tree.store.left = None
        assert fs.read(handle, 0, 1 << 21) == model
    fs.close(handle)
    fs.shutdown()
    assert tree.content("large") == model
    if {"write", "cut"} & {what for what, _, _ in steps}:
        assert not tree.is_open_to_bob("large")


def _try_to_sync(fs: LocalFs) -> None:
    try:
        fs.sync()
    except FsError:
        assert fs.pending is not None


class Locked(FaultyStore):
    """With locks, as a server keeps them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        table = LockTable(lambda: 0.0)
        self.test_file_lock, self.drop_file_locks = table.test, table.drop
        self._table = table

    def set_file_lock(self, file: bytes, holder: bytes, lock: Lock, *, again: bool = False) -> Asked:
        return self._table.set(file, holder, lock, again=again)


def test_a_lock_is_found_under_the_new_key_and_ends_under_it(tree: Revoked) -> None:
    tree.store = Locked(tree.store)
    mine, yours = (shared(tree, tree.world.machine) for _ in range(2))
    lock = Lock(kind=LockKind.WRITE, owner=1, process=7)
    handles = [(fs, fs.open(fs.lookup(photos_of(fs), "large").inode, RW)) for fs in (mine, yours)]
    (_, held), (_, other) = handles
    mine.lock(held, lock)
    mine.write(held, 0, b"X")
    mine.sync()
    assert yours.test_lock(other, lock) is not None  # by the old name, which it knows
    yours.refresh()
    assert yours.test_lock(other, lock) is not None
    mine.lock(held, Lock(kind=LockKind.UNLOCK, owner=1, process=7))
    assert yours.test_lock(other, lock) is None
    yours.lock(other, lock)
    for fs, handle in handles:
        fs.close(handle)
        fs.shutdown()
