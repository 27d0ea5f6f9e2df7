"""Who may connect, and what the others are told."""

from __future__ import annotations

from btfproto.testing.domains import DAY, NOW, World, person
from btfsd._policy import ServerPolicy
from btlib import BlockPath, Chain, Revocations
from btlib.principals import Principal
from bttp import Peer
from bttp._auth import Auth

SERVER = ("hosts", "nas", "btfsd")


def policy(root: Principal) -> ServerPolicy:
    return ServerPolicy(root, BlockPath(root, SERVER), person(2).principal)


def test_an_anonymous_peer_is_told_to_have_its_machine_enrolled() -> None:
    decision = policy(person(1).principal).admit(Peer(), NOW)
    assert not decision.allowed
    assert "bt enroll" in decision.reason


def test_whoever_may_not_execute_at_the_service_is_told_the_command() -> None:
    root = person(1).principal
    decision = policy(root).authorize(Peer(), BlockPath(root, ("hosts", "nas", "btfsd", "fs")), NOW)
    assert not decision.allowed
    assert "bt enroll sign" in decision.reason


def test_a_machine_that_shows_an_old_chain_gets_in_by_the_one_that_is_recorded_for_it() -> None:
    world = World.make()
    laptop, old_keys = person(20), world.machine
    root, server = world.root.principal, world.path(*SERVER)
    shown = world.chain(laptop, "hosts", parent=world.created.chain, issuer=old_keys, begin=NOW)
    recorded = world.chain(laptop, "hosts")
    revoked = Revocations(version=1, principals={old_keys.principal: NOW - DAY})
    peer = Peer((Auth(public=laptop.public, chains=(shown,), signature=b""),))

    def decisions(known: tuple[Chain, ...]) -> tuple[bool, bool]:
        policy = ServerPolicy(root, server, person(2).principal, lambda: revoked, lambda _principal, _shown: known)
        return policy.admit(peer, NOW).allowed, policy.authorize(peer, server, NOW).allowed

    assert decisions(()) == (False, False)
    assert decisions((recorded,)) == (True, True)
    assert decisions((world.chain(person(21), "hosts"),)) == (False, False)  # somebody else's
