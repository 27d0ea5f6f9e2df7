"""Issuing the chains of an enrolment, from what this machine itself holds. Pure: time and randomness are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from btlib.clocks import CLOCK_SKEW
from btlib.home import HOSTS
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.writecaps import SERVE, Chain, Rights, issue_writecap

ID_SIZE = 16  #: bytes of a serial and of a scope id


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """Who enrols whom, and for how long. `random` gives fresh random bytes."""

    issuer: Identity
    root: Principal
    subject: Principal
    host: str
    now: int
    until: int
    random: Callable[[int], bytes]

    def chains(self) -> tuple[Chain, Chain]:
        """What the new machine gets: its own place in the tree, and leave to talk to the domain's hosts.

        A server cannot see paths, only write scopes; so a right to write at `/hosts/NAME` in the root scope would be
        one to write anywhere in that scope. The first chain therefore names a fresh scope, in which no block lies yet.

        Raises CapabilityError where this machine may not give that; an end later than its own is brought forward.
        """
        hosts = BlockPath(self.root, (HOSTS,))
        place = hosts.child(self.host)
        above_place = self.issuer.chain_for(self.root, SERVE, self.now, path=place)
        above_hosts = self.issuer.chain_for(self.root, Rights.EXECUTE, self.now, path=hosts)
        return (
            self._issue(above_place, place, self.random(ID_SIZE), SERVE, may_delegate=True),
            self._issue(above_hosts, hosts, _scope(above_hosts), Rights.EXECUTE, may_delegate=False),
        )

    def _issue(self, parent: Chain, path: BlockPath, scope: bytes, rights: Rights, *, may_delegate: bool) -> Chain:
        begin, last = self.now - CLOCK_SKEW, parent.last
        return issue_writecap(
            self.issuer.signer,
            parent,
            subject=self.subject,
            path=path,
            scope=scope,
            rights=rights,
            not_before=begin if last is None else max(begin, last.not_before),
            not_after=self.until if last is None else min(self.until, last.not_after),
            may_delegate=may_delegate,
            serial=self.random(ID_SIZE),
        )


def _scope(parent: Chain) -> bytes:
    # The root's own empty chain names no scope; for a right that touches no block, any will do.
    return bytes(ID_SIZE) if parent.last is None else parent.last.scope
