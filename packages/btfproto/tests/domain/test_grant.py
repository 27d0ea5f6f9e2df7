"""Granting, and what it changes for whom."""

from __future__ import annotations

import pytest
from btfproto.domain import Content, DomainReader, Draft, explain_access, grant_access, open_volume
from btfproto.errors import FsError
from btfproto.store import HeadWant
from btfproto.testing.domains import DAY, NOW, World, opaque_attributes, person
from btlib import Chain, Identity, Kind, ReadKey, Rights
from btlib.block import SectorCipher

NOTHING = Rights(0)


@pytest.fixture
def world() -> World:
    return World.make()


def add_block(world: World, *names: str, writer: Identity | None = None) -> ReadKey:
    """Something below the root directory, as a file system would have put it there."""
    key = ReadKey(block=world.random(16), key_epoch=0, key=world.random(32), path=world.path(*names))
    draft = Draft(world.root.signer, Chain(), now=NOW)
    draft.put(
        block=key.block,
        scope=world.created.scope,
        content=Content(),
        attributes=opaque_attributes(key.block, key.key, NOW),
    )
    world.store.commit(draft.commit(world.random(16)))
    return key


def give(
    world: World,
    subject: Identity,
    target: ReadKey,
    *,
    read: bool = True,
    rights: Rights = NOTHING,
    subtree: list[ReadKey] | None = None,
    granter: Identity | None = None,
    may_delegate: bool = False,
) -> bytes:
    granted = grant_access(
        world.store,
        granter or world.machine,
        target,
        subject.public,
        read=read,
        rights=rights,
        now=NOW,
        not_after=NOW + DAY,
        may_delegate=may_delegate,
        subtree=lambda: subtree or [],
        random=world.random,
    )
    return granted.scope


def test_a_read_grant_opens_the_directory_and_nothing_above(world: World) -> None:
    bob, photos = person(5), add_block(world, "photos")
    give(world, bob, photos)
    volume = open_volume(world.store, bob, world.path("photos", "2024"), NOW)
    assert (volume.directory, volume.key, volume.rest) == (photos.block, photos.key, ("2024",))
    assert volume.chain is None
    with pytest.raises(FsError, match="holds no read capability"):
        open_volume(world.store, bob, world.path(), NOW)


def test_the_longest_granted_path_counts(world: World) -> None:
    bob, photos = person(5), add_block(world, "photos")
    give(world, bob, world.created.directory)
    give(world, bob, photos)
    assert open_volume(world.store, bob, world.path("photos"), NOW).directory == photos.block
    assert open_volume(world.store, bob, world.path("music"), NOW).directory == world.created.directory.block


def test_a_write_grant_at_the_root_needs_no_new_scope(world: World) -> None:
    bob = person(5)
    assert give(world, bob, world.created.directory, rights=Rights.WRITE) == world.created.scope
    volume = open_volume(world.store, bob, world.path(), NOW)
    assert volume.chain is not None
    assert volume.chain.last is not None
    assert volume.chain.last.subject == bob.principal


def test_a_write_grant_below_makes_a_scope_and_moves_the_subtree(world: World) -> None:
    bob, photos = person(5), add_block(world, "photos")
    below = [add_block(world, "photos", str(number)) for number in range(5)]
    outside = add_block(world, "music")
    scope = give(world, bob, photos, rights=Rights.WRITE, subtree=below)
    reader = DomainReader(world.store, world.root.principal)
    assert reader.lineage(scope) == (scope, world.created.scope)
    assert reader.scope(scope).directory == photos.block
    for key in (photos, *below):
        head = reader.head(key.block)
        assert head is not None
        header = reader.verify(head)
        assert (header.scope, header.version) == (scope, 2)
        assert SectorCipher(key.key, key.block, 0).open_attributes(2, header.attributes) == b"a directory"
    untouched = reader.head(outside.block)
    assert untouched is not None
    assert reader.verify(untouched).scope == world.created.scope


