"""What a principal may do at a path, and why: data for people, made of the same decisions that refuse or allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from btlib.block import Header
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.readcaps import Readcap, ReadKey
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision, verify_chain
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError
from btfproto.store import Store

from ._groups import joined_groups, standing
from ._open import Held, HeldGroup, best_key, directory_header, no_readcap, read_held
from ._reader import DomainReader, RevocationSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One power: whether, and the sentences that led there. The last one is the outcome."""

    allowed: bool
    steps: tuple[str, ...]
    failed: str | None = None  #: the step at which it failed, in a word: readcap, membership, path, right, time…
    until: int | None = None  #: allowed until then; None: no end
    chain: Chain | None = None  #: by which; None for reading
    via: Principal | None = None  #: the group whose readcap it is

    @property
    def reason(self) -> str:
        return self.steps[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory on the way to a path, or at it."""

    path: BlockPath
    block: bytes
    key_epoch: int
    scope: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessExplanation:
    principal: Principal
    path: BlockPath
    read: Access
    write: Access
    execute: Access


def explain_access(
    store: Store, identity: Identity, path: BlockPath, now: int, *, revocations: RevocationSource | None = None
) -> AccessExplanation:
    """What `identity` may do at `path`, by its own chains and what it was granted. Raises FsError, StoreError."""
    reader = DomainReader(store, path.root, revocations)
    try:
        held = read_held(reader, identity, now=now)
        read = _explain_read(reader, held, path, now)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    chains = held.identity.chains
    return AccessExplanation(
        principal=identity.principal,
        path=path,
        read=read,
        write=explain_right(chains, identity.principal, path, Rights.WRITE, now, reader.revocations),
        execute=explain_right(chains, identity.principal, path, Rights.EXECUTE, now, reader.revocations),
    )


def explain_right(
    chains: tuple[Chain, ...],
    principal: Principal,
    path: BlockPath,
    right: Rights,
    now: int,
    revocations: Revocations = NO_REVOCATIONS,
) -> Access:
    """Whether one of some chains (or being the root) gives a right: the best decision and its steps."""
    decisions = [
        verify_chain(chain, root=path.root, subject=principal, right=right, now=now, path=path, revocations=revocations)
        for chain in (Chain(), *chains)
    ]
    best = max(decisions, key=_closeness)
    return Access(
        allowed=best.allowed,
        steps=best.steps,
        failed=None if best.allowed else best.stage.name.lower(),
        until=best.not_after if best.allowed else None,
        chain=best.chain,
    )


def explain_granted(
    reader: DomainReader, places: Sequence[Place], path: BlockPath, principal: Principal, now: int
) -> AccessExplanation:
    """What the public records say that somebody may do at `path`; `places` lead there, the target last if it is there.

    What it holds beside the records (a membership, a chain from hand to hand) nobody can see here. Raises FsError,
    IntegrityError.
    """
    lineage = reader.lineage(places[-1].scope)
    found = [reader.grants(scope, principal) for scope in lineage]
    chains = tuple(chain for _, grants in found for chain in grants.chains)
    revoked = reader.revocations
    return AccessExplanation(
        principal=principal,
        path=path,
        read=_explain_recorded(reader, places, path, principal, now),
        write=explain_right(chains, principal, path, Rights.WRITE, now, revoked),
        execute=explain_right(chains, principal, path, Rights.EXECUTE, now, revoked),
    )


def _explain_recorded(
    reader: DomainReader, places: Sequence[Place], path: BlockPath, principal: Principal, now: int
) -> Access:
    """Reading, as a server that holds the keys decides it: by what somebody was granted, or else its groups."""
    joined, refused = joined_groups(reader, principal, now)
    own = _explain_readcaps(reader, places, path, principal, principal)
    accesses = [own]
    for membership in joined:
        for holder in standing(membership, reader.revocations, now):
            found = _explain_readcaps(reader, places, path, principal, holder)
            member = membership.member(principal)
            until = None if member is None else member.until
            accesses.append(replace(found, via=holder, until=until if found.allowed else None))
    best = next((access for access in accesses if access.allowed), own)
    reason = reader.revocations.revoked(principal, now)
    if reason is not None:
        return Access(allowed=False, steps=(*best.steps, reason), failed="revocation")
    if best.allowed:
        return best
    tried = [step for access in accesses[1:] for step in access.steps]
    failed = next((access.failed for access in accesses if access.failed != "readcap"), own.failed)
    if refused and failed == "readcap":
        return Access(allowed=False, steps=(*tried, *own.steps, *refused), failed="membership")
    return Access(allowed=False, steps=(*refused, *tried, *own.steps), failed=failed)


def _explain_readcaps(
    reader: DomainReader, places: Sequence[Place], path: BlockPath, principal: Principal, holder: Principal
) -> Access:
    """Reading by what `holder` was granted: somebody himself, or a group that it is in."""
    steps: list[str] = []
    called = "" if holder == principal else f" of the group {holder}"
    above = {place.block: place for place in places}
    failed, opened, count = "readcap", None, 0
    for scope in reader.lineage(places[-1].scope):
        header, grants = reader.grants(scope, holder)
        count += len(grants.readcaps)
        for readcap in grants.readcaps:
            place = above.get(readcap.block)
            if header is None or place is None:
                continue
            fault = _readcap_fault(reader, readcap, place, header)
            if fault is None:
                steps.append(f"a readcap{called} opens {place.path} and all below (epoch {readcap.key_epoch})")
                opened = place
            else:
                failed, sentence = fault
                steps.append(f"a readcap{called} for {place.path} does not count: {sentence}")
    if opened is None:
        none = f"none of the {count} readcaps of {holder} opens {path} or a directory above it"
        return Access(allowed=False, steps=(*steps, none), failed=failed)
    outcome = f"{principal} may read {path} by the readcap{called} for {opened.path}"
    return Access(allowed=True, steps=(*steps, outcome))


def _readcap_fault(reader: DomainReader, readcap: Readcap, place: Place, header: Header) -> tuple[str, str] | None:
    """Why a readcap does not count: the step and a sentence."""
    if readcap.key_epoch != place.key_epoch:
        return "epoch", f"the key was changed (epoch {place.key_epoch}; the grant is for {readcap.key_epoch})"
    writer = reader.writer(header.chain)
    decision = verify_chain(
        writer.chain,
        root=reader.root,
        subject=writer.public.principal,
        right=Rights.WRITE,
        now=header.written,
        path=place.path,
        lineage=reader.lineage(place.scope),
        revocations=reader.revocations,
    )
    return None if decision.allowed else ("granter", f"who granted it could not: {decision.reason}")


def _explain_read(reader: DomainReader, held: Held, path: BlockPath, now: int) -> Access:
    principal = held.identity.principal
    steps = []
    for key in held.keys:
        through = _group_of(held, key)
        way = "" if through is None else f" through the group {through.name} ({through.principal})"
        steps.append(f"a readcap opens {key.path} (block {key.block.hex()}, epoch {key.key_epoch}){way}")
    steps += held.refused
    key_used = best_key(held, path)
    if key_used is None:
        return Access(allowed=False, steps=(*steps, str(no_readcap(principal, path))), failed="readcap")
    try:
        directory_header(reader, key_used)
    except FsError as error:
        return Access(allowed=False, steps=(*steps, str(error)), failed="epoch")
    reason = reader.revocations.revoked(principal, now)
    if reason is not None:
        return Access(allowed=False, steps=(*steps, reason), failed="revocation")
    through = _group_of(held, key_used)
    way = "" if through is None else f" of the group {through.name}"
    outcome = f"{principal} may read {path} by the readcap{way} for {key_used.path}"
    return Access(allowed=True, steps=(*steps, outcome), via=None if through is None else through.principal)


def _group_of(held: Held, key: ReadKey) -> HeldGroup | None:
    """The group through which a key came; None where it did not."""
    return next((group for group in held.groups if any(key is one for one in group.keys)), None)


def _closeness(decision: Decision) -> tuple[int, float]:
    return decision.stage, float("inf") if decision.not_after is None else decision.not_after
