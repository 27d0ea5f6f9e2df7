"""The log of a domain: what its public records say was given and taken back, by whom and when.

It is made of the records themselves, each signed by who wrote it: the writecaps in grants and writer records, the
readcaps in grants, the memberships of groups, and the entries of the revocation list. So nobody can add to it without
a right to, and what is missing is missing for these reasons: a record was replaced since (an expired chain, a withdrawn
readcap), a machine's membership was never used to write, or the store hides a record from somebody who never saw it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from btlib.clocks import CLOCK_SKEW
from btlib.groups import Membership
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import RevocationList
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights, Writecap

from ._survey import GrantsFound, Survey


class Happened(enum.Enum):
    """What an entry tells."""

    GRANTED = "granted"  #: a writecap was issued
    KEY_GIVEN = "key given"  #: a readcap was recorded
    REVOKED = "revoked"
    JOINED = "joined"  #: somebody is in a group
    LEFT = "left"  #: somebody was put out of one


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line. `time`: of a writecap when it begins, with the skew that its issuer allowed for; of a readcap when its
    record was last written, so at the latest then; of a revocation when it was entered.
    """

    time: int
    what: Happened
    by: Principal
    subject: Principal | None  #: None: a serial was revoked, and whose it is stands in no record
    path: BlockPath | None = None  #: of a writecap; that of a readcap is sealed
    rights: Rights | None = None
    until: int | None = None
    may_delegate: bool = False
    serial: bytes | None = None
    since: int | None = None  #: from when on a revocation counts
    block: bytes | None = None  #: that a readcap opens
    group: Principal | None = None  #: as which the group is known now


def domain_log(survey: Survey, revoked: RevocationList, root: Principal) -> list[LogEntry]:
    """Every entry, the oldest first. A writecap that stands in several chains is told once."""
    entries = {name: entry for chain in _chains(survey) for name, entry in _issued(chain, root)}
    lines = list(entries.values())
    caps = {entry.serial: entry for entry in lines}
    for found in survey.grants:
        lines += _given(found)
    for group in survey.groups:
        lines += _membership(group.membership)
    for principal, gone in revoked.principals.items():
        lines.append(
            LogEntry(time=gone.recorded, what=Happened.REVOKED, by=gone.by, subject=principal, since=gone.since)
        )
    for serial, gone in revoked.serials.items():
        cap = caps.get(serial)
        lines.append(
            LogEntry(
                time=gone.recorded,
                what=Happened.REVOKED,
                by=gone.by,
                subject=None if cap is None else cap.subject,
                path=None if cap is None else cap.path,
                serial=serial,
                since=gone.since,
            )
        )
    return sorted(lines, key=lambda line: (line.time, line.what.value, str(line.subject)))


def _chains(survey: Survey) -> Iterator[Chain]:
    for found in survey.grants:
        yield from found.grants.chains
    for writer in survey.writers:
        yield writer.chain


def _issued(chain: Chain, root: Principal) -> Iterator[tuple[bytes, LogEntry]]:
    """The caps of a chain, by their ids in it, if it is genuine: whoever may record grants could record any."""
    last = chain.last
    if last is None:
        return
    genuine = verify_chain(chain, root=root, subject=last.subject, right=Rights(0), now=last.not_before)
    if genuine.allowed:
        yield from zip(chain.ids[1:], map(_granted, chain.caps), strict=True)


def _granted(cap: Writecap) -> LogEntry:
    return LogEntry(
        time=cap.not_before + CLOCK_SKEW,
        what=Happened.GRANTED,
        by=cap.issuer.principal,
        subject=cap.subject,
        path=cap.block_path,
        rights=Rights(cap.rights),
        until=cap.not_after,
        may_delegate=cap.may_delegate,
        serial=cap.serial,
    )


def _given(found: GrantsFound) -> Iterator[LogEntry]:
    for readcap in found.grants.readcaps:
        yield LogEntry(
            time=found.header.written,
            what=Happened.KEY_GIVEN,
            by=found.author,
            subject=found.grants.principal,
            block=readcap.block,
        )


def _membership(membership: Membership) -> Iterator[LogEntry]:
    for member in membership.terms.members:
        yield LogEntry(
            time=member.since,
            what=Happened.JOINED,
            by=member.by,
            subject=member.keys.principal,
            until=member.until,
            group=membership.principal,
        )
    for former in membership.terms.former:
        yield LogEntry(
            time=former.removed,
            what=Happened.LEFT,
            by=former.by,
            subject=former.principal,
            group=membership.principal,
        )
