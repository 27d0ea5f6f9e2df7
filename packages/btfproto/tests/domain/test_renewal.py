"""Renewal: memberships go on, who was away comes back; who was revoked, or given an end, does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from btfproto.domain import (
    FURTHER_NOTICE,
    RENEW_UNTIL,
    DomainReader,
    HeldChains,
    is_renewable,
    pause_before_look,
    remember_chains,
    renew_memberships,
    renewal_from,
    renewed_serial,
    revoke_access,
    time_left,
)
from btfproto.errors import FsError
from btfproto.store import Commit, CommitAnswer, MemoryStore
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import Chain, Identity, Revocations, Rights
from btlib.clocks import CLOCK_SKEW
from btlib.kinds import Kind
from btlib.verification import verify_chain
from hypothesis import given
from hypothesis import strategies as st

YEAR = 365 * DAY
AHEAD = YEAR - YEAR // 3  #: seconds after its begin from which on a membership of a year is renewed
LAPTOP, STRANGER, OTHER_SERVER = person(20), person(21), person(22)


@pytest.fixture
def world() -> World:
    return World.make()


def membership(world: World, *names: str, end: int = NOW + YEAR, issuer: Identity | None = None) -> Chain:
    issuer = issuer or world.machine
    parent = world.created.chain if issuer is world.machine else None
    return world.chain(LAPTOP, *(names or ("hosts", "laptop")), begin=NOW, end=end, parent=parent, issuer=issuer)


def renewed(
    world: World, chain: Chain, now: int, subject: Identity = LAPTOP, issuer: Identity | None = None
) -> tuple[Chain, ...]:
    reader = DomainReader(world.store, world.root.principal)
    return renew_memberships(reader, issuer or world.machine, subject.principal, [chain], now=now, random=world.random)


def recorded(world: World) -> tuple[Chain, ...]:
    reader = DomainReader(world.store, world.root.principal)
    return reader.grants(world.created.scope, LAPTOP.principal)[1].chains


def revoke(world: World, now: int, *, who: Identity | None = None, serial: bytes | None = None) -> None:
    revoke_access(
        world.store,
        world.machine,
        world.root.principal,
        principals={} if who is None else {who.principal: now},
        serials={} if serial is None else {serial: now},
        now=now,
        random=world.random,
    )


@pytest.mark.parametrize("now", [NOW + AHEAD, NOW + YEAR, NOW + 2 * YEAR])
def test_a_membership_is_renewed_from_its_last_third_on_and_also_a_year_after_its_end(world: World, now: int) -> None:
    chain = membership(world)
    (fresh,) = renewed(world, chain, now)
    assert verify_chain(
        fresh, root=world.root.principal, subject=LAPTOP.principal, right=Rights.EXECUTE, now=now
    ).allowed
    old, new = chain.last, fresh.last
    assert old is not None
    assert new is not None
    assert (new.path, new.scope, new.rights, new.may_delegate) == (old.path, old.scope, old.rights, old.may_delegate)
    assert new.not_after == now - CLOCK_SKEW + YEAR
    assert new.not_after - new.not_before == old.not_after - old.not_before
    assert recorded(world) == (fresh,)


def test_no_sooner_than_in_its_last_third(world: World) -> None:
    assert renewed(world, membership(world), NOW + AHEAD - 1) == ()
    assert recorded(world) == ()


def test_who_connects_again_and_again_has_it_renewed_once(world: World) -> None:
    chain, now = membership(world), NOW + AHEAD
    assert len(renewed(world, chain, now)) == 1
    assert renewed(world, chain, now + DAY) == ()
    assert renewed(world, chain, NOW + YEAR + DAY) == ()


def test_it_goes_on_for_years_by_what_stands_in_the_record(world: World) -> None:
    reader = DomainReader(world.store, world.root.principal)
    renewed(world, membership(world), NOW + AHEAD)
    for year in range(1, 6):
        now = NOW + AHEAD + year * YEAR
        known = recorded(world)
        renew_memberships(reader, world.machine, LAPTOP.principal, known, now=now, random=world.random)
        valid = [chain for chain in recorded(world) if chain.last is not None and chain.last.not_after > now]
        assert len(valid) == 1


@pytest.mark.parametrize("moment", [NOW + 1, NOW + AHEAD, NOW + YEAR + DAY])
@pytest.mark.parametrize("what", ["subject", "serial", "issuer", "successor"])
@pytest.mark.parametrize("now", [NOW + AHEAD, NOW + 2 * YEAR])
def test_what_was_revoked_meanwhile_or_will_be_is_not_renewed(world: World, what: str, moment: int, now: int) -> None:
    chain = membership(world)
    assert chain.last is not None
    serial = chain.last.serial
    list_ = {
        "subject": Revocations(version=1, principals={LAPTOP.principal: moment}),
        "issuer": Revocations(version=1, principals={world.machine.principal: moment}),
        "serial": Revocations(version=1, serials={serial: moment}),
        "successor": Revocations(version=1, serials={renewed_serial(renewed_serial(serial)): moment}),
    }[what]
    assert not is_renewable(chain, LAPTOP.principal, world.root.principal, now, list_)


def test_who_had_its_renewed_chain_revoked_gets_none_by_the_one_before(world: World) -> None:
    chain = membership(world)
    (fresh,) = renewed(world, chain, NOW + AHEAD)
    assert fresh.last is not None
    revoke(world, NOW + AHEAD + DAY, serial=fresh.last.serial)
    for now in (NOW + AHEAD + 2 * DAY, NOW + YEAR + DAY, NOW + 2 * YEAR):
        assert renewed(world, chain, now) == ()
        assert renewed(world, fresh, now) == ()


def test_who_was_revoked_gets_nothing_recorded(world: World) -> None:
    chain, now = membership(world), NOW + AHEAD
    revoke(world, now, who=LAPTOP)
    assert renewed(world, chain, now) == ()
    assert recorded(world) == ()


def test_what_was_given_an_end_ends(world: World) -> None:
    for now in (NOW + YEAR - DAY, NOW + 2 * YEAR):
        short = membership(world, end=NOW + FURTHER_NOTICE - 1)
        grant = membership(world, "photos")
        inner = membership(world, "hosts", "laptop", "secrets")
        assert [renewed(world, chain, now) for chain in (short, grant, inner)] == [(), (), ()]


def test_who_was_away_for_too_long_is_asked_about_again(world: World) -> None:
    assert renewed(world, membership(world), NOW + YEAR + RENEW_UNTIL + 1) == ()


def test_somebody_elses_membership_renews_nothing(world: World) -> None:
    assert renewed(world, membership(world), NOW + 2 * YEAR, STRANGER) == ()


def test_it_lasts_no_longer_than_the_right_of_who_renews_and_then_is_not_renewed_again(world: World) -> None:
    short = NOW + YEAR + 30 * DAY
    server = OTHER_SERVER.with_chains(world.chain(OTHER_SERVER, begin=NOW, end=short))
    chain, now = membership(world), NOW + AHEAD
    (fresh,) = renewed(world, chain, now, issuer=server)
    assert fresh.last is not None
    assert fresh.last.not_after == short
    commits = len(recorded(world))
    assert renewed(world, chain, now + DAY, issuer=server) == ()
    assert len(recorded(world)) == commits
    (longer,) = renewed(world, chain, short - DAY)  # by somebody whose right lasts
    assert longer.last is not None
    assert longer.last.not_after > short


def test_a_recorded_chain_whose_issuer_is_out_does_not_stand_in_the_way(world: World) -> None:
    gone = OTHER_SERVER.with_chains(world.chain(OTHER_SERVER, begin=NOW, end=NOW + 9 * YEAR))
    chain, now = membership(world), NOW + AHEAD
    (by_gone,) = renewed(world, chain, now, issuer=gone)
    assert renewed(world, chain, now + DAY) == ()
    revoke(world, now + 2 * DAY, who=gone)
    (fresh,) = renewed(world, chain, now + 3 * DAY)
    assert by_gone.last is not None
    assert fresh.last is not None
    assert fresh.last.issuer == world.machine.public
    assert fresh.last.serial == by_gone.last.serial


def test_a_membership_that_was_signed_by_hand_and_taken_back_is_not_replaced_by_the_one_before(world: World) -> None:
    chain, now = membership(world), NOW + AHEAD
    by_hand = membership(world, end=now + YEAR)
    remember_chains(
        world.store, world.machine, LAPTOP.principal, [by_hand], world.root.principal, now=NOW, random=world.random
    )
    assert by_hand.last is not None
    revoke(world, now, serial=by_hand.last.serial)
    assert renewed(world, chain, now + DAY) == ()


def test_who_may_not_pass_anything_on_renews_nothing(world: World) -> None:
    assert renewed(world, membership(world), NOW + AHEAD, issuer=STRANGER) == ()
    ended = OTHER_SERVER.with_chains(world.chain(OTHER_SERVER, begin=NOW, end=NOW + DAY))
    assert renewed(world, membership(world), NOW + AHEAD, issuer=ended) == ()


def test_a_server_whose_own_right_was_renewed_renews_by_that(world: World) -> None:
    old = world.chain(OTHER_SERVER, begin=NOW, end=NOW + AHEAD + DAY)
    server = OTHER_SERVER.with_chains(old)
    new = world.chain(OTHER_SERVER, begin=NOW, end=NOW + 5 * YEAR)
    reader = DomainReader(world.store, world.root.principal)
    remember_chains(
        world.store,
        world.machine,
        OTHER_SERVER.principal,
        [new],
        world.root.principal,
        now=NOW,
        random=world.random,
    )
    (fresh,) = renew_memberships(
        reader, server, LAPTOP.principal, [membership(world)], now=NOW + AHEAD, random=world.random
    )
    assert fresh.last is not None
    assert fresh.last.not_after == NOW + AHEAD - CLOCK_SKEW + YEAR


class DyingStore(MemoryStore):
    """Dies at a commit, before or after it took effect."""

    die: str | None = None

    def commit(self, commit: Commit) -> CommitAnswer:
        if self.die == "before":
            raise KeyboardInterrupt
        answer = super().commit(commit)
        if self.die == "after":
            raise KeyboardInterrupt
        return answer


@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_between_issue_and_record_the_same_again_completes_it_by_the_same_name(moment: str) -> None:
    store = DyingStore()
    world = World.make(store)
    chain, now = membership(world), NOW + AHEAD
    store.die = moment
    with pytest.raises(KeyboardInterrupt):
        renewed(world, chain, now)
    store.die = None
    renewed(world, chain, now + 1)
    (fresh,) = recorded(world)
    assert chain.last is not None
    assert fresh.last is not None
    assert fresh.last.serial == renewed_serial(chain.last.serial)


class RacedStore(MemoryStore):
    """Somebody else commits just before the next commit."""

    rival: Callable[[], object] | None = None

    def commit(self, commit: Commit) -> CommitAnswer:
        rival, self.rival = self.rival, None
        if rival is not None:
            rival()
        return super().commit(commit)


def test_two_servers_that_renew_at_once_make_one_chain_of_one_name() -> None:
    store = RacedStore()
    world = World.make(store)
    server = OTHER_SERVER.with_chains(world.chain(OTHER_SERVER, begin=NOW, end=NOW + 9 * YEAR))
    chain, now = membership(world), NOW + AHEAD
    store.rival = lambda: renewed(world, chain, now, issuer=server)
    with pytest.raises(FsError) as refused:
        renewed(world, chain, now)
    assert refused.value.kind is Kind.CONFLICT
    assert renewed(world, chain, now) == ()
    (fresh,) = recorded(world)
    assert chain.last is not None
    assert fresh.last is not None
    assert fresh.last.serial == renewed_serial(chain.last.serial)


@given(st.integers(-YEAR, 4 * YEAR), st.integers(-YEAR, 4 * YEAR), st.sampled_from([LAPTOP, STRANGER]))
def test_it_is_renewable_in_its_time_and_only_if_it_is_not_in_the_list(after: int, moment: int, who: Identity) -> None:
    world = World.make()
    chain = membership(world)
    list_ = Revocations(version=1, principals={who.principal: NOW + moment})
    in_time = AHEAD <= after <= YEAR + RENEW_UNTIL
    found = is_renewable(chain, LAPTOP.principal, world.root.principal, NOW + after, list_)
    assert found == (in_time and who is STRANGER)


def held(world: World, *chains: Chain) -> HeldChains:
    return HeldChains(DomainReader(world.store, world.root.principal), LAPTOP.with_chains(*chains))


def test_who_runs_on_finds_what_was_renewed_and_shows_it_before_the_old_one(world: World) -> None:
    chain = membership(world)
    holder = held(world, chain)
    assert holder.due(NOW + AHEAD - 1) == ()
    assert holder.due(NOW + AHEAD) == (chain,)
    assert not holder.look(NOW + AHEAD)
    (fresh,) = renewed(world, chain, NOW + AHEAD)
    assert holder.look(NOW + AHEAD)
    assert holder.shown.chains == (fresh, chain)
    assert holder.due(NOW + AHEAD) == ()
    assert holder.due(NOW + AHEAD + YEAR) == (fresh,)
    assert not holder.look(NOW + AHEAD)


def test_what_was_renewed_and_revoked_since_is_not_shown(world: World) -> None:
    chain = membership(world)
    holder = held(world, chain)
    (fresh,) = renewed(world, chain, NOW + AHEAD)
    assert fresh.last is not None
    revoke(world, NOW + AHEAD, serial=fresh.last.serial)
    assert not holder.look(NOW + AHEAD)
    assert holder.shown.chains == (chain,)


def test_only_what_follows_its_own_chains_is_shown_and_all_that_was_given_is_held(world: World) -> None:
    grant = world.chain(LAPTOP, "photos", begin=NOW, end=NOW + YEAR)
    remember_chains(
        world.store, world.machine, LAPTOP.principal, [grant], world.root.principal, now=NOW, random=world.random
    )
    chain = membership(world)
    holder = held(world, chain)
    assert not holder.look(NOW)
    assert holder.shown.chains == (chain,)
    assert set(holder.identity.chains) == {chain, grant}


def test_looks_are_as_far_apart_as_the_rest_of_the_chain_allows(world: World) -> None:
    year, minutes = membership(world), membership(world, end=NOW + 600)
    assert year.last is not None
    assert pause_before_look(year, NOW, 3) == pause_before_look(year, renewal_from(year.last), 3) == 3600
    assert pause_before_look(year, NOW + YEAR + 1, 3) == 3
    assert pause_before_look(minutes, NOW + 500, 3) == 10
    assert pause_before_look(membership(world, end=NOW + 6), NOW + 5, 3) == 1


def test_how_long_is_left_is_said_in_the_last_two_weeks(world: World) -> None:
    chain = membership(world)
    moments = {YEAR - 15 * DAY: None, YEAR - 14 * DAY: "ends in 14 days", YEAR - DAY: "ends in 24 hours"}
    assert {moment: time_left(chain, NOW + moment) for moment in moments} == moments
    assert time_left(chain, NOW + YEAR + 1) == "ended"
    assert time_left(Chain(), NOW) is None