def test_a_writer_below_can_pass_his_right_on_in_his_own_scope_only(world: World) -> None:
    bob, carol, photos = person(5), person(6), add_block(world, "photos")
    scope = give(world, bob, photos, rights=Rights.WRITE, may_delegate=True)
    assert give(world, carol, photos, rights=Rights.WRITE, granter=bob) == scope
    reader = DomainReader(world.store, world.root.principal)
    assert reader.grants(world.created.scope, carol.principal)[0] is None
    volume = open_volume(world.store, carol, world.path("photos"), NOW, scopes=[scope])
    assert volume.chain is not None
    with pytest.raises(FsError) as refused:
        give(world, carol, world.created.directory, granter=bob)
    assert refused.value.kind is Kind.FORBIDDEN


def test_who_may_not_delegate_is_refused_with_the_reason(world: World) -> None:
    bob, carol, photos = person(5), person(6), add_block(world, "photos")
    give(world, bob, photos, rights=Rights.WRITE)
    with pytest.raises(FsError, match=r"does not let .* delegate"):
        give(world, carol, photos, rights=Rights.WRITE, granter=bob)


def test_an_interrupted_move_is_completed_by_a_repetition(world: World) -> None:
    bob, photos = person(5), add_block(world, "photos")
    below = [add_block(world, "photos", str(number)) for number in range(3)]
    scope = give(world, bob, photos, rights=Rights.WRITE, subtree=below[:1])
    assert give(world, bob, photos, rights=Rights.WRITE, subtree=below) == scope
    reader = DomainReader(world.store, world.root.principal)
    heads = reader.heads([key.block for key in below])
    assert [reader.verify(head).scope for head in heads if head] == [scope] * 3
    assert [head.version for head in heads if head] == [2, 2, 2]


def test_a_grant_of_nothing_is_refused(world: World) -> None:
    with pytest.raises(FsError, match="give something"):
        give(world, person(5), world.created.directory, read=False)


def test_a_stale_key_is_refused_with_the_epochs(world: World) -> None:
    directory = world.created.directory
    stale = ReadKey(block=directory.block, key_epoch=3, key=directory.key, path=directory.path)
    with pytest.raises(FsError, match="epoch 0; the grant is for 3"):
        give(world, person(5), stale)


def test_a_grants_record_of_many_sectors_shrinks_and_grows(world: World) -> None:
    bob = person(5)
    for number in range(48):
        give(world, bob, add_block(world, f"directory {number}"))
    reader = DomainReader(world.store, world.root.principal)
    header, grants = reader.grants(world.created.scope, bob.principal)
    assert header is not None
    assert header.sector_count > 1
    assert len(grants.readcaps) == 48
    assert world.store.read_heads([HeadWant(header.block)])


def test_explaining_names_each_power_with_its_reason(world: World) -> None:
    bob, photos = person(5), add_block(world, "photos")
    give(world, bob, photos)
    explained = explain_access(world.store, bob, world.path("photos"), NOW)
    assert explained.read.allowed
    assert "readcap for" in explained.read.reason
    assert not explained.write.allowed
    assert str(bob.principal) in explained.write.reason
    full = explain_access(world.store, world.machine, world.path(), NOW)
    assert full.read.allowed
    assert full.write.allowed
    assert full.execute.allowed
    refused = explain_access(world.store, person(9), world.path(), NOW)
    assert not refused.read.allowed
    assert "bt grant" in refused.read.reason


def test_a_scope_is_not_made_around_an_older_one_and_nothing_changes(world: World) -> None:
    bob, photos = person(5), add_block(world, "photos")
    inner, file = add_block(world, "photos", "2024"), add_block(world, "photos", "2024", "a")
    give(world, bob, inner, rights=Rights.WRITE, subtree=[file])
    before = world.store.scan(None, 1000)
    with pytest.raises(FsError, match=r"writing was granted at /bt1.*/photos/2024 already") as refused:
        give(world, bob, photos, rights=Rights.WRITE, subtree=[inner, file])
    assert refused.value.kind is Kind.NOT_SUPPORTED
    assert world.store.scan(None, 1000) == before
    give(world, bob, photos, subtree=[inner, file])  # reading needs no scope
