"""Handing over to new keys: everything goes along, nothing hangs on the old keys, and nobody gets more by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from btfproto.domain import (
    DomainReader,
    Handover,
    explain_access,
    grant_access,
    hand_over,
    open_volume,
    pass_on,
    prepare,
    read_held,
    revoke_access,
)
from btfproto.errors import FsError
from btfproto.store import Commit, CommitAnswer, MemoryStore
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import CapabilityError, Identity, Kind, Revocations, Rights
from btlib.readcaps import seal_readcap

LATER = NOW + 10


class Killed(BaseException):
    """Stands for the end of the process."""


class DyingStore(MemoryStore):
    """Dies instead of the commit that is `left` commits away."""

    left: int | None = None

    def commit(self, commit: Commit) -> CommitAnswer:
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1
        return super().commit(commit)


@pytest.fixture
def world() -> World:
    return World.make(DyingStore())


def rotate(world: World, old: Identity, new: Identity, giver: Identity) -> Identity:
    """The whole of it, as a program does it."""
    reader = DomainReader(world.store, world.root.principal)
    brought = prepare(reader, old, new.public)
    done = hand_over(world.store, giver, brought, world.root.principal, now=LATER, random=world.random)
    new = new.with_chains(*done.chains)
    pass_on(world.store, new, old.principal, world.root.principal, now=LATER, random=world.random)
    return new


def revoke(world: World, gone: Identity, by: Identity, since: int = LATER) -> None:
    revoke_access(
        world.store,
        by,
        world.root.principal,
        principals={gone.principal: since},
        serials={},
        now=LATER,
        random=world.random,
    )


def powers(world: World, who: Identity, now: int = LATER) -> tuple[bool, bool, bool]:
    access = explain_access(world.store, who, world.path(), now)
    return access.read.allowed, access.write.allowed, access.execute.allowed


def give(world: World, who: Identity, *, giver: Identity | None = None, delegate: bool = False) -> None:
    grant_access(
        world.store,
        giver or world.machine,
        world.created.directory,
        who.public,
        read=True,
        rights=Rights.WRITE | Rights.EXECUTE,
        now=NOW,
        not_after=NOW + DAY,
        may_delegate=delegate,
        random=world.random,
    )


def test_the_new_keys_have_what_the_old_ones_had_and_need_them_not(world: World) -> None:
    new = rotate(world, world.machine, person(40), world.root)
    assert powers(world, new) == (True, True, True)
    revoke(world, world.machine, new)
    assert powers(world, new) == (True, True, True)
    assert powers(world, world.machine) == (False, False, False)


def test_who_got_something_from_the_old_keys_keeps_it_when_they_are_revoked(world: World) -> None:
    bob, carol = person(50), person(51)
    give(world, bob, delegate=True)
    give(world, carol, giver=bob)  # through somebody in between
    new = rotate(world, world.machine, person(40), world.root)
    revoke(world, world.machine, new)
    assert powers(world, bob) == (True, True, True)
    assert powers(world, carol) == (True, True, True)


def test_an_end_stays_where_it_was(world: World) -> None:
    bob = person(50)
    give(world, bob)
    new = rotate(world, bob, person(41), world.machine)
    held = read_held(DomainReader(world.store, world.root.principal), new).identity
    assert [chain.last.not_after for chain in held.chains if chain.last] == [NOW + DAY]
    assert powers(world, new, NOW + 2 * DAY)[1:] == (False, False)


@pytest.mark.parametrize("left", range(5))
def test_killed_before_any_commit_nobody_has_less_and_the_same_again_completes_it(world: World, left: int) -> None:
    bob, new = person(50), person(40)
    give(world, bob)
    store = world.store
    assert isinstance(store, DyingStore)
    store.left = left
    try:
        after = rotate(world, world.machine, new, world.root)
        revoke(world, world.machine, after)
    except Killed:
        store.left = None
        assert powers(world, world.machine) == (True, True, True)
        assert powers(world, bob) == (True, True, True)
        after = rotate(world, world.machine, new, world.root)
        revoke(world, world.machine, after)
    assert powers(world, after) == (True, True, True)
    assert powers(world, bob) == (True, True, True)


def test_the_same_again_writes_nothing(world: World) -> None:
    bob = person(50)
    give(world, bob)
    rotate(world, bob, person(41), world.machine)
    store = world.store
    assert isinstance(store, DyingStore)
    store.left = 0
    rotate(world, bob, person(41), world.machine)


def test_a_chain_of_somebody_else_gives_nothing(world: World) -> None:
    thief, new = person(60), person(61)
    stolen = Handover(old=thief.principal, new=new.public, chains=world.machine.chains, readcaps=())
    done = hand_over(world.store, world.root, stolen, world.root.principal, now=LATER, random=world.random)
    assert (done.chains, done.recorded) == ((), 0)
    assert powers(world, new) == (False, False, False)


def test_a_key_that_was_not_granted_is_not_recorded(world: World) -> None:
    bob, new = person(50), person(41)
    give(world, bob)
    reader = DomainReader(world.store, world.root.principal)
    brought = prepare(reader, bob, new.public)
    other = seal_readcap(new.public, block=bytes(16), key_epoch=0, key=bytes(32), path=world.path())
    foreign = replace(brought, readcaps=(other, *prepare(reader, bob, person(42).public).readcaps))
    done = hand_over(world.store, world.machine, foreign, world.root.principal, now=LATER, random=world.random)
    assert done.readcaps == 0


def test_revoked_keys_hand_over_nothing(world: World) -> None:
    bob = person(50)
    give(world, bob)
    revoke(world, bob, world.machine)
    with pytest.raises(FsError, match="was revoked on") as refused:
        rotate(world, bob, person(41), world.machine)
    assert refused.value.kind is Kind.FORBIDDEN


def test_what_the_giver_cannot_give_is_told(world: World) -> None:
    bob, carol, new = person(50), person(51), person(41)
    give(world, bob)  # may not delegate
    give(world, carol)
    brought = prepare(DomainReader(world.store, world.root.principal), carol, new.public)
    done = hand_over(world.store, bob, brought, world.root.principal, now=LATER, random=world.random)
    assert done.refused
    assert "does not let" in done.refused[0]


def test_the_volume_opens_with_the_new_keys_and_no_chain_of_theirs_names_the_old(world: World) -> None:
    new = rotate(world, world.machine, person(40), world.root)
    volume = open_volume(world.store, new, world.path(), LATER)
    assert volume.chain is not None
    revoked = Revocations(version=1, principals={world.machine.principal: 0})
    held = read_held(DomainReader(world.store, world.root.principal), new).identity
    assert held.chain_for(world.root.principal, Rights.WRITE, LATER, path=world.path(), revocations=revoked)
    with pytest.raises(CapabilityError):
        world.machine.chain_for(world.root.principal, Rights.WRITE, LATER, path=world.path(), revocations=revoked)
