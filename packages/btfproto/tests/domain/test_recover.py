"""Coming back with the root's keys alone."""

from __future__ import annotations

import pytest
from btfproto.domain import (
    DomainReader,
    Draft,
    Grants,
    domains_in,
    explain_access,
    find_root,
    grants_block,
    open_volume,
    recover_domain,
)
from btfproto.errors import FsError
from btfproto.store import MemoryStore
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import Chain, Identity, Kind, Suite

LATER = NOW + 400 * DAY


@pytest.fixture
def world() -> World:
    return World.make()


def recover(world: World, machine: Identity, now: int = LATER) -> Identity:
    done = recover_domain(world.store, world.root, machine.public, now=now, random=world.random)
    assert done.directory == world.created.directory
    return machine.with_chains(done.chain)


def test_a_new_machine_reads_writes_and_executes_at_the_root(world: World) -> None:
    machine = recover(world, person(40))
    access = explain_access(world.store, machine, world.path(), LATER)
    assert (access.read.allowed, access.write.allowed, access.execute.allowed) == (True, True, True)
    volume = open_volume(world.store, machine, world.path("photos"), LATER)
    assert (volume.directory, volume.key) == (world.created.directory.block, world.created.directory.key)
    assert volume.chain is not None


def test_the_machine_before_keeps_what_it_had(world: World) -> None:
    recover(world, person(40))
    access = explain_access(world.store, world.machine, world.path(), LATER)
    assert (access.read.allowed, access.write.allowed) == (True, True)


def test_it_can_be_done_again_for_another_machine(world: World) -> None:
    recover(world, person(40))
    assert explain_access(world.store, recover(world, person(41)), world.path(), LATER).write.allowed


def test_the_keys_of_the_right_suite_are_found(world: World) -> None:
    other = person(1, Suite.P256)
    assert find_root(world.store, [other, world.root]) is world.root


def test_keys_of_another_root_are_told_from_a_store_without_a_domain(world: World) -> None:
    with pytest.raises(FsError, match=f"holds the domain of {world.root.principal}") as refused:
        find_root(world.store, [person(9)])
    assert refused.value.kind is Kind.UNAUTHENTICATED
    with pytest.raises(FsError, match="holds no domain at all") as missing:
        find_root(MemoryStore(), [person(9)])
    assert missing.value.kind is Kind.NOT_FOUND


def test_a_store_of_two_domains_names_both(world: World) -> None:
    other = World.make(world.store, seed=8)
    assert set(domains_in(world.store)) == {world.root.principal, other.root.principal}
    assert find_root(world.store, [other.root]) is other.root


def test_without_the_roots_readcap_it_says_so_and_gives_nothing(world: World) -> None:
    header, _ = DomainReader(world.store, world.root.principal).grants(world.created.scope, world.root.principal)
    draft = Draft(world.root.signer, Chain(), now=NOW)
    block = grants_block(world.created.scope, world.root.principal)
    draft.put_public(block, world.created.scope, Grants(principal=world.root.principal), previous=header)
    world.store.commit(draft.commit(world.random(16)))
    with pytest.raises(FsError, match="holds no read capability") as refused:
        recover(world, person(40))
    assert refused.value.kind is Kind.FORBIDDEN
    _, grants = DomainReader(world.store, world.root.principal).grants(world.created.scope, person(40).principal)
    assert grants.chains == ()


def test_a_machine_that_is_not_the_root_recovers_nothing(world: World) -> None:
    with pytest.raises(FsError):
        recover_domain(world.store, person(9), person(40).public, now=LATER, random=world.random)
