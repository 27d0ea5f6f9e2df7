"""Revoking: the next version of a domain's revocation list, signed and committed by an owner or by the root.

What was asked for is joined to the newest list; where somebody else was faster, to theirs. An owner cannot revoke
itself, nor anybody from whom its own right comes: the list would refuse its own signature. Nothing is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.revocations import RevocationList, Revoked, new_entries
from btlib.writecaps import Chain

from btfproto.errors import FsError
from btfproto.store import Store

from ._commit import commit_draft
from ._create import REQUEST_SIZE, Random
from ._drafts import Draft
from ._open import read_held
from ._reader import DomainReader, unverified_header
from ._revoking import NOTHING_SEEN, SeenList, check_succession, owner_decision, revocations_block

TRIES = 8  #: against others who revoke at the same moment


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedAccess:
    """What revoking did. `added` is what is new in the list: nothing where all of it was there already."""

    record: RevocationList
    added: int


def revoke_access(
    store: Store,
    revoker: Identity,
    root: Principal,
    *,
    principals: Mapping[Principal, int],
    serials: Mapping[bytes, int],
    now: int,
    random: Random,
    seen: SeenList = NOTHING_SEEN,
) -> RevokedAccess:
    """Revoke principals and writecaps, each from a unix second on. `seen` is the newest list known from before.

    Raises FsError: FORBIDDEN (not an owner; itself; the root), CONFLICT (others are faster), ROLLBACK, INTEGRITY.
    """
    if root in principals:
        raise FsError(Kind.FORBIDDEN, f"{root} is the root of the domain: it cannot be revoked", "make a new domain")
    for attempt in range(TRIES):
        try:
            return _revoke(store, revoker, root, principals, serials, now, random, seen)
        except (IntegrityError, CapabilityError) as error:
            raise FsError(error.kind, error.message, error.hint) from error
        except FsError as error:
            if error.kind is not Kind.CONFLICT or attempt == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _revoke(
    store: Store,
    revoker: Identity,
    root: Principal,
    principals: Mapping[Principal, int],
    serials: Mapping[bytes, int],
    now: int,
    random: Random,
    seen: SeenList,
) -> RevokedAccess:
    reader = DomainReader(store, root)
    found = reader.revocation_list() or NOTHING_SEEN
    check_succession(seen, found)
    when = max(now, found.written)  # the clock of who revoked last may be ahead; time in the list does not go back
    who, old = revoker.principal, found.record
    fresh = old.extended(
        {key: Revoked(since=since, recorded=when, by=who) for key, since in principals.items()},
        {key: Revoked(since=since, recorded=when, by=who) for key, since in serials.items()},
    )
    added = len(new_entries(old, fresh))
    if not added:
        return RevokedAccess(record=old, added=0)
    chain = _owner_chain(reader, revoker, fresh, when)
    draft = Draft(revoker.signer, chain, now=when)
    block, scope = revocations_block(root), reader.domain().scope
    head = reader.head(block)
    previous = None if head is None else unverified_header(head)
    if (previous.version if previous else 0) != old.version:
        raise FsError(Kind.CONFLICT, "somebody else revoked at the same time", "try again")
    draft.put_public(block, scope, fresh, previous=previous)
    commit_draft(store, draft, scope, random(REQUEST_SIZE))
    return RevokedAccess(record=fresh, added=added)


def _owner_chain(reader: DomainReader, revoker: Identity, fresh: RevocationList, when: int) -> Chain:
    """By which of its chains somebody may sign this list. Raises CapabilityError with the reason of the closest."""
    root, scope = reader.root, reader.domain().scope
    decisions = [
        owner_decision(fresh, when, chain, revoker.principal, root=root, scope=scope)
        for chain in (Chain(), *read_held(reader, revoker).identity.chains)
    ]
    best = max(decisions, key=lambda decision: decision.stage)
    if not best.allowed:
        raise CapabilityError(
            f"{revoker.principal} cannot sign this revocation: {best.reason}",
            kind=best.kind,
            hint="do it on a machine that may write in the whole domain and delegate that, or with the root's keys: "
            "bt revoke --root",
        )
    return best.chain
