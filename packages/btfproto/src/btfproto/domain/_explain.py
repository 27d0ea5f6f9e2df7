"""What a principal may do at a path, and why: data for people, made of the same decisions that refuse or allow."""

from __future__ import annotations

from dataclasses import dataclass

from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import Decision, verify_chain
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError
from btfproto.store import Store

from ._open import best_key, directory_header, no_readcap, read_held
from ._reader import DomainReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One power: whether, and the sentences that led there. The last one is the outcome."""

    allowed: bool
    steps: tuple[str, ...]

    @property
    def reason(self) -> str:
        return self.steps[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessExplanation:
    principal: Principal
    path: BlockPath
    read: Access
    write: Access
    execute: Access


def explain_access(store: Store, identity: Identity, path: BlockPath, now: int) -> AccessExplanation:
    """What `identity` may do at `path`, by its own chains and what it was granted. Raises FsError, StoreError."""
    reader = DomainReader(store, path.root)
    try:
        held = read_held(reader, identity)
        read = _explain_read(reader, identity, path)
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
    return Access(allowed=best.allowed, steps=best.steps)


def _explain_read(reader: DomainReader, identity: Identity, path: BlockPath) -> Access:
    held = read_held(reader, identity)
    steps = [f"a readcap opens {key.path} (block {key.block.hex()}, epoch {key.key_epoch})" for key in held.keys]
    steps += held.refused
    key = best_key(held, path)
    if key is None:
        return Access(allowed=False, steps=(*steps, str(no_readcap(identity.principal, path))))
    try:
        directory_header(reader, key)
    except FsError as error:
        return Access(allowed=False, steps=(*steps, str(error)))
    outcome = f"{identity.principal} may read {path} by the readcap for {key.path}"
    return Access(allowed=True, steps=(*steps, outcome))


def _closeness(decision: Decision) -> tuple[int, float]:
    return decision.stage, float("inf") if decision.not_after is None else decision.not_after
