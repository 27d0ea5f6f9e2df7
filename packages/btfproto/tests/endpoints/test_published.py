"""Endpoint records in a store and in a machine's book."""

from __future__ import annotations

from pathlib import Path

import pytest
from btfproto.domain import DomainReader, Draft, commit_draft
from btfproto.endpoints import (
    EndpointBook,
    RecordSet,
    SignedRecord,
    endpoints_block,
    publish_record,
    read_published,
    read_record,
    resolve,
    sign_record,
)
from btfproto.errors import FsError
from btfproto.testing.domains import DAY, NOW, World, person
from btlib.errors import CapabilityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.writecaps import Chain, Rights


def server_of(world: World) -> BlockPath:
    return world.path("hosts", "nas", "btfsd")


def publish(
    world: World,
    path: BlockPath,
    endpoint: str,
    *,
    now: int = NOW,
    who: Identity | None = None,
    server: BlockPath | None = None,
) -> SignedRecord:
    identity, place = who or world.machine, server or server_of(world)

    def make(before: SignedRecord | None) -> SignedRecord:
        return sign_record(
            identity,
            path=path,
            server=place,
            endpoints=[endpoint],
            now=now,
            lifetime=DAY,
            before=None if before is None else read_record(before),
        )

    reader = DomainReader(world.store, world.root.principal)
    return publish_record(reader, identity, path, make, server=place, now=now, random=world.random)


def found(world: World, target: BlockPath, now: int = NOW) -> tuple[str, ...]:
    records = read_published(DomainReader(world.store, world.root.principal), target)
    return resolve(target, records, now=now).endpoints


def test_what_a_server_writes_is_found_from_below() -> None:
    world = World.make()
    publish(world, server_of(world), "nas:1")
    assert found(world, server_of(world).child("fs")) == ("nas:1",)
    assert found(world, world.path("photos")) == ()


def test_a_server_replaces_its_own_record() -> None:
    world = World.make()
    first = publish(world, world.path(), "nas:1")
    second = publish(world, world.path(), "nas:2")
    assert read_record(second).issued == read_record(first).issued + 1
    assert found(world, world.path()) == ("nas:2",)


def test_servers_of_one_path_stand_beside_each_other_until_they_expire() -> None:
    world = World.make()
    other = person(9)
    other = other.with_chains(world.chain(other))
    publish(world, world.path(), "nas:1")
    publish(world, world.path(), "other:1", now=NOW + 5, who=other, server=world.path("hosts", "other", "btfsd"))
    assert found(world, world.path(), NOW + 5) == ("other:1", "nas:1")
    publish(world, world.path(), "nas:2", now=NOW + 2 * DAY)
    assert found(world, world.path(), NOW + 2 * DAY) == ("nas:2",)


def test_whoever_may_not_write_in_the_domain_cannot_publish() -> None:
    world = World.make()
    other = person(9)
    other = other.with_chains(world.chain(other, rights=Rights.EXECUTE))
    with pytest.raises(CapabilityError):
        publish(world, world.path(), "other:1", who=other)


def test_a_broken_block_hides_its_own_records_alone() -> None:
    world = World.make()
    publish(world, world.path(), "nas:1")
    chain = world.machine.chains[0]
    draft = Draft(world.machine.signer, chain, now=NOW)
    scope = world.created.scope
    draft.put_public(endpoints_block(server_of(world)), scope, RecordSet(format=9))
    commit_draft(world.store, draft, scope, world.random(16))
    assert found(world, server_of(world)) == ("nas:1",)


def test_a_malformed_record_does_not_keep_a_server_from_writing_its_own() -> None:
    world = World.make()
    chain = world.machine.chains[0]
    draft = Draft(world.machine.signer, chain, now=NOW)
    scope = world.created.scope
    junk = SignedRecord(record=b"junk", signer=world.machine.public, chain=Chain(), signature=b"")
    draft.put_public(endpoints_block(world.path()), scope, RecordSet(records=(junk,)))
    commit_draft(world.store, draft, scope, world.random(16))
    assert found(world, world.path()) == ()
    publish(world, world.path(), "nas:1")
    assert found(world, world.path()) == ("nas:1",)


def book_of(world: World, tmp_path: Path) -> EndpointBook:
    return EndpointBook(tmp_path / "endpoints", world.root.principal)


def test_a_book_remembers_what_is_good_and_refuses_what_is_older(tmp_path: Path) -> None:
    world = World.make()
    path = server_of(world)
    old, new = publish(world, path, "nas:1"), publish(world, path, "nas:2", now=NOW + 60)
    assert [record.endpoints for record in book_of(world, tmp_path).learn([(path, new)], now=NOW + 60)] == [("nas:2",)]
    book = book_of(world, tmp_path)
    assert book.learn([(path, old), (path, new)], now=NOW + 60) == []
    assert book.resolve(path.child("fs"), now=NOW + 60).endpoints == ("nas:2",)
    assert (tmp_path / "endpoints").stat().st_mode & 0o777 == 0o600


def test_a_book_tells_of_expired_records(tmp_path: Path) -> None:
    world = World.make()
    path = server_of(world)
    book = book_of(world, tmp_path)
    book.learn([(path, publish(world, path, "nas:1"))], now=NOW)
    assert book.resolve(path, now=NOW + 9 * DAY).refused[0].kind is Kind.EXPIRED


def test_a_book_takes_nothing_that_is_not_signed_by_who_may_serve(tmp_path: Path) -> None:
    world, evil = World.make(), World.make(seed=50)
    path = server_of(world)
    book = book_of(world, tmp_path)
    assert book.learn([(path, publish(evil, server_of(evil), "evil:1"))], now=NOW) == []
    assert book.records() == {}


def test_a_book_that_is_damaged_says_so(tmp_path: Path) -> None:
    (tmp_path / "endpoints").write_bytes(b"junk")
    with pytest.raises(FsError, match="rm "):
        book_of(World.make(), tmp_path).records()


def test_a_book_of_another_domain_is_empty(tmp_path: Path) -> None:
    world, other = World.make(), World.make(seed=50)
    path = server_of(world)
    book_of(world, tmp_path).learn([(path, publish(world, path, "nas:1"))], now=NOW)
    assert book_of(other, tmp_path).records() == {}
