"""Renewing memberships: a machine that was away while its membership ran out comes back by itself, unless revoked.

A chain is renewed if it was in order until it ran out, and nothing in it was revoked since; if it is a membership, as
long as those are given who belong until further notice; and not for ever after. A grant with an end, or a shorter
membership, ends. The new chain gives the same, in the same scope, for the same length; it goes into the principal's
record, where server and machine look for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError

from ._create import Random
from ._handover import Giver, terms_of
from ._reader import DomainReader

DAY = 86_400
FURTHER_NOTICE = 180 * DAY  #: seconds; who is enrolled for half a year or longer belongs until revoked
RENEW_UNTIL = 2 * 365 * DAY  #: seconds after the end; who was away for longer is asked about again
HOSTS = "hosts"  #: memberships lie here


def is_renewable(chain: Chain, subject: Principal, root: Principal, now: int, revocations: Revocations) -> bool:
    """Whether a chain has run out, and nothing but that speaks against it. Pure."""
    last = chain.last
    if last is None or not last.not_after < now <= last.not_after + RENEW_UNTIL:
        return False
    names = last.block_path.names
    if names[:1] != (HOSTS,) or len(names) > 2 or last.not_after - last.not_before < FURTHER_NOTICE:
        return False
    return verify_chain(
        chain,
        root=root,
        subject=subject,
        right=Rights(0),
        now=last.not_after,
        revocations=_by(revocations, now, last.not_after),
    ).allowed


def renew_lapsed(
    reader: DomainReader, issuer: Identity, subject: Principal, shown: Sequence[Chain], *, now: int, random: Random
) -> tuple[Chain, ...]:
    """Renew those that are renewable, by `issuer`, and record them; what a record gives still is not renewed.

    Raises FsError, StoreError.
    """
    root, revocations = reader.root, reader.revocations
    wanted = {terms_of(chain): chain for chain in shown if is_renewable(chain, subject, root, now, revocations)}
    if not wanted or revocations.revoked(subject, now) is not None:
        return ()
    try:
        _, grants = reader.grants(reader.domain().scope, subject)
        lasting = {terms_of(chain) for chain in grants.chains if chain.last is not None and chain.last.not_after >= now}
        lapsed = [chain for terms, chain in wanted.items() if terms not in lasting]
        giver = Giver(reader=reader, identity=issuer, now=now, random=random, refused=[])
        fresh = tuple(
            giver.issue(last, subject, now + last.not_after - last.not_before)
            for last in (chain.last for chain in lapsed)
            if last is not None
        )
        giver.record(reader.domain().scope, subject, (), fresh)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    return fresh


def _by(revocations: Revocations, now: int, then: int) -> Revocations:
    """What is revoked now, as if it had been then: a chain that ran out before is no better for it."""
    return msgspec.structs.replace(
        revocations,
        serials={serial: min(since, then) if since <= now else since for serial, since in revocations.serials.items()},
        principals={who: min(since, then) if since <= now else since for who, since in revocations.principals.items()},
    )
