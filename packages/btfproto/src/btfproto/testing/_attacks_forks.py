"""Attacks of a store that answers each client differently, and of whoever bears false witness of it."""

from __future__ import annotations

from functools import partial

from btlib.writecaps import Chain

from ..domain import DomainReader, Draft, Grants, grants_block, revoke_access
from ..store import Store
from ._attack import ForkingStore, Implementation, attack, refuse
from .domains import NOW, World, person


def _world() -> tuple[World, ForkingStore]:
    store = ForkingStore()
    world = World.make(store)
    write(world, store, 1)
    return world, store


def write(world: World, store: Store, number: int, client: int = 0) -> None:
    """The next version of somebody's record, by one of two clients, which write at different times."""
    reader = DomainReader(store, world.root.principal)
    who, scope = person(100 + number).principal, world.created.scope
    header, old = reader.grants(scope, who)
    draft = Draft(world.root.signer, Chain(), now=NOW + client)
    draft.put_public(grants_block(scope, who), scope, old if header else Grants(principal=who), previous=header)
    store.commit(draft.commit(world.random(16)))


def revoke(world: World, store: Store, number: int) -> None:
    """The next revocation list, with somebody in it."""
    root, revoked = world.root, {person(number).principal: NOW}
    revoke_access(store, root, root.principal, principals=revoked, serials={}, now=NOW, random=world.random)


def _honest(under: Implementation, world: World, store: Store) -> None:
    """Two clients of one server, between whose views something was written."""
    views = [under.take_view(world, store, who) for who in (world.machine, world.root)]
    write(world, store, 1)
    write(world, store, 2)
    for view in views:
        assert not under.forks(world, store, view), "an honest store is accused"


@attack("fork", "a server shows each of two clients what that one wrote, and nothing of the other's")
def fork(under: Implementation) -> None:
    world, store = _world()
    _honest(under, world, store)
    other = store.fork()
    write(world, store, 1, client=0)
    write(world, other, 1, client=1)
    assert under.forks(world, other, under.take_view(world, store, world.machine)), "the first sees no fork"
    assert under.forks(world, store, under.take_view(world, other, world.root)), "the second sees no fork"


@attack("fork-of-one-side", "a server hides from one client what the other writes; that one writes nothing")
def fork_of_one_side(under: Implementation) -> None:
    world, store = _world()
    _honest(under, world, store)
    other = store.fork()
    write(world, store, 1)
    assert under.forks(world, other, under.take_view(world, store, world.machine)), "who is behind does not notice"


@attack("two-revocation-lists", "a server, or an owner, tells each client another revocation list, or one of them none")
def two_lists(under: Implementation) -> None:
    world, store = _world()
    other, behind = store.fork(), store.fork()
    revoke(world, store, 60)
    _honest(under, world, store)
    view = under.take_view(world, store, world.machine)
    revoke(world, other, 61)
    for shown in (other, behind):
        assert under.forks(world, shown, view), "another revocation list goes unnoticed"


@attack("false-witness", "a view that was changed on its way, cut off, of another domain, or of nobody who is a member")
def false_witness(under: Implementation) -> None:
    world, store = _world()
    _honest(under, world, store)
    view = under.take_view(world, store, world.machine)
    flipped = [view[:at] + bytes([view[at] ^ 1]) + view[at + 1 :] for at in range(0, len(view), 7)]
    for changed in [*flipped, *(view[:end] for end in range(0, len(view), 11)), view + b"x"]:
        refuse(partial(under.forks, world, store, changed))
    elsewhere = World.make(seed=9)
    refuse(lambda: under.forks(elsewhere, elsewhere.store, view))
    refuse(lambda: under.take_view(world, store, person(70)))
    root, machine = world.root, world.machine.principal
    revoke_access(store, root, root.principal, principals={machine: NOW}, serials={}, now=NOW, random=world.random)
    refuse(lambda: under.forks(world, store, view))
