"""Renewal: who was away comes back; who was revoked, or given an end, does not."""

from __future__ import annotations

import pytest
from btfproto.domain import FURTHER_NOTICE, RENEW_UNTIL, DomainReader, is_renewable, renew_lapsed
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import Chain, Identity, Revocations, Rights
from btlib.verification import verify_chain
from hypothesis import given
from hypothesis import strategies as st

YEAR = 365 * DAY
LAPTOP, STRANGER = person(20), person(21)


@pytest.fixture
def world() -> World:
    return World.make()


def membership(world: World, *names: str, end: int = NOW + YEAR, issuer: Identity | None = None) -> Chain:
    issuer = issuer or world.machine
    parent = world.created.chain if issuer is world.machine else None
    return world.chain(LAPTOP, *(names or ("hosts", "laptop")), begin=NOW, end=end, parent=parent, issuer=issuer)


def renewed(world: World, chain: Chain, now: int, subject: Identity = LAPTOP) -> tuple[Chain, ...]:
    reader = DomainReader(world.store, world.root.principal)
    return renew_lapsed(reader, world.machine, subject.principal, [chain], now=now, random=world.random)


def test_a_machine_that_was_off_for_a_year_has_its_membership_again(world: World) -> None:
    chain = membership(world)
    now = NOW + 2 * YEAR
    (fresh,) = renewed(world, chain, now)
    assert verify_chain(
        fresh, root=world.root.principal, subject=LAPTOP.principal, right=Rights.EXECUTE, now=now
    ).allowed
    old, new = chain.last, fresh.last
    assert old is not None
    assert new is not None
    assert (new.path, new.scope, new.rights, new.may_delegate) == (old.path, old.scope, old.rights, old.may_delegate)
    assert new.not_after == now + YEAR
    _, grants = DomainReader(world.store, world.root.principal).grants(world.created.scope, LAPTOP.principal)
    assert grants.chains == (fresh,)


@pytest.mark.parametrize("moment", [NOW + 1, NOW + YEAR + DAY])
@pytest.mark.parametrize("what", ["subject", "serial", "issuer"])
def test_what_was_revoked_meanwhile_is_not_renewed(world: World, what: str, moment: int) -> None:
    chain, now = membership(world), NOW + 2 * YEAR
    assert chain.last is not None
    list_ = {
        "subject": Revocations(version=1, principals={LAPTOP.principal: moment}),
        "issuer": Revocations(version=1, principals={world.machine.principal: moment}),
        "serial": Revocations(version=1, serials={chain.last.serial: moment}),
    }[what]
    assert not is_renewable(chain, LAPTOP.principal, world.root.principal, now, list_)


def test_what_was_given_an_end_ends(world: World) -> None:
    now = NOW + 2 * YEAR
    short = membership(world, end=NOW + FURTHER_NOTICE - 1)
    grant = membership(world, "photos")
    inner = membership(world, "hosts", "laptop", "secrets")
    assert [renewed(world, chain, now) for chain in (short, grant, inner)] == [(), (), ()]


def test_who_was_away_for_too_long_is_asked_about_again(world: World) -> None:
    chain = membership(world)
    assert renewed(world, chain, NOW + YEAR + RENEW_UNTIL + 1) == ()
    assert renewed(world, chain, NOW + YEAR) == ()  # it holds still


def test_somebody_elses_membership_renews_nothing(world: World) -> None:
    assert renewed(world, membership(world), NOW + 2 * YEAR, STRANGER) == ()


@given(st.integers(-YEAR, 4 * YEAR), st.integers(-YEAR, 4 * YEAR))
def test_nothing_is_renewable_that_a_verifier_who_ignores_ends_would_refuse(after: int, moment: int) -> None:
    world = World.make()
    chain = membership(world)
    list_ = Revocations(version=1, principals={LAPTOP.principal: NOW + moment})
    now = NOW + after
    if is_renewable(chain, LAPTOP.principal, world.root.principal, now, list_):
        assert list_.revoked(LAPTOP.principal, now) is None
        assert NOW + YEAR < now <= NOW + YEAR + RENEW_UNTIL
