"""Revoked writers: what they wrote before is read, what came later is not, and they themselves write no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from btfproto.domain import SeenList, grant_access, open_volume, revoke_access
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.provider import OpenFlags
from btfproto.revocations import MemoryOfProcess, Remembered, RevocationView
from btfproto.testing.domains import DAY, NOW, World, person
from btfproto.testing.provider import list_names, read_file, write_file
from btlib import Identity, Rights
from btlib.kinds import Kind
from btlib.revocations import NO_LIST

SHARED = FsOptions(shared=True, commit_interval=None, fresh_seconds=0.0)
ALICE = person(40)

Open = Callable[[Identity], LocalFs]


class Clock:
    """Whole seconds, as a test sets them."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now * 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(world: World, clock: Clock) -> Iterator[Open]:
    """Opens the domain for the machine or for Alice, who may write in all of it."""
    grant_access(
        world.store,
        world.machine,
        world.created.directory,
        ALICE.public,
        read=True,
        rights=Rights.WRITE,
        now=NOW,
        not_after=NOW + DAY,
        random=world.random,
    )
    opened: list[LocalFs] = []

    def make(who: Identity) -> LocalFs:
        volume = open_volume(world.store, who, world.path(), NOW)
        fs = LocalFs(world.store, who, volume, options=SHARED, clock=clock)
        opened.append(fs)
        return fs

    yield make
    for fs in opened:
        fs.abandon()


def revoke_alice(world: World, *, since: int) -> None:
    revoke_access(
        world.store,
        world.machine,
        world.root.principal,
        principals={ALICE.principal: since},
        serials={},
        now=NOW,
        random=world.random,
    )


def test_an_open_file_system_shows_what_was_written_before_and_not_what_came_later(
    world: World, shared: Open, clock: Clock
) -> None:
    reader, alice = shared(world.machine), shared(ALICE)
    write_file(alice, alice.root, "before", b"honest")
    alice.sync()
    write_file(reader, reader.root, "mine", b"the directory is not Alice's any more")
    reader.sync()
    before = reader.lookup(reader.root, "before").inode
    clock.now = NOW + 10
    later = write_file(alice, alice.root, "before", b"forged")
    alice.sync()
    assert read_file(reader, before) == b"forged"
    revoke_alice(world, since=NOW + 10)
    with pytest.raises(FsError, match=r"without the right to: .* was revoked on") as refused:
        read_file(reader, reader.lookup(reader.root, "before").inode)
    assert refused.value.kind is Kind.INTEGRITY
    assert later == before


def test_what_was_written_before_the_moment_is_read_by_who_opens_later(world: World, shared: Open) -> None:
    alice = shared(ALICE)
    write_file(alice, alice.root, "before", b"honest" * 5000)
    alice.sync()
    revoke_alice(world, since=NOW + 1)
    reader = shared(world.machine)
    assert list_names(reader, reader.root) == ["before"]
    assert read_file(reader, reader.lookup(reader.root, "before").inode) == b"honest" * 5000


def test_an_open_file_system_of_the_revoked_one_writes_no_more(world: World, shared: Open, clock: Clock) -> None:
    alice = shared(ALICE)
    inode = write_file(alice, alice.root, "a", b"x")
    alice.sync()
    revoke_alice(world, since=NOW + 1)
    clock.now = NOW + 1
    alice.refresh()
    with pytest.raises(FsError, match="was revoked on") as refused:
        alice.open(inode, OpenFlags.WRITE | OpenFlags.TRUNCATE)
    assert refused.value.kind is Kind.READ_ONLY


def test_a_store_that_shows_an_older_list_than_remembered_is_not_opened(world: World) -> None:
    memory = MemoryOfProcess()
    seen = SeenList(record=NO_LIST.extended({}, {}), written=NOW)
    memory.save(Remembered(root=world.root.principal.digest, seen=seen, confirmed=NOW))
    view = RevocationView(world.store, world.root.principal, memory)
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    with pytest.raises(FsError, match="version 1 was seen before") as refused:
        LocalFs(world.store, world.machine, volume, options=SHARED, revocations=view)
    assert refused.value.kind is Kind.ROLLBACK
