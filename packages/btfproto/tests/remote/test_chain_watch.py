"""Who runs on past the end of a membership: looks for the next, shows it in time, and says what is missing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest
from btfproto._chain_watch import IDLE, ChainWatch, next_command
from btfproto._dial import Dialer
from btfproto.domain import DomainReader, HeldChains, remember_chains, renew_memberships, revoke_access
from btfproto.errors import StoreError
from btfproto.store import HeadAnswer, HeadWant, MemoryStore
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import Chain, Identity, Rights
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from .evil import FakeLink

YEAR = 365 * DAY
AHEAD = YEAR - YEAR // 3
LAPTOP = person(20)


class AwayStore(MemoryStore):
    away = False

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        if self.away:
            raise StoreError(Kind.UNREACHABLE, "no store answers")
        return super().read_heads(wants)


class Stage:
    """A laptop with a membership of a year, a clock to turn, and a server that renews what is shown to it."""

    def __init__(self) -> None:
        self.store = AwayStore()
        self.world = World.make(self.store)
        self.now = NOW
        self.reader = DomainReader(self.store, self.world.root.principal)
        self.proved: list[Identity] = []
        self.renews = True
        self.chain = self.world.chain(
            LAPTOP,
            "hosts",
            "laptop",
            begin=NOW,
            end=NOW + YEAR,
            parent=self.world.created.chain,
            issuer=self.world.machine,
        )
        self.held = HeldChains(self.reader, LAPTOP.with_chains(self.chain))

    def watch(self, held: HeldChains | None = None, **options: object) -> ChainWatch:
        return ChainWatch(held or self.held, clock=lambda: float(self.now), **options)  # type: ignore[arg-type]

    def prove(self, identity: Identity) -> None:
        self.proved.append(identity)
        if self.renews:
            who = identity.principal
            renew_memberships(
                DomainReader(self.store, self.world.root.principal),
                self.world.machine,
                who,
                identity.chains,
                now=self.now,
                random=self.world.random,
            )


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_nothing_is_asked_of_anybody_before_the_last_third(stage: Stage) -> None:
    stage.store.away = True
    watch = stage.watch(prove=stage.prove)
    for stage.now in (NOW, NOW + AHEAD - 30, NOW + AHEAD - 1):
        assert watch.look() == min(IDLE, NOW + AHEAD - stage.now)
    assert stage.proved == []


def test_what_it_has_is_shown_so_that_the_server_renews_it_and_then_what_was_renewed(stage: Stage) -> None:
    watch = stage.watch(prove=stage.prove)
    stage.now = NOW + AHEAD
    assert watch.look() == 3600
    assert [shown.chains for shown in stage.proved] == [(stage.chain,)]
    stage.now += 3600
    assert watch.look() == IDLE
    fresh = stage.held.shown.chains[0]
    assert fresh.last is not None
    assert fresh.last.not_after > NOW + YEAR
    assert [shown.chains for shown in stage.proved[1:]] == [(fresh, stage.chain)]


def test_it_goes_on_for_years(stage: Stage) -> None:
    watch = stage.watch(prove=stage.prove)
    for day in range(5 * 365):
        stage.now = NOW + day * DAY
        watch.look()
        last = stage.held.shown.chains[0].last
        assert last is not None
        assert last.not_before <= stage.now <= last.not_after
    assert len(stage.proved) < 20


def test_who_was_revoked_has_nothing_renewed_and_is_told_each_day_how_long_is_left(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.now = NOW + AHEAD
    revoke_access(
        stage.store,
        stage.world.machine,
        stage.world.root.principal,
        principals={LAPTOP.principal: stage.now},
        serials={},
        now=stage.now,
        random=stage.world.random,
    )
    watch = stage.watch(prove=stage.prove)
    with caplog.at_level(logging.WARNING):
        for stage.now in range(NOW + AHEAD, NOW + YEAR, DAY // 4):
            watch.look()
    assert stage.held.shown.chains == (stage.chain,)
    assert len(caplog.messages) == 14
    assert "ends in 13 days, and nothing follows it yet" in caplog.messages[0]
    assert "ends in 22 hours" in caplog.messages[-1]


def test_a_server_that_does_not_renew_is_warned_of_with_the_next_command(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.renews = False
    watch = stage.watch(prove=stage.prove)
    stage.now = NOW + YEAR - 3 * DAY
    with caplog.at_level(logging.WARNING):
        watch.look()
        watch.look()
        stage.now = NOW + YEAR + 1
        watch.look()
    first, second = caplog.messages
    assert f"the right of {LAPTOP.principal} to write and execute at {stage.world.path('hosts', 'laptop')}" in first
    assert "ends in 3 days" in first
    assert f"bt enroll sign {LAPTOP.principal}" in first
    assert "ended" in second


def test_a_store_and_a_server_that_are_away_are_asked_again(stage: Stage) -> None:
    def refuse(_identity: Identity) -> None:
        raise BlocktreeError("no server answers", kind=Kind.UNREACHABLE)

    stage.now = NOW + AHEAD
    stage.store.away = True
    assert stage.watch(prove=refuse).look() == 3600
    stage.store.away = False
    stage.watch(prove=stage.prove).look()
    stage.watch(prove=stage.prove).look()
    assert stage.held.due(stage.now) == ()


def test_without_a_server_who_may_renew_it_renews_it_itself(stage: Stage) -> None:
    world = stage.world
    owner = stage.world.machine.with_chains(
        world.chain(world.machine, "hosts", "nas", begin=NOW, end=NOW + YEAR, rights=Rights.EXECUTE)
    )
    held = HeldChains(stage.reader, owner)
    stage.now = NOW + AHEAD
    watch = stage.watch(held, renews=True)
    watch.look()
    assert held.due(stage.now) == ()
    last = held.shown.chains[0].last
    assert last is not None
    assert last.not_after > NOW + YEAR


def test_what_only_the_root_can_give_is_named_so(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    world = stage.world
    held = HeldChains(stage.reader, world.machine)
    last = world.created.chain.last
    assert last is not None
    stage.now = last.not_after - 3600 * 30
    with caplog.at_level(logging.WARNING):
        stage.watch(held, renews=True).look()
    assert "ends in 30 hours" in caplog.text
    assert f"bt grant {world.machine.principal} {world.path()} write,execute --delegate --root" in caplog.text


def test_a_grant_that_a_file_system_writes_under_is_spoken_of_too(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    world = stage.world
    grant = world.chain(
        LAPTOP, "photos", begin=NOW, end=NOW + 90 * DAY, parent=world.created.chain, issuer=world.machine,
        rights=Rights.WRITE,
    )  # fmt: skip
    stage.now = NOW + 80 * DAY
    with caplog.at_level(logging.WARNING):
        stage.watch(also=lambda: [grant]).look()
    assert f"an owner runs: bt grant {LAPTOP.principal} {world.path('photos')} write --delegate" in caplog.text


def test_a_grant_that_was_given_anew_is_not_warned_of_although_nothing_was_written_since(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    world = stage.world
    grants = [
        world.chain(LAPTOP, "photos", begin=NOW, end=end, parent=world.created.chain, issuer=world.machine)
        for end in (NOW + 90 * DAY, NOW + 400 * DAY)
    ]
    remember_chains(
        stage.store,
        world.machine,
        LAPTOP.principal,
        grants[1:],
        world.root.principal,
        now=NOW,
        random=world.random,
    )
    stage.now = NOW + 80 * DAY
    with caplog.at_level(logging.WARNING):
        stage.watch(also=lambda: grants[:1]).look()
    assert caplog.messages == []


def test_its_thread_looks_by_itself_and_ends_when_it_is_told(stage: Stage) -> None:
    stage.now = NOW + AHEAD
    seen = threading.Event()

    def prove(identity: Identity) -> None:
        stage.prove(identity)
        seen.set()

    watch = stage.watch(prove=prove).start()
    assert seen.wait(20)
    watch.close()
    watch.close()


def test_every_chain_has_a_next_command(stage: Stage) -> None:
    assert "bt enroll sign" in next_command(stage.chain)
    assert "--root" in next_command(stage.world.created.chain)


def test_a_link_that_is_open_proves_the_new_chains_and_the_next_link_begins_with_them(stage: Stage) -> None:
    link = FakeLink(lambda body: body)
    dialer = Dialer(lambda timeout: link, "nas:7464", identity=LAPTOP)
    fresh = LAPTOP.with_chains(stage.chain)
    dialer.renew(fresh)
    assert link.proved == []
    dialer.link()
    dialer.renew(fresh)
    assert link.proved == [fresh]
    assert dialer.identity == fresh
    dialer.close()


def test_the_root_has_no_end(stage: Stage) -> None:
    held = HeldChains(stage.reader, stage.world.root)
    stage.now = NOW + 100 * YEAR
    assert stage.watch(held).look() == IDLE
    assert Chain() not in held.due(stage.now)
