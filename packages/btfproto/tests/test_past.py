"""Snapshots of a domain: what a maker signs, what a reader believes, and the files as they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from btfproto.domain import DomainReader, SnapshotRecord, all_digests, open_volume, snapshot_block, stretches_of
from btfproto.domain._snapshots import STRETCH, stretch_length
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FilePins, FsOptions, LocalFs, MemoryPins, Pins, empty_directory_attributes
from btfproto.past import SnapshotKeeper
from btfproto.provider import OpenFlags, Owner
from btfproto.revocations import RevocationView
from btfproto.store import (
    EmbeddedStore,
    HeadAnswer,
    HeadDigest,
    HeadWant,
    MemoryStore,
    Past,
    Snapshot,
    Store,
)
from btfproto.testing.domains import World, person
from btlib.kinds import Kind
from btlib.writecaps import Chain

ME = Owner(1, 1)
READ, BOTH = OpenFlags.READ, OpenFlags.READ | OpenFlags.WRITE


class Domain:
    """A domain, its files, and the keeper of its snapshots."""

    def __init__(self, store: Store) -> None:
        now = int(time.time())
        self.store = store
        self.world = World.make(store, now=now, directory_attributes=empty_directory_attributes)
        self.pins = MemoryPins()
        machine, path = self.world.machine, self.world.path()
        self.view = RevocationView(store, path.root)
        self.fs = LocalFs(
            store,
            machine,
            open_volume(store, machine, path, now),
            options=FsOptions(commit_interval=None),
            pins=self.pins,
            revocations=self.view,
        )
        self.keeper = self.keeper_of(self.pins)

    def keeper_of(self, pins: Pins) -> SnapshotKeeper:
        machine, path = self.world.machine, self.world.path()
        return SnapshotKeeper(self.store, machine, path, pins, self.view, lambda: int(time.time()))

    def write(self, name: str, content: bytes) -> None:
        _, handle = self.fs.create(self.fs.root, name, 0o644, ME, BOTH | OpenFlags.TRUNCATE)
        self.fs.write(handle, 0, content)
        self.fs.close(handle)
        self.fs.sync()


def content_of(fs: LocalFs, name: str) -> bytes:
    handle = fs.open(fs.lookup(fs.root, name).inode, READ)
    try:
        return fs.read(handle, 0, 1 << 20)
    finally:
        fs.close(handle)


@pytest.fixture(params=["memory", "embedded"])
def domain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Domain]:
    store = MemoryStore() if request.param == "memory" else EmbeddedStore(tmp_path / "store")
    domain = Domain(store)
    yield domain
    domain.fs.shutdown()
    store.close()


def test_a_snapshot_shows_the_files_as_they_were(domain: Domain) -> None:
    domain.write("a", b"old" * 10_000)
    domain.write("b", b"small")
    domain.keeper.create("s")
    domain.write("a", b"new")
    domain.fs.unlink(domain.fs.root, "b")
    domain.write("c", b"later")
    domain.fs.sync()
    past = domain.keeper.files("s")
    assert {entry.name for entry in past.readdir(past.root, 0, 10)} == {"a", "b"}
    assert content_of(past, "a") == b"old" * 10_000
    assert content_of(past, "b") == b"small"
    with pytest.raises(FsError) as caught:
        past.create(past.root, "d", 0o644, ME, BOTH)
    assert caught.value.kind is Kind.READ_ONLY
    past.shutdown()
    assert content_of(domain.fs, "a") == b"new"


def test_the_record_of_a_snapshot_follows_its_name(domain: Domain) -> None:
    for content in (b"one", b"two"):
        domain.write("a", content)
        domain.keeper.create("s")
        past = domain.keeper.files("s")
        assert content_of(past, "a") == content
        past.shutdown()
        domain.keeper.delete("s")
    with pytest.raises(StoreError, match="no snapshot 's'"):
        domain.keeper.files("s")


def test_what_nobody_signed_is_no_snapshot(domain: Domain) -> None:
    assert isinstance(domain.store, MemoryStore | EmbeddedStore)
    domain.store.create_snapshot("s", 1)
    with pytest.raises(FsError, match="nobody signed") as caught:
        domain.keeper.files("s")
    assert caught.value.kind is Kind.INTEGRITY


def test_a_snapshot_that_cannot_be_signed_is_not_left_behind(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise FsError(Kind.CONFLICT, "somebody was faster")

    monkeypatch.setattr("btfproto.past.commit_draft", fail)
    with pytest.raises(FsError, match="faster"):
        domain.keeper.create("s")
    assert domain.keeper.all() == []


def test_who_may_not_write_in_the_whole_domain_makes_no_snapshot(domain: Domain) -> None:
    guest, path = person(7), domain.world.path()
    keeper = SnapshotKeeper(domain.store, guest, path, MemoryPins(), domain.view, lambda: int(time.time()))
    acts: list[Callable[[], object]] = [lambda: keeper.create("s"), lambda: keeper.delete("s")]
    for act in acts:
        with pytest.raises(FsError, match="whole domain"):
            act()
    assert keeper.all() == []


def test_a_store_that_went_back_gets_no_signature(domain: Domain) -> None:
    domain.write("a", b"content")
    ahead = MemoryPins()
    (block,) = [summary.block for summary in domain.store.scan(None, 1)]
    ahead.note({block: 1000})
    with pytest.raises(FsError) as caught:
        domain.keeper_of(ahead).create("s")
    assert caught.value.kind is Kind.ROLLBACK
    assert domain.keeper.all() == []


class Mixing(MemoryStore):
    """Shows of some blocks what came after, or before, a snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self.lie: Callable[[HeadWant, HeadAnswer], HeadAnswer] = lambda _, answer: answer
        self.lie_of_digests: Callable[[list[HeadDigest]], list[HeadDigest]] = lambda digests: digests

    def at(self, name: str) -> Past:
        past = super().at(name)
        honest_heads, honest_digests = past.read_heads, past.digests

        def heads(wants: Sequence[HeadWant]) -> list[HeadAnswer]:
            return [self.lie(want, answer) for want, answer in zip(wants, honest_heads(wants), strict=True)]

        past.read_heads = heads  # type: ignore[method-assign]
        past.digests = lambda after, limit: self.lie_of_digests(honest_digests(after, limit))  # type: ignore[method-assign]
        return past


