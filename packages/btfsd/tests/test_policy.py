"""Who may connect, and what the others are told."""

from __future__ import annotations

from btfproto.testing.domains import NOW, person
from btfsd._policy import ServerPolicy
from btlib import BlockPath
from btlib.principals import Principal
from bttp import Peer

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
