"""Who is let in is noticed, and renewed beside; a failure stops nobody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
from btfproto.testing.domains import NOW, World, person
from btfsd._policy import ServerPolicy
from btfsd._renewals import AGAIN, Renewals
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.writecaps import Chain
from bttp import Peer
from bttp._auth import Auth

LAPTOP, TABLET = person(20), person(21)
PATIENCE = 20.0


class Stage:
    def __init__(self) -> None:
        world = World.make()
        self.due = world.chain(LAPTOP, "hosts", "laptop")
        self.lasting = world.chain(LAPTOP, "hosts")
        self.now = 0.0
        self.renewed: list[tuple[Principal, tuple[Chain, ...]]] = []
        self.done = threading.Semaphore(0)
        self.fails = False
        self.renewals = Renewals(self._renew, lambda _who, chain: chain == self.due, lambda: self.now)

    def _renew(self, principal: Principal, chains: Sequence[Chain]) -> None:
        try:
            if self.fails:
                raise BlocktreeError("the store is away", kind=Kind.UNREACHABLE)
            self.renewed.append((principal, tuple(chains)))
        finally:
            self.done.release()

    def wait(self) -> None:
        assert self.done.acquire(timeout=PATIENCE)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.renewals.close()


def test_what_is_due_is_renewed_and_nothing_else(stage: Stage) -> None:
    stage.renewals.notice(LAPTOP.principal, [stage.due, stage.lasting])
    stage.wait()
    assert stage.renewed == [(LAPTOP.principal, (stage.due,))]


def test_without_anything_due_there_is_no_thread(stage: Stage) -> None:
    before = threading.active_count()
    stage.renewals.notice(LAPTOP.principal, [stage.lasting])
    assert threading.active_count() == before


def test_who_comes_again_and_again_is_tried_once_in_a_while(stage: Stage) -> None:
    for stage.now in (0.0, 1.0, AGAIN - 1, AGAIN):
        stage.renewals.notice(LAPTOP.principal, [stage.due])
    stage.renewals.notice(TABLET.principal, [stage.due])
    for _ in range(3):
        stage.wait()
    assert [who for who, _ in stage.renewed] == [LAPTOP.principal, LAPTOP.principal, TABLET.principal]


def test_a_failure_is_said_and_the_next_one_is_tried(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.fails = True
    with caplog.at_level(logging.WARNING):
        stage.renewals.notice(LAPTOP.principal, [stage.due])
        stage.wait()
        stage.fails = False
        stage.renewals.notice(TABLET.principal, [stage.due])
        stage.wait()
    assert stage.renewed == [(TABLET.principal, (stage.due,))]
    assert (
        f"the membership of {LAPTOP.principal} nears its end, and is not renewed yet: the store is away" in caplog.text
    )


def test_after_the_end_nothing_begins(stage: Stage) -> None:
    stage.renewals.close()
    stage.renewals.notice(LAPTOP.principal, [stage.due])
    stage.renewals.close()
    assert stage.renewed == []


def test_only_who_is_let_in_is_noticed() -> None:
    world = World.make()
    seen: list[Principal] = []
    policy = ServerPolicy(
        world.root.principal,
        world.path("hosts", "nas", "btfsd"),
        TABLET.principal,
        admitted=lambda principal, _shown: seen.append(principal),
    )

    def admits(*chains: Chain) -> bool:
        return policy.admit(Peer((Auth(public=LAPTOP.public, chains=chains, signature=b""),)), NOW).allowed

    assert not admits()
    assert seen == []
    assert admits(world.chain(LAPTOP, "hosts"))
    assert seen == [LAPTOP.principal]
