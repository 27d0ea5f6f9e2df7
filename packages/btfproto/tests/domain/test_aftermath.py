"""What a revocation would make unreadable, counted before it is signed: the same as what readers then refuse."""

from __future__ import annotations

import pytest
from btfproto.domain import Aftermath, Content, DomainReader, Draft, aftermath, grant_access, revoke_access
from btfproto.testing.domains import DAY, NOW, World, opaque_attributes, person
from btlib import Chain, Identity, Rights
from btlib.errors import IntegrityError

ALICE = person(40)


@pytest.fixture
def world() -> World:
    return World.make()


def write(world: World, writer: Identity, *, written: int) -> None:
    """Something by somebody who may write everywhere, with the writer's own record."""
    block, key = world.random(16), world.random(32)
    draft = Draft(writer.signer, writer.chains[0] if writer.chains else Chain(), now=written)
    attributes = opaque_attributes(block, key, written)
    draft.put(block=block, scope=world.created.scope, content=Content(), attributes=attributes)
    if DomainReader(world.store, world.root.principal).head(draft.writer.block) is None:
        draft.put_writer(world.created.scope)
    world.store.commit(draft.commit(world.random(16)))


def refused_by_readers(world: World) -> int:
    reader = DomainReader(world.store, world.root.principal)
    count = 0
    for summary in world.store.scan(None, 1000):
        head = reader.head(summary.block)
        assert head is not None
        try:
            reader.verify(head)
        except IntegrityError:
            count += 1
    return count


@pytest.mark.parametrize("by_serial", [False, True])
def test_it_counts_what_readers_will_refuse(world: World, by_serial: bool) -> None:
    alice = ALICE.with_chains(world.chain(ALICE))
    for written in (NOW, NOW + 5, NOW + 6):
        write(world, alice, written=written)
        write(world, world.root, written=written)
    principals = {} if by_serial else {ALICE.principal: NOW + 5}
    serials = {alice.chains[0].caps[0].serial: NOW + 5} if by_serial else {}
    reader = DomainReader(world.store, world.root.principal)
    lost = aftermath(reader, principals, serials)
    assert lost == Aftermath(files=2)
    revoke_access(
        world.store,
        world.machine,
        world.root.principal,
        principals=principals,
        serials=serials,
        now=NOW + 10,
        random=world.random,
    )
    assert refused_by_readers(world) == lost.files + lost.records


def test_the_root_directory_and_records_are_told_apart(world: World) -> None:
    grant_access(
        world.store,
        world.machine,
        world.created.directory,
        ALICE.public,
        read=True,
        rights=Rights(0),
        now=NOW + 5,
        not_after=NOW + DAY,
        random=world.random,
    )
    reader = DomainReader(world.store, world.root.principal)
    assert aftermath(reader, {world.machine.principal: NOW + 5}, {}) == Aftermath(records=1)
    draft = Draft(world.machine.signer, world.created.chain, now=NOW + 6)
    head = reader.head(world.created.directory.block)
    assert head is not None
    draft.rehome(reader.verify(head), world.created.scope, b"sealed anew")
    world.store.commit(draft.commit(world.random(16)))
    lost = aftermath(reader, {world.machine.principal: NOW + 5}, {})
    assert lost == Aftermath(files=1, records=1, root_directory=True)
