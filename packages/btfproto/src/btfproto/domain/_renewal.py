"""Renewing memberships: they go on by themselves, unless revoked, and who was away while one ran out comes back.

A chain is renewed from the last third of its span on, if it is in order (or was, until it ran out), and nothing in it
was revoked since, or will be; if it is a membership, as long as those are given who belong until further notice; and
not for ever after. A grant with an end, or a shorter membership, ends. The new chain gives the same, in the same scope,
for the same length; it goes into the principal's record, where server and machine look for it.

    chain        serial S₀
    renewed      serial S₁ = H(RENEWED ‖ S₀), whoever renews it
    renewed      serial S₂ = H(RENEWED ‖ S₁) …

So two servers, or one that was interrupted, make one chain of the same name; and who revokes any of them by its serial
ends those before it as well: they are not renewed a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
from btlib.clocks import CLOCK_SKEW
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.labels import Label, tagged_hash
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights, Writecap

from btfproto.errors import FsError

from ._create import SERIAL_SIZE, Random
from ._handover import Giver, end_of, terms_of
from ._open import read_held
from ._reader import DomainReader

DAY = 86_400
FURTHER_NOTICE = 180 * DAY  #: seconds; who is enrolled for half a year or longer belongs until revoked
RENEW_UNTIL = 2 * 365 * DAY  #: seconds after the end; who was away for longer is asked about again
#: The last third of its span: two months at least, in which machine and server need to meet once, whoever is on
#: holiday; and a membership costs a commit every four months at most.
AHEAD = 3
GENERATIONS = 16  #: successors whose revocation counts: more than fit into `RENEW_UNTIL`, at four months each
HOSTS = "hosts"  #: memberships lie here


def renewal_from(last: Writecap) -> int:
    """The second from which on a chain that ends with this writecap is renewed, and another one is looked for."""
    return last.not_after - (last.not_after - last.not_before) // AHEAD


def renewed_serial(serial: bytes) -> bytes:
    """The serial of what follows a chain."""
    return tagged_hash(Label.RENEWED, serial)[:SERIAL_SIZE]


def is_membership(last: Writecap) -> bool:
    """Whether it says that somebody belongs, until further notice."""
    names = last.block_path.names
    return names[:1] == (HOSTS,) and len(names) <= 2 and last.not_after - last.not_before >= FURTHER_NOTICE


def is_renewable(chain: Chain, subject: Principal, root: Principal, now: int, revocations: Revocations) -> bool:
    """Whether a chain nears its end, or has run out, and nothing but that speaks against it. Pure."""
    last = chain.last
    if last is None or not renewal_from(last) <= now <= last.not_after + RENEW_UNTIL or not is_membership(last):
        return False
    if any(serial in revocations.serials for serial in _successors(last.serial)):
        return False
    then = min(now, last.not_after)
    return verify_chain(
        chain,
        root=root,
        subject=subject,
        right=Rights(0),
        now=then,
        revocations=_by(revocations, then),
    ).allowed


def renew_memberships(
    reader: DomainReader, issuer: Identity, subject: Principal, shown: Sequence[Chain], *, now: int, random: Random
) -> tuple[Chain, ...]:
    """Renew those that are renewable, by `issuer`, and record them; not where the record has, or the issuer's own right
    gives, nothing that lasts longer. The same again, after an interruption, makes the same.

    Raises FsError: CONFLICT (somebody was faster); StoreError.
    """
    root, revocations = reader.root, reader.revocations
    wanted = [chain for chain in shown if is_renewable(chain, subject, root, now, revocations)]
    if not wanted or revocations.revoked(subject, now) is not None:
        return ()
    try:
        scope = reader.domain().scope
        _, grants = reader.grants(scope, subject)
        giver = Giver(reader=reader, identity=_giving(reader, issuer), now=now, random=random, refused=[])
        renewal = _Renewal(giver=giver, subject=subject, known=(*grants.chains, *shown))
        fresh = tuple(made for chain in longest(wanted) if (made := renewal.of(chain)) is not None)
        if fresh:
            giver.record(scope, subject, (), fresh)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    return fresh


@dataclass(frozen=True, kw_only=True)
class _Renewal:
    """Of the chains of one principal, which are all `known`."""

    giver: Giver
    subject: Principal
    known: Sequence[Chain]

    def of(self, chain: Chain) -> Chain | None:
        """What follows a chain; None where that would last no longer than what is there."""
        last, now = chain.last, self.giver.now
        assert last is not None  # the root's empty chain is not renewable
        alike = [other.last for other in self.known if other.last is not None and self._counts(other, chain)]
        if any(renewal_from(other) > now for other in alike):
            return None
        until = now - CLOCK_SKEW + last.not_after - last.not_before
        try:
            made = self.giver.issue(last, self.subject, until, serial=renewed_serial(last.serial))
        except CapabilityError:  # the issuer may not give that, or its own right begins or ends elsewhere
            return None
        ends = [other.not_after for other in (last, *alike)]
        return made if made.last is not None and made.last.not_after > max(ends) else None

    def _counts(self, other: Chain, chain: Chain) -> bool:
        """Whether another chain stands for a renewal of this one: it gives the same, and is in order; or it was taken
        back itself. Not if its issuer is out: then it is nothing to go on with."""
        if other.last is None or terms_of(other) != terms_of(chain):
            return False
        reader, now = self.giver.reader, self.giver.now
        revocations = reader.revocations
        return (
            other.last.serial in revocations.serials
            or verify_chain(
                other,
                root=reader.root,
                subject=self.subject,
                right=Rights(0),
                now=min(now, other.last.not_after),
                revocations=revocations,
            ).allowed
        )


def _giving(reader: DomainReader, issuer: Identity) -> Identity:
    """The issuer with what it may pass on, by its own record too: its right may have been renewed as well."""
    held = read_held(reader, issuer).identity
    return replace(held, chains=tuple(chain for chain in held.chains if chain.last and chain.last.may_delegate))


def longest(chains: Iterable[Chain]) -> list[Chain]:
    """Of those that give the same, the one that lasts longest."""
    return list({terms_of(chain): chain for chain in sorted(chains, key=end_of)}.values())


def _successors(serial: bytes) -> Iterator[bytes]:
    for _ in range(GENERATIONS):
        serial = renewed_serial(serial)
        yield serial


def _by(revocations: Revocations, then: int) -> Revocations:
    """What is revoked, or will be, as if it had been then: a chain that ran out before is no better for it, and one
    that shall end soon gets no successor that would not."""
    return msgspec.structs.replace(
        revocations,
        serials={serial: min(since, then) for serial, since in revocations.serials.items()},
        principals={who: min(since, then) for who, since in revocations.principals.items()},
    )
