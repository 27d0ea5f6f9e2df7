"""A file system that runs past the end of its chain: it finds the next one, and signs nothing that nobody believes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from btfproto.domain import DomainReader, grant_access, grants_block, open_volume, revoke_access
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.provider import OpenFlags
from btfproto.store import HeadAnswer, HeadWant
from btfproto.store.check import CommitChecker
from btfproto.testing.domains import DAY, NOW, World, person
from btfproto.testing.provider import read_file, write_file
from btlib import Identity, Rights
from btlib.kinds import Kind

from .conftest import make_world
from .test_process_keys import CheckingStore

ALICE = person(40)
SPAN = 90 * DAY  #: of what Alice is granted
LOOK = 2 * 3600  #: longer than from one look to the next


class AwayStore(CheckingStore):
    """Counts questions, and can be away for who asks for one block."""

    away: bytes | None = None
    asked = 0

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        self.asked += 1
        if any(want.block == self.away for want in wants):
            raise StoreError(Kind.UNREACHABLE, "no store answers")
        return super().read_heads(wants)


class Stage:
    """A world whose store checks commits by the same clock, with Alice, who was granted writing until an end."""

    def __init__(self) -> None:
        self.store = AwayStore()
        self.world: World = make_world(self.store)
        self.now = NOW
        root = self.world.root.principal
        self.reader = DomainReader(self.store, root)
        self.opened: list[LocalFs] = []
        self.grant(NOW + SPAN)
        self.store.check = CommitChecker(self.store, self.reader, root, lambda: self.now)

    def grant(self, until: int) -> None:
        world = self.world
        grant_access(
            world.store,
            world.machine,
            world.created.directory,
            ALICE.public,
            read=True,
            rights=Rights.WRITE,
            now=self.now,
            not_after=until,
            random=world.random,
        )

    def revoke(self) -> None:
        world = self.world
        revoke_access(
            world.store,
            world.machine,
            world.root.principal,
            principals={ALICE.principal: self.now},
            serials={},
            now=self.now,
            random=world.random,
        )

    def open(self, who: Identity = ALICE, *, shared: bool = False) -> LocalFs:
        volume = open_volume(self.store, who, self.world.path(), self.now)
        options = FsOptions(commit_interval=None, shared=shared, fresh_seconds=0.0)
        fs = LocalFs(self.store, who, volume, options=options, clock=lambda: self.now * 10**9)
        self.opened.append(fs)
        return fs

    def writes(self, fs: LocalFs, name: str) -> None:
        write_file(fs, fs.root, name, name.encode())
        fs.sync()

    def readable(self, *names: str) -> None:
        """Somebody who believes nothing unverified reads them all."""
        with self.open(self.world.machine) as fs:
            for name in names:
                assert read_file(fs, fs.lookup(fs.root, name).inode) == name.encode()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for fs in made.opened:
        fs.abandon()


@pytest.mark.parametrize("shared", [False, True])
def test_it_writes_on_under_a_chain_that_was_granted_meanwhile(stage: Stage, shared: bool) -> None:
    fs = stage.open(shared=shared)
    stage.writes(fs, "before")
    stage.now = NOW + SPAN - DAY
    stage.writes(fs, "still")
    stage.grant(NOW + 9 * SPAN)
    stage.now += LOOK
    stage.writes(fs, "anew")
    stage.now = NOW + SPAN + DAY
    stage.writes(fs, "after")
    stage.readable("before", "still", "anew", "after")


def test_one_that_slept_through_everything_looks_when_it_is_asked_to_write(stage: Stage) -> None:
    fs = stage.open()
    stage.writes(fs, "before")
    stage.grant(NOW + 9 * SPAN)
    stage.now = NOW + SPAN + DAY
    stage.writes(fs, "after")
    stage.readable("before", "after")


def test_without_another_it_is_refused_at_the_end_with_who_what_and_the_next_command(stage: Stage) -> None:
    fs = stage.open()
    stage.writes(fs, "before")
    stage.now = NOW + SPAN
    stage.writes(fs, "in the last second")
    stage.now += 1
    with pytest.raises(FsError, match=r"can only be read here: writecap .* expired on") as refused:
        write_file(fs, fs.root, "after", b"")
    assert refused.value.kind is Kind.READ_ONLY
    assert f"bt grant {ALICE.principal}" in str(refused.value)
    stage.readable("before", "in the last second")


def test_what_was_changed_before_the_end_and_not_saved_is_kept_and_saved_under_the_next_chain(stage: Stage) -> None:
    fs = stage.open()
    stage.now = NOW + SPAN
    write_file(fs, fs.root, "late", b"late")
    stage.now += 1
    with pytest.raises(FsError, match=r"could not be saved yet: .* expired on"):
        fs.sync()
    stage.grant(NOW + 9 * SPAN)
    stage.now += 5
    fs.sync()
    stage.readable("late")


def test_who_was_refused_may_again_soon_after_a_grant_and_does_not_ask_at_every_try(stage: Stage) -> None:
    fs = stage.open()
    stage.writes(fs, "before")
    stage.now = NOW + SPAN + 1
    for _ in range(2):
        with pytest.raises(FsError, match="expired"):
            write_file(fs, fs.root, "after", b"after")
    asked = stage.store.asked
    for _ in range(100):
        with pytest.raises(FsError, match="expired"):
            write_file(fs, fs.root, "after", b"after")
    assert stage.store.asked == asked
    stage.grant(NOW + 9 * SPAN)
    stage.now += 5
    stage.writes(fs, "after")
    stage.readable("after")


def test_who_was_revoked_meanwhile_does_not_go_on_by_another_chain(stage: Stage) -> None:
    fs = stage.open(shared=True)
    stage.writes(fs, "before")
    stage.grant(NOW + 9 * SPAN)
    stage.now = NOW + DAY
    stage.revoke()
    stage.now = NOW + SPAN + DAY
    fs.refresh()
    with pytest.raises(FsError, match="was revoked on") as refused:
        write_file(fs, fs.root, "after", b"")
    assert refused.value.kind is Kind.READ_ONLY


def test_a_look_that_fails_ahead_of_the_end_stops_nobody(stage: Stage) -> None:
    fs = stage.open()
    stage.writes(fs, "before")
    stage.now = NOW + SPAN - DAY
    inode = write_file(fs, fs.root, "still", b"still")
    stage.store.away = grants_block(stage.world.created.scope, ALICE.principal)
    asked = stage.store.asked
    fs.fsync(fs.open(inode, OpenFlags.WRITE))
    assert stage.store.asked > asked
    stage.store.away = None
    stage.readable("before", "still")


def test_a_chain_from_the_record_that_ends_sooner_is_not_taken(stage: Stage) -> None:
    fs = stage.open()
    stage.writes(fs, "before")
    stage.grant(NOW + SPAN - DAY)
    stage.now = NOW + SPAN - 3 * DAY
    stage.writes(fs, "still")
    stage.now = NOW + SPAN - 1
    stage.writes(fs, "longest")
    stage.readable("before", "still", "longest")


def test_the_store_is_not_asked_for_chains_while_they_last(stage: Stage) -> None:
    fs = stage.open()
    stage.writes(fs, "a")
    stage.writes(fs, "a")
    asked = stage.store.asked
    stage.writes(fs, "a")
    each = stage.store.asked - asked
    stage.now = NOW + SPAN // 2
    asked = stage.store.asked
    stage.writes(fs, "a")
    assert stage.store.asked - asked == each
