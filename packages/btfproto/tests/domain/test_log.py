"""The log of a domain, and the survey that it is made of: what genuine records say, and nothing that they do not."""

from __future__ import annotations

import msgspec
import pytest
from btfproto.domain import (
    DomainReader,
    Draft,
    Grants,
    Happened,
    LogEntry,
    Survey,
    domain_log,
    grant_access,
    grants_block,
    revoke_access,
    survey_records,
)
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import Chain, Identity, Rights
from btlib.revocations import NO_LIST

ALICE, BOB, MALLORY = person(40), person(41), person(42)


@pytest.fixture
def world() -> World:
    return World.make()


def grant(world: World, who: Identity, rights: Rights = Rights.WRITE, *, now: int = NOW) -> Chain | None:
    done = grant_access(
        world.store,
        world.machine,
        world.created.directory,
        who.public,
        read=True,
        rights=rights,
        now=now,
        not_after=now + DAY,
        random=world.random,
    )
    return done.chain


def survey(world: World) -> Survey:
    return survey_records(DomainReader(world.store, world.root.principal))


def entries(world: World) -> list[LogEntry]:
    reader = DomainReader(world.store, world.root.principal)
    found = reader.revocation_list()
    return domain_log(survey(world), NO_LIST if found is None else found.record, world.root.principal)


def test_it_tells_who_gave_what_to_whom_and_when(world: World) -> None:
    chain = grant(world, ALICE, now=NOW + 100)
    assert chain is not None
    (told,) = [entry for entry in entries(world) if entry.subject == ALICE.principal and entry.serial]
    assert told == LogEntry(
        time=NOW + 100,
        what=Happened.GRANTED,
        by=world.machine.principal,
        subject=ALICE.principal,
        path=world.path(),
        rights=Rights.WRITE,
        until=NOW + 100 + DAY,
        may_delegate=False,
        serial=chain.caps[-1].serial,
    )
    (key,) = [
        entry for entry in entries(world) if entry.what is Happened.KEY_GIVEN and entry.subject == ALICE.principal
    ]
    assert (key.by, key.block, key.time) == (world.machine.principal, world.created.directory.block, NOW + 100)


def test_a_writecap_of_several_chains_is_told_once(world: World) -> None:
    grant(world, ALICE)
    grant(world, BOB)
    first = world.created.chain.caps[0]
    assert [entry.serial for entry in entries(world)].count(first.serial) == 1


def test_a_revocation_of_a_serial_is_told_with_what_it_was(world: World) -> None:
    chain = grant(world, ALICE)
    assert chain is not None
    revoke_access(
        world.store,
        world.root,
        world.root.principal,
        principals={BOB.principal: NOW + 7},
        serials={chain.caps[-1].serial: NOW + 5, bytes(16): NOW},
        now=NOW + 3,
        random=world.random,
    )
    told = {(entry.subject, entry.serial, entry.since) for entry in entries(world) if entry.what is Happened.REVOKED}
    assert told == {
        (BOB.principal, None, NOW + 7),
        (ALICE.principal, chain.caps[-1].serial, NOW + 5),
        (None, bytes(16), NOW),
    }


def put_grants(world: World, grants: Grants, *, block: bytes | None = None) -> None:
    """What a writer in the root scope, or a store that helps him, can put there."""
    scope = world.created.scope
    draft = Draft(world.machine.signer, world.created.chain, now=NOW)
    draft.put_public(block or grants_block(scope, grants.principal), scope, grants)
    if DomainReader(world.store, world.root.principal).head(draft.writer.block) is None:
        draft.put_writer(scope)
    world.store.commit(draft.commit(world.random(16)))


def test_a_chain_that_is_not_genuine_is_not_told(world: World) -> None:
    forged = world.chain(MALLORY, issuer=world.root)
    cap = msgspec.structs.replace(forged.caps[0], not_after=NOW + 10 * DAY)
    put_grants(world, Grants(principal=MALLORY.principal, chains=(Chain((cap,)),)))
    assert not [entry for entry in entries(world) if entry.subject == MALLORY.principal]


def test_a_cap_with_the_serial_of_another_hides_nothing(world: World) -> None:
    chain = grant(world, ALICE)
    assert chain is not None
    twin = world.chain(MALLORY)
    put_grants(world, Grants(principal=MALLORY.principal, chains=(twin,)))
    told = [entry.subject for entry in entries(world) if entry.what is Happened.GRANTED]
    assert ALICE.principal in told
    assert MALLORY.principal in told


def test_records_that_do_not_verify_or_stand_elsewhere_are_counted_and_left_out(world: World) -> None:
    put_grants(world, Grants(principal=BOB.principal), block=b"somewhere else..")
    found = survey(world)
    assert found.refused == 1
    assert BOB.principal not in [one.grants.principal for one in found.grants]
    assert {one.grants.principal for one in found.grants} == {world.root.principal, world.machine.principal}
