"""Making a domain."""

from __future__ import annotations

import random

import pytest
from btfproto.domain import DomainReader, create_domain
from btfproto.errors import FsError
from btfproto.store import HeadWant, MemoryStore
from btfproto.testing.domains import NOW, World, opaque_attributes, person
from btlib import Kind


@pytest.fixture
def world() -> World:
    return World.make()


def test_a_new_domain_is_verified_from_nothing_but_the_root(world: World) -> None:
    reader = DomainReader(world.store, world.root.principal)
    record = reader.domain()
    assert record.root == world.root.public
    assert record.directory == world.created.directory.block
    assert reader.lineage(record.scope) == (record.scope,)
    assert reader.scope(record.scope).directory == record.directory


def test_the_grants_of_root_and_machine_are_there(world: World) -> None:
    reader = DomainReader(world.store, world.root.principal)
    _, grants = reader.grants(world.created.scope, world.machine.principal)
    assert grants.chains == (world.created.chain,)
    assert [readcap.block for readcap in grants.readcaps] == [world.created.directory.block]
    _, roots = reader.grants(world.created.scope, world.root.principal)
    assert (len(roots.readcaps), roots.chains) == (1, ())


def test_the_machine_gets_one_grant_where_it_is_the_root_itself() -> None:
    store, root = MemoryStore(), person(1)
    created = create_domain(
        store,
        root.signer,
        root.public,
        now=NOW,
        random=random.Random(3).randbytes,
        directory_attributes=opaque_attributes,
    )
    _, grants = DomainReader(store, root.principal).grants(created.scope, root.principal)
    assert len(grants.readcaps) == 1


def test_a_domain_is_not_made_twice_in_one_store(world: World) -> None:
    with pytest.raises(FsError) as refused:
        create_domain(
            world.store,
            world.root.signer,
            world.machine.public,
            now=NOW,
            random=world.random,
            directory_attributes=opaque_attributes,
        )
    assert refused.value.kind is Kind.EXISTS


def test_another_domain_may_share_the_store(world: World) -> None:
    other = World.make(world.store, seed=8)
    assert DomainReader(world.store, other.root.principal).domain().root == other.root.public
    assert DomainReader(world.store, world.root.principal).domain().root == world.root.public


def test_an_empty_store_says_that_it_holds_no_such_domain() -> None:
    with pytest.raises(FsError, match="holds no domain of bt1") as refused:
        DomainReader(MemoryStore(), person(1).principal).domain()
    assert refused.value.kind is Kind.NOT_FOUND


def test_the_key_does_not_show(world: World) -> None:
    assert world.created.directory.key.hex() not in repr(world.created)
    assert repr(world.created.directory.key) not in repr(world.created)


def test_nothing_secret_stands_in_the_public_blocks(world: World) -> None:
    key = world.created.directory.key
    for summary in world.store.scan(None, 100):
        head = world.store.read_heads([HeadWant(summary.block)])[0]
        assert key not in repr(head).encode()
