"""Opening a volume: who may read what, and what is refused with which sentence."""

from __future__ import annotations

import pytest
from btfproto.domain import DomainReader, Draft, Grants, grants_block, open_volume
from btfproto.errors import FsError
from btfproto.store import BlockChange, Commit, Found, HeadWant, MemoryStore, RecordRun, Store
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import Chain, Identity, IntegrityError, Kind, Rights, seal_readcap


@pytest.fixture
def world() -> World:
    return World.make()


def put_grants(world: World, writer: Identity, chain: Chain, grants: Grants) -> None:
    """Put grants by hand, as an evil writer would."""
    draft = Draft(writer.signer, chain, now=NOW)
    draft.put_public(grants_block(world.created.scope, grants.principal), world.created.scope, grants)
    draft.put_writer(world.created.scope)
    world.store.commit(draft.commit(world.random(16)))


def test_the_machine_opens_the_root_for_reading_and_writing(world: World) -> None:
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    assert volume.directory == world.created.directory.block
    assert volume.key == world.created.directory.key
    assert volume.lineage == (world.created.scope,)
    assert volume.rest == ()
    assert volume.chain == world.created.chain


def test_the_chains_in_the_grants_count_as_well_as_the_own_ones(world: World) -> None:
    volume = open_volume(world.store, person(2), world.path(), NOW)
    assert volume.chain == world.created.chain


def test_what_is_below_the_granted_directory_is_left_to_walk(world: World) -> None:
    volume = open_volume(world.store, world.machine, world.path("home", "alice"), NOW)
    assert volume.rest == ("home", "alice")
    assert volume.attach_path == world.path("home", "alice")


def test_the_root_opens_its_tree_with_its_keys_alone(world: World) -> None:
    volume = open_volume(world.store, world.root, world.path(), NOW)
    assert volume.chain == Chain()


def test_a_stranger_is_told_what_to_ask_for(world: World) -> None:
    stranger = person(3)
    with pytest.raises(FsError) as refused:
        open_volume(world.store, stranger, world.path("photos"), NOW)
    assert refused.value.kind is Kind.FORBIDDEN
    assert f"bt grant {stranger.principal} {world.path('photos')} read" in str(refused.value)


def test_after_its_chain_expired_the_machine_only_reads(world: World) -> None:
    volume = open_volume(world.store, world.machine, world.path(), NOW + 3661 * DAY)
    assert volume.chain is None
    assert "expired" in volume.read_only_reason


def test_the_key_of_a_volume_does_not_show(world: World) -> None:
    volume = open_volume(world.store, world.machine, world.path(), NOW)
    assert repr(volume.key) not in repr(volume)


def test_a_readcap_by_somebody_who_cannot_write_there_does_not_count(world: World) -> None:
    """A writer in a part of the tree must not pass off his own directory as the root."""
    mallory, victim = person(4), person(5)
    readcap = seal_readcap(victim.public, block=world.random(16), key_epoch=0, key=bytes(32), path=world.path())
    chain = world.chain(mallory, "home", rights=Rights.WRITE)
    put_grants(world, mallory, chain, Grants(principal=victim.principal, readcaps=(readcap,)))
    with pytest.raises(FsError, match="holds no read capability") as refused:
        open_volume(world.store, victim, world.path(), NOW)
    assert "is not below" in str(refused.value)


def test_a_readcap_for_the_root_must_name_the_root_directory(world: World) -> None:
    victim = person(5)
    readcap = seal_readcap(victim.public, block=world.random(16), key_epoch=0, key=bytes(32), path=world.path())
    put_grants(world, world.machine, world.created.chain, Grants(principal=victim.principal, readcaps=(readcap,)))
    with pytest.raises(FsError, match="another block than the domain record"):
        open_volume(world.store, victim, world.path(), NOW)


def test_grants_by_somebody_without_any_right_are_an_integrity_error(world: World) -> None:
    mallory = person(4)
    put_grants(world, mallory, Chain(), Grants(principal=mallory.principal))
    with pytest.raises(FsError, match="without the right") as refused:
        open_volume(world.store, mallory, world.path(), NOW)
    assert refused.value.kind is Kind.INTEGRITY


def test_every_flipped_byte_of_a_public_block_is_noticed(world: World) -> None:
    read_everything(world, world.store)
    for summary in world.store.scan(None, 100):
        answer = world.store.read_heads([HeadWant(summary.block)])[0]
        if isinstance(answer, Found) and answer.head.small is not None:
            for position in range(0, len(answer.head.small), 29):
                flipped = bytearray(answer.head.small)
                flipped[position] ^= 1
                with pytest.raises(IntegrityError):
                    read_everything(world, copied(world, summary.block, bytes(flipped)))


def read_everything(world: World, store: Store) -> None:
    reader = DomainReader(store, world.root.principal)
    reader.scope(reader.domain().scope)
    for identity in (world.root, world.machine):
        reader.grants(world.created.scope, identity.principal)


def copied(world: World, block: bytes, small: bytes) -> MemoryStore:
    """The store, with the only record of one block replaced, as its operator could."""
    copy = MemoryStore()
    changes = []
    for summary in world.store.scan(None, 100):
        answer = world.store.read_heads([HeadWant(summary.block)])[0]
        assert isinstance(answer, Found)
        head = answer.head
        record = small if head.block == block else head.small
        changes.append(
            BlockChange(
                block=head.block,
                expected=0,
                version=head.version,
                signed=head.signed,
                runs=[] if record is None else [RecordRun(0, 0, [record])],
            )
        )
    copy.commit(Commit(request=bytes(16), changes=changes))
    return copy
