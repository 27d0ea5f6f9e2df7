"""Who may make and delete snapshots at a server."""

from __future__ import annotations

import time

import pytest
from btfproto.testing.domains import World, person
from btfsd._snapshot_policy import SnapshotPolicy
from btlib.errors import CapabilityError
from btlib.identity import Identity
from btlib.revocations import NO_REVOCATIONS
from btlib.writecaps import Rights
from bttp import Peer
from bttp._auth import Auth


def test_snapshots_are_for_the_machine_itself_and_for_who_may_write_at_the_root() -> None:
    world = World.make(now=int(time.time()))
    now = int(time.time())
    granted = world.chain(person(7), rights=Rights.WRITE, begin=now - 10, end=now + 1000)
    records = {person(7).principal: [granted], person(6).principal: [granted]}
    server = SnapshotPolicy(
        world.root.principal, person(9).principal, lambda: NO_REVOCATIONS, lambda principal: records.get(principal, [])
    )
    guest = person(8)
    below = guest.with_chains(world.chain(guest, "home", rights=Rights.WRITE, begin=now - 10, end=now + 1000))
    reader = guest.with_chains(world.chain(guest, rights=Rights.EXECUTE, begin=now - 10, end=now + 1000))
    writer = guest.with_chains(world.chain(guest, rights=Rights.WRITE, begin=now - 10, end=now + 1000))
    server.check(peer_of(person(9)))
    server.check(peer_of(writer))
    server.check(peer_of(person(7)))
    for other in (guest, below, reader, person(6)):
        with pytest.raises(CapabilityError):
            server.check(peer_of(other))


def peer_of(identity: Identity) -> Peer:
    """As if it had proved this on a link."""
    return Peer((Auth(public=identity.public, chains=identity.chains, signature=b""),))