@pytest.mark.parametrize("digests_too", [False, True])
def test_a_store_that_mixes_versions_is_found_out(digests_too: bool) -> None:
    store = Mixing()
    domain = Domain(store)
    domain.write("a", b"first")
    store.create_snapshot("before", 1)
    domain.write("a", b"second")
    block = domain.fs.lookup(domain.fs.root, "a").inode.to_bytes(8, "little")
    domain.keeper.create("s")
    older = MemoryStore.at(store, "before")

    def lie(want: HeadWant, answer: HeadAnswer) -> HeadAnswer:
        return older.read_heads([want])[0] if want.block.startswith(block) else answer

    def lie_of_digests(digests: list[HeadDigest]) -> list[HeadDigest]:
        old = {digest.block: digest for digest in older.digests(None, 1000)}
        return [old[d.block] if d.block.startswith(block) else d for d in digests]

    store.lie = lie
    if digests_too:
        store.lie_of_digests = lie_of_digests
        with pytest.raises(FsError, match="other heads") as caught:
            domain.keeper.files("s")
    else:
        past = domain.keeper.files("s")
        with pytest.raises(FsError, match="another head") as caught:
            past.lookup(past.root, "a")
        past.shutdown()
    assert caught.value.kind is Kind.INTEGRITY
    domain.fs.shutdown()


def test_what_is_written_while_a_snapshot_is_signed_is_no_rollback(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain.write("a", b"first")

    def digests_while_somebody_writes(past: Past) -> Iterator[HeadDigest]:
        domain.write("a", b"second")
        return all_digests(past)

    monkeypatch.setattr("btfproto.past.all_digests", digests_while_somebody_writes)
    domain.keeper.create("s")
    past = domain.keeper.files("s")
    assert content_of(past, "a") == b"first"
    assert content_of(domain.fs, "a") == b"second"
    past.shutdown()


def test_stretches_cut_all_heads_in_order() -> None:
    digests = [HeadDigest(number.to_bytes(16, "big"), number, bytes(32)) for number in range(10)]
    assert [s.first[-1] for s in stretches_of(digests, 4)] == [0, 4, 8]
    assert stretch_length(1) == STRETCH
    assert stretch_length(10_000_000) * 4096 > 10_000_000
    record = SnapshotRecord(name="s", cursor=1, taken=1, length=4, stretches=tuple(stretches_of(digests, 4)))
    assert len({stretch.digest for stretch in record.stretches}) == 3


def test_a_record_stays_small_where_almost_all_heads_are_tombstones(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("btfproto.past.MAX_STRETCHES", 4)
    monkeypatch.setattr("btfproto.past.stretch_length", lambda _: 1)
    domain.write("a", b"content")
    for number in range(20):
        domain.write(f"gone{number}", b"content")
        domain.fs.unlink(domain.fs.root, f"gone{number}")
    domain.fs.sync()
    domain.keeper.create("s")
    found = DomainReader(domain.store, domain.world.path().root, domain.view).public(
        snapshot_block(domain.world.path().root, "s"), SnapshotRecord
    )
    assert found is not None
    assert len(found[1].stretches) in (3, 4)
    assert found[1].length in (8, 16)
    past = domain.keeper.files("s")
    assert content_of(past, "a") == b"content"
    past.shutdown()


def test_a_snapshot_names_itself(domain: Domain) -> None:
    made = domain.keeper.create("s")
    assert isinstance(made, Snapshot)
    assert [snapshot.name for snapshot in domain.keeper.all()] == ["s"]


def test_a_snapshot_beside_another_process_that_goes_on_writing_is_made(domain: Domain, tmp_path: Path) -> None:
    """Both keep what they see in one file: what the other saw after the snapshot was taken is no rollback of it."""
    domain.write("a", b"one")
    ours, theirs = FilePins(tmp_path / "pins"), FilePins(tmp_path / "pins")
    heads = {head.block: head.version for head in domain.store.scan(None, 100)}
    theirs.note(heads)
    theirs.flush()

    class Busy(SnapshotKeeper):
        def _sign(self, made: Snapshot, chain: Chain, now: int, seen: Callable[[bytes], int]) -> None:
            theirs.note({block: version + 1 for block, version in heads.items()})
            theirs.flush()
            super()._sign(made, chain, now, seen)

    machine, path = domain.world.machine, domain.world.path()
    Busy(domain.store, machine, path, ours, domain.view, lambda: int(time.time())).create("s")
    assert [made.name for made in domain.keeper.all()] == ["s"]
    ours.close()
    theirs.close()
