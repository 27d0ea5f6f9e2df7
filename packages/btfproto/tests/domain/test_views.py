"""Views: a store that answers each client differently is found at the first exchange, an honest one never accused."""

from __future__ import annotations

import pytest
from btfproto.domain import (
    NOTHING_SEEN,
    Comparison,
    DomainReader,
    SeenList,
    compare_view,
    grants_block,
    read_view,
    revoke_access,
    shown_heads,
    take_view,
)
from btfproto.errors import FsError
from btfproto.testing._attacks_forks import write
from btfproto.testing.attacks import ForkingStore
from btfproto.testing.domains import DAY, NOW, World, person
from btlib import CapabilityError, Identity, Kind, Revocations
from btlib.revocations import NO_REVOCATIONS
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule


@pytest.fixture
def store() -> ForkingStore:
    return ForkingStore()


@pytest.fixture
def world(store: ForkingStore) -> World:
    return World.make(store)


def view(world: World, store: ForkingStore, who: Identity, seen: SeenList = NOTHING_SEEN) -> bytes:
    return take_view(DomainReader(store, world.root.principal), who, seen, now=NOW)


def compared(world: World, theirs: bytes, store: ForkingStore, seen: SeenList = NOTHING_SEEN) -> Comparison:
    terms = read_view(theirs, world.root.principal, NO_REVOCATIONS, now=NOW)
    return compare_view(terms, shown_heads(DomainReader(store, world.root.principal)), seen)


def test_what_one_wrote_is_there_for_the_other_or_newer(world: World, store: ForkingStore) -> None:
    write(world, store, 1)
    theirs = view(world, store, world.machine)
    write(world, store, 1)
    write(world, store, 2)
    found = compared(world, theirs, store)
    assert found.agrees
    assert found.compared == len(store.scan(None, 1000)) - 1


def test_a_store_that_answers_each_client_differently_is_found_at_the_first_exchange(
    world: World, store: ForkingStore
) -> None:
    write(world, store, 1)
    other = store.fork()
    write(world, store, 1, client=0)
    write(world, other, 1, client=1)
    block = grants_block(world.created.scope, person(101).principal)
    assert compared(world, view(world, store, world.machine), other).forked == (block,)
    assert compared(world, view(world, other, world.root), store).forked == (block,)


def test_a_store_that_hides_what_another_wrote_is_found_by_who_is_behind(world: World, store: ForkingStore) -> None:
    write(world, store, 1)
    other = store.fork()
    write(world, store, 1)
    assert len(compared(world, view(world, store, world.machine), other).behind) == 1
    assert compared(world, view(world, other, world.root), store).agrees  # which is why both compare


def test_two_revocation_lists_of_one_version_are_told_apart(world: World, store: ForkingStore) -> None:
    other = store.fork()
    lists = []
    for number, branch in enumerate((store, other)):
        revoke_access(
            branch,
            world.root,
            world.root.principal,
            principals={person(60 + number).principal: NOW},
            serials={},
            now=NOW,
            random=world.random,
        )
        found = DomainReader(branch, world.root.principal).revocation_list()
        assert found is not None
        lists.append(found)
    fault = compared(world, view(world, store, world.machine, lists[0]), other, lists[1]).list_fault
    assert fault is not None
    assert "two revocation lists of version 1" in fault
    withheld = compared(world, view(world, store, world.machine, lists[0]), store).list_fault
    assert withheld is not None
    assert "withheld" in withheld


def test_a_stranger_and_somebody_revoked_are_no_witnesses(world: World, store: ForkingStore) -> None:
    with pytest.raises(CapabilityError):
        view(world, store, person(70))
    theirs = view(world, store, world.machine)
    revoked = Revocations(version=1, principals={world.machine.principal: NOW})
    with pytest.raises(FsError, match="was revoked on") as refused:
        read_view(theirs, world.root.principal, revoked, now=NOW)
    assert "not a member's" in str(refused.value)


def test_a_view_of_another_domain_is_refused(world: World, store: ForkingStore) -> None:
    with pytest.raises(FsError) as refused:
        read_view(view(world, store, world.machine), person(9).principal, NO_REVOCATIONS, now=NOW + DAY)
    assert refused.value.kind is Kind.INVALID


class Clients(RuleBasedStateMachine):
    """Two clients of one server, which may begin to show each a tree of its own."""

    def __init__(self) -> None:
        super().__init__()
        first = ForkingStore()
        self.world = World.make(first)
        self.stores = [first, first]
        self.wrote = 0  # since the fork

    @precondition(lambda self: self.stores[0] is self.stores[1])
    @rule()
    def fork(self) -> None:
        self.stores[1] = self.stores[0].fork()

    @rule(client=st.integers(0, 1), number=st.integers(0, 2))
    def write(self, client: int, number: int) -> None:
        self.wrote += self.stores[0] is not self.stores[1]
        write(self.world, self.stores[client], number, client)

    @invariant()
    def two_that_exchange_their_views_agree_unless_there_is_a_fork_that_matters(self) -> None:
        alice, bob = (view(self.world, store, self.world.machine) for store in self.stores)
        sound = compared(self.world, alice, self.stores[1]), compared(self.world, bob, self.stores[0])
        complete = not any(found.gone for found in sound)
        assert (complete and all(found.agrees for found in sound)) is (self.wrote == 0)


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)
