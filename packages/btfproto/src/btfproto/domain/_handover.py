"""Handing over: what a principal was given goes to its new keys, signed by somebody who may give it.

    prepare       the old keys open what they can read, and seal it for the new ones
    hand_over     an owner records that, and issues every chain anew: path, scope, rights and end as they were
    pass_on       the new keys issue anew what the old ones had issued to others

No chain of the new keys goes through the old ones, so those can be revoked afterwards. Each record is one commit, and
what stands in a record already is not issued a second time: after an interruption, the same again completes it. Nobody
loses anything by it at any moment; taking the old keys' rights away is a revocation, and comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from btlib.clocks import CLOCK_SKEW
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import Readcap, seal_readcap
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights, Writecap, issue_writecap

from btfproto.errors import FsError
from btfproto.store import Store

from ._commit import commit_draft
from ._create import REQUEST_SIZE, SERIAL_SIZE, Random
from ._drafts import Draft
from ._open import read_held
from ._reader import DomainReader
from ._records import Grants, grants_block
from ._survey import GrantsFound, survey_records


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What the old keys bring: who follows them, the chains that stand in no record, and what they can read."""

    old: Principal
    new: PublicKeys
    chains: tuple[Chain, ...]
    readcaps: tuple[Readcap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What the new keys have: `chains` in place of those that were brought. `refused`: what could not be given, a
    phrase each."""

    chains: tuple[Chain, ...]
    readcaps: int
    recorded: int
    refused: tuple[str, ...]


@dataclass(kw_only=True)
class Giver:
    """Who gives, with all its chains, and what it could not."""

    reader: DomainReader
    identity: Identity
    now: int
    random: Random
    refused: list[str]

    def anew(self, chain: Chain, holder: Principal, subject: Principal) -> Chain | None:
        """What the chain permits its holder, for another subject, under this giver; None where that cannot be.

        Who brings a chain may bring that of somebody else: it counts for nothing.
        """
        last = chain.last
        if last is None or not _is_valid(self.reader, chain, holder, self.now):
            return None
        if self._is_through_a_group(chain):
            # Given directly, it would outlast the membership that it comes from.
            self.refused.append(
                f"{Rights(last.rights).text} at {last.path}: it comes through a group, which a manager gives new keys "
                "(bt group rotate), or lets the new keys into (bt group add)"
            )
            return None
        try:
            return self.issue(last, subject, last.not_after)
        except CapabilityError as error:
            self.refused.append(f"{Rights(last.rights).text} at {last.path}: {error.message}")
            return None

    def issue(self, last: Writecap, subject: Principal, until: int, serial: bytes | None = None) -> Chain:
        """The same permission for somebody, until then or as long as this giver's own. Raises CapabilityError.

        `serial`: for who knows which; otherwise a random one.
        """
        rights = Rights(last.rights)
        lineage = self.reader.lineage(last.scope) if rights & Rights.WRITE and self._is_known(last.scope) else None
        parent = self.identity.chain_for(
            self.reader.root,
            rights,
            self.now,
            path=last.block_path,
            lineage=lineage,
            revocations=self.reader.revocations,
        )
        above = parent.last
        begin = self.now - CLOCK_SKEW
        return issue_writecap(
            self.identity.signer,
            parent,
            subject=subject,
            path=last.block_path,
            scope=last.scope,
            rights=rights,
            not_before=begin if above is None else max(begin, above.not_before),
            not_after=until if above is None else min(until, above.not_after),
            may_delegate=last.may_delegate,
            serial=self.random(SERIAL_SIZE) if serial is None else serial,
        )

    def _is_through_a_group(self, chain: Chain) -> bool:
        """Whether a group issued a link of it: never one that may be delegated further."""
        return not chain.caps[-1].may_delegate and any(cap.issuer.principal in self._groups for cap in chain.caps)

    @cached_property
    def _groups(self) -> frozenset[Principal]:
        found = [one.membership for one in survey_records(self.reader).groups]
        former = [one.former_principal for one in found if one.former_principal is not None]
        return frozenset((*(one.principal for one in found), *former))

    def _is_known(self, scope: bytes) -> bool:
        """Whether blocks lie in it: the scope of a membership has no record."""
        try:
            self.reader.lineage(scope)
        except IntegrityError:
            return False
        return True

    def record(self, scope: bytes, subject: Principal, readcaps: Sequence[Readcap], chains: Sequence[Chain]) -> bool:
        """Add to somebody's record in a scope, in one commit; whether there was anything new."""
        header, old = self.reader.grants(scope, subject)
        fresh = tuple(one for one in readcaps if one not in old.readcaps)
        more = tuple(chain for chain in chains if chain not in old.chains)
        if not fresh and not more:
            return False
        replaced = {readcap.block for readcap in fresh}
        kept = tuple(one for one in old.readcaps if one.block not in replaced)
        still = tuple(chain for chain in old.chains if chain.last is not None and chain.last.not_after >= self.now)
        writing = self.identity.chain_for(
            self.reader.root,
            Rights.WRITE,
            self.now,
            lineage=self.reader.lineage(scope),
            revocations=self.reader.revocations,
        )
        draft = Draft(self.identity.signer, writing, now=self.now)
        grants = Grants(principal=subject, readcaps=(*kept, *fresh), chains=(*still, *more))
        draft.put_public(grants_block(scope, subject), scope, grants, previous=header)
        commit_draft(self.reader.store, draft, scope, self.random(REQUEST_SIZE))
        return True


def prepare(reader: DomainReader, old: Identity, new: PublicKeys) -> Handover:
    """What `old` brings. Raises FsError, IntegrityError."""
    held = read_held(reader, old)
    readcaps = tuple(
        seal_readcap(new, block=key.block, key_epoch=key.key_epoch, key=key.key, path=key.path) for key in held.keys
    )
    return Handover(old=old.principal, new=new, chains=old.chains, readcaps=readcaps)


def hand_over(
    store: Store,
    giver: Identity,
    handover: Handover,
    root: Principal,
    *,
    now: int,
    random: Random,
    have: Sequence[Chain] = (),
) -> HandedOver:
    """Give the new keys what the old ones have, as the root or an owner.

    The readcaps are the old keys' own work; only those are taken whose block and epoch the old keys were granted.
    `have`: chains that the new keys hold already, in no record.

    Raises FsError: FORBIDDEN (the giver may not write where the records stand; the old keys are revoked), CONFLICT
    (somebody was faster: the same again), INTEGRITY; StoreError.
    """
    reader = DomainReader(store, root)
    try:
        who = Giver(reader=reader, identity=read_held(reader, giver).identity, now=now, random=random, refused=[])
        for principal in (handover.old, handover.new.principal):
            _refuse_revoked(reader, principal, now)
        return _hand_over(who, handover, have)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error


def _hand_over(who: Giver, handover: Handover, have: Sequence[Chain]) -> HandedOver:
    new = handover.new.principal
    brought = {(one.block, one.key_epoch): one for one in handover.readcaps if one.subject == new}
    readcaps = recorded = 0
    standing: list[Chain] = []
    stands: list[Chain] = []
    for found in _records_of(who.reader, handover.old):
        scope = found.header.scope
        _, there = who.reader.grants(scope, new)
        opened = {(one.block, one.key_epoch) for one in there.readcaps}
        wanted = [(one.block, one.key_epoch) for one in found.grants.readcaps]
        seals = [brought[key] for key in wanted if key in brought and key not in opened]
        fresh = _anew(who, found.grants.chains, there.chains, handover.old, new)
        recorded += who.record(scope, new, seals, fresh)
        readcaps += len(seals)
        standing += found.grants.chains
        stands += [*there.chains, *fresh]
    kept = {terms_of(chain) for chain in handover.chains if chain in standing}
    unrecorded = [chain for chain in handover.chains if chain not in standing]
    chains = _anew(who, unrecorded, have, handover.old, new)
    again = tuple(chain for chain in stands if terms_of(chain) in kept and chain not in have)
    return HandedOver(chains=(*chains, *again), readcaps=readcaps, recorded=recorded, refused=tuple(who.refused))


def pass_on(store: Store, new: Identity, old: Principal, root: Principal, *, now: int, random: Random) -> HandedOver:
    """Issue anew, by the new keys, every chain in the records that goes through the old ones. Raises as `hand_over`.

    Who got something through somebody in between gets it from the new keys directly: the chain becomes shorter, and
    gives the same. The old chains stay until they are revoked.
    """
    reader = DomainReader(store, root)
    try:
        who = Giver(reader=reader, identity=read_held(reader, new).identity, now=now, random=random, refused=[])
        recorded = 0
        for found in survey_records(reader).grants:
            subject = found.grants.principal
            through = [chain for chain in found.grants.chains if _goes_through(chain, old)]
            if through and reader.revocations.revoked(subject, now) is None:
                fresh = _anew(who, through, found.grants.chains, subject, subject)
                recorded += who.record(found.header.scope, subject, (), fresh)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    return HandedOver(chains=(), readcaps=0, recorded=recorded, refused=tuple(who.refused))


def shortfall(reader: DomainReader, old: Identity, new: Identity, now: int) -> list[str]:
    """What the old keys may do and the new ones may not, a phrase each: as long as there is something, nobody should
    change over. Raises FsError, IntegrityError."""
    was, is_now = read_held(reader, old), read_held(reader, new)
    opens = {key.block for key in is_now.keys}
    missing = [f"reading at {key.path}" for key in was.keys if key.block not in opens]
    gives = {terms_of(chain) for chain in is_now.identity.chains if _is_valid(reader, chain, new.principal, now)}
    for chain in was.identity.chains:
        last = chain.last
        if last is not None and terms_of(chain) not in gives and _is_valid(reader, chain, old.principal, now):
            missing.append(f"{Rights(last.rights).text} at {last.path}")
    return missing


def remember_chains(
    store: Store,
    giver: Identity,
    subject: Principal,
    chains: Sequence[Chain],
    root: Principal,
    *,
    now: int,
    random: Random,
) -> bool:
    """Put chains that stand nowhere else into somebody's record in the root scope, where servers look for them."""
    reader = DomainReader(store, root)
    try:
        who = Giver(reader=reader, identity=read_held(reader, giver).identity, now=now, random=random, refused=[])
        return who.record(reader.domain().scope, subject, (), chains)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error


def _records_of(reader: DomainReader, principal: Principal) -> list[GrantsFound]:
    return [found for found in survey_records(reader).grants if found.grants.principal == principal]


def _anew(
    who: Giver, chains: Sequence[Chain], there: Sequence[Chain], holder: Principal, subject: Principal
) -> tuple[Chain, ...]:
    """Those chains for `subject`, but for what one that is there already gives without going the old way."""
    given = {
        terms_of(chain) for chain in there if _is_valid(who.reader, chain, subject, who.now) and chain not in chains
    }
    fresh = []
    for chain in sorted(chains, key=end_of, reverse=True):
        if terms_of(chain) in given or (made := who.anew(chain, holder, subject)) is None:
            continue
        given.add(terms_of(made))
        fresh.append(made)
    return tuple(fresh)


def terms_of(chain: Chain) -> tuple[str, bytes, int, bool] | None:
    """What a chain gives; not until when, which an issuer may have had to shorten."""
    last = chain.last
    return None if last is None else (last.path, last.scope, int(last.rights), last.may_delegate)


def end_of(chain: Chain) -> int:
    """The last second of a chain; 0 for the root's empty one, which has no end and is followed by none."""
    return 0 if chain.last is None else chain.last.not_after


def _goes_through(chain: Chain, principal: Principal) -> bool:
    return any(cap.issuer.principal == principal for cap in chain.caps)


def _is_valid(reader: DomainReader, chain: Chain, subject: Principal, now: int) -> bool:
    return verify_chain(
        chain, root=reader.root, subject=subject, right=Rights(0), now=now, revocations=reader.revocations
    ).allowed


def _refuse_revoked(reader: DomainReader, principal: Principal, now: int) -> None:
    reason = reader.revocations.revoked(principal, now)
    if reason is not None:
        raise FsError(Kind.FORBIDDEN, f"{reason}, and has nothing to hand over", "let it join anew: bt enroll request")
