"""Issuing the chains of an enrolment, from what this machine itself holds. Pure: time and randomness are arguments."""

from __future__ import annotations

from collections.abc import Callable

from btlib.home import HOSTS
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.writecaps import Chain, Rights, issue_writecap

CLOCK_SKEW = 300  #: seconds by which clocks of one domain may differ: writecaps begin that much earlier
ID_SIZE = 16  #: bytes of a serial and of a scope id


def enrolment_chains(
    identity: Identity,
    root: Principal,
    subject: Principal,
    host: str,
    *,
    now: int,
    until: int,
    random: Callable[[int], bytes],
) -> tuple[Chain, ...]:
    """What a new machine gets: its own place in the tree, and leave to talk to the domain's hosts.

    A server cannot see paths, only write scopes; so a right to write at `/hosts/NAME` in the root scope would be one to
    write anywhere in that scope. The chain therefore names a scope of its own, fresh, in which no block lies yet.

    Raises CapabilityError where this machine may not give that.
    """
    hosts = BlockPath(root, (HOSTS,))
    place = hosts.child(host)
    both = Rights.WRITE | Rights.EXECUTE
    home_parent = identity.chain_for(root, both, now, path=place)
    talk_parent = identity.chain_for(root, Rights.EXECUTE, now, path=hosts)
    own = _issue(home_parent, identity, subject, place, random(ID_SIZE), both, True, now, until, random)
    talk = _issue(talk_parent, identity, subject, hosts, _scope(talk_parent), Rights.EXECUTE, False, now, until, random)
    return own, talk


def _scope(parent: Chain) -> bytes:
    # The root's own empty chain names no scope; for a right that touches no block, any will do.
    return bytes(ID_SIZE) if parent.last is None else parent.last.scope


def _issue(
    parent: Chain,
    identity: Identity,
    subject: Principal,
    path: BlockPath,
    scope: bytes,
    rights: Rights,
    may_delegate: bool,
    now: int,
    until: int,
    random: Callable[[int], bytes],
) -> Chain:
    last = parent.last
    begin = now - CLOCK_SKEW
    return issue_writecap(
        identity.signer,
        parent,
        subject=subject,
        path=path,
        scope=scope,
        rights=rights,
        not_before=begin if last is None else max(begin, last.not_before),
        not_after=until if last is None else min(until, last.not_after),
        may_delegate=may_delegate,
        serial=random(ID_SIZE),
    )
