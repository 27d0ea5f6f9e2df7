"""Granting: giving a principal the key of a directory, or the right to write or to send messages below it.

Reading is a readcap in the principal's grants. Writing needs a write scope that begins at the directory: where there is
none, one is made and the subtree is re-homed into it, the directory first. Until the last block is moved, a block may
still be in a scope above that of its directory; that harms nobody, since whoever writes in the outer scope may write in
the inner one as well.

The record goes into the highest scope in which the granter may write, so that the principal finds it without knowing
scopes. The caller walks the tree (that needs its keys and a file system); here is no walking.

A new scope cannot be put around an older one: the record of that names its parent, would name a wrong one, and what
lies in it could not be opened any more. So all below is looked at before a scope is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from btlib.block import NONCE_SIZE, Header, SectorCipher
from btlib.clocks import CLOCK_SKEW
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.public_keys import PublicKeys
from btlib.readcaps import ReadKey, seal_readcap
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights, issue_writecap

from btfproto.errors import FsError
from btfproto.store import Store

from ._commit import commit_draft
from ._create import REQUEST_SIZE, SERIAL_SIZE, Random
from ._drafts import Draft
from ._open import directory_header, read_held
from ._reader import DomainReader, unverified_header
from ._records import MAX_CHAINS, MAX_READCAPS, SCOPE_SIZE, Grants, ScopeRecord, grants_block, scope_block

REHOME_BATCH = 1024  #: blocks of one commit: a server answers before any time-out, and progress can be shown

Progress = Callable[[int], None]
Subtree = Callable[
    [], Iterable[ReadKey]
]  # a walk over the blocks below a directory, parents first; begun anew each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a grant did. `scope` is the write scope of the directory after it."""

    read: bool
    chain: Chain | None
    scope: bytes
    new_scope: bool
    rehomed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Granter:
    """Who grants, by which chain, and what is known of the directory."""

    reader: DomainReader
    identity: Identity
    chain: Chain
    target: ReadKey
    header: Header
    lineage: tuple[bytes, ...]
    now: int
    random: Random

    def draft(self) -> Draft:
        return Draft(self.identity.signer, self.chain, now=self.now)

    def commit(self, draft: Draft) -> None:
        commit_draft(self.reader.store, draft, self.record_scope(), self.random(REQUEST_SIZE))

    def record_scope(self) -> bytes:
        """The highest scope in which this chain may write."""
        for place in reversed(range(len(self.lineage))):
            if self._may_write(self.lineage[place:]):
                return self.lineage[place]
        raise CapabilityError(f"{self.identity.principal} may write in none of the scopes of {self.target.path}")

    def _may_write(self, lineage: Sequence[bytes]) -> bool:
        return verify_chain(
            self.chain,
            root=self.reader.root,
            subject=self.identity.principal,
            right=Rights.WRITE,
            now=self.now,
            lineage=lineage,
            revocations=self.reader.revocations,
        ).allowed


def grant_access(
    store: Store,
    granter: Identity,
    target: ReadKey,
    subject: PublicKeys,
    *,
    read: bool,
    rights: Rights,
    now: int,
    not_after: int,
    may_delegate: bool = False,
    subtree: Subtree = tuple,
    random: Random,
    progress: Progress | None = None,
) -> Granted:
    """Give `subject` access to the directory `target`.

    `subtree` walks over all blocks below it; it is asked where `rights` include WRITE, twice for a new scope. Nobody
    else may write there meanwhile. A repetition after a failure completes it.
    Raises FsError: FORBIDDEN (the granter may not), NOT_SUPPORTED (a scope begins below), CONFLICT (somebody was
    faster; try again), INTEGRITY.
    """
    if not read and not rights:
        raise FsError(Kind.INVALID, "a grant has to give something", "say read, write or execute")
    try:
        who = _granter(store, granter, target, now, random)
        _refuse_revoked(who, subject)
        scope, fresh = _scope_of(who) if rights & Rights.WRITE else (who.header.scope, False)
        if fresh:
            _refuse_inner_scopes(who, subtree())
        moved = _make_scope(who, scope) if fresh else 0
        if rights & Rights.WRITE:
            moved += _rehome(who, subtree(), scope, progress)
        chain = _issue(who, subject, scope, rights, not_after, may_delegate) if rights else None
        _record(who, subject, read, chain)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    return Granted(read=read, chain=chain, scope=scope, new_scope=fresh, rehomed=moved)


def _granter(store: Store, granter: Identity, target: ReadKey, now: int, random: Random) -> _Granter:
    reader = DomainReader(store, target.path.root)
    held = read_held(reader, granter)
    header = directory_header(reader, target)
    lineage = reader.lineage(header.scope)
    chain = held.identity.chain_for(
        reader.root, Rights.WRITE, now, path=target.path, lineage=lineage, revocations=reader.revocations
    )
    return _Granter(
        reader=reader,
        identity=granter,
        chain=chain,
        target=target,
        header=header,
        lineage=lineage,
        now=now,
        random=random,
    )


def _refuse_revoked(who: _Granter, subject: PublicKeys) -> None:
    """What is given to somebody revoked counts for nothing, and would look as if it did."""
    reason = who.reader.revocations.revoked(subject.principal, who.now)
    if reason is not None:
        raise FsError(
            Kind.FORBIDDEN, f"{reason}, and that is for ever", "have it join anew, with keys of its own making"
        )


def _scope_of(who: _Granter) -> tuple[bytes, bool]:
    """The scope that begins at the directory, or a fresh one."""
    if who.reader.scope(who.header.scope).directory == who.target.block:
        return who.header.scope, False
    return who.random(SCOPE_SIZE), True


def _refuse_inner_scopes(who: _Granter, subtree: Iterable[ReadKey]) -> None:
    blocks = iter(subtree)
    while batch := list(islice(blocks, REHOME_BATCH)):
        for key, head in zip(batch, who.reader.heads([key.block for key in batch]), strict=True):
            if head is None or head.removed or unverified_header(head).scope in who.lineage:
                continue
            raise FsError(
                Kind.NOT_SUPPORTED,
                f"writing was granted at {key.path} already, and cannot yet be granted above it",
                f"grant it where nothing below has a grant of its own, or at {key.path}",
            )


def _make_scope(who: _Granter, scope: bytes) -> int:
    """Make the scope and move its directory there, in one commit."""
    draft = who.draft()
    parent = who.header.scope
    draft.put_public(scope_block(scope), parent, ScopeRecord(scope=scope, parent=parent, directory=who.target.block))
    draft.rehome(who.header, scope, _resealed(who.header, who.target, who.random))
    who.commit(draft)
    return 1


def _rehome(who: _Granter, subtree: Iterable[ReadKey], scope: bytes, progress: Progress | None) -> int:
    """Move every block that is still in a scope above into `scope`, in batches."""
    blocks = iter(subtree)
    moved = 0
    while batch := list(islice(blocks, REHOME_BATCH)):
        draft = who.draft()
        for key, head in zip(batch, who.reader.heads([key.block for key in batch]), strict=True):
            if head is None or head.removed:
                continue
            header = who.reader.verify(head)
            if header.scope in who.lineage and header.scope != scope:
                draft.rehome(header, scope, _resealed(header, key, who.random))
        if len(draft):
            moved += len(draft)
            who.commit(draft)
        if progress is not None:
            progress(moved)
    return moved


def _resealed(header: Header, key: ReadKey, random: Random) -> bytes:
    """The sealed attributes for the next version; they are bound to the version."""
    cipher = SectorCipher(key.key, header.block, header.key_epoch)
    plain = cipher.open_attributes(header.version, header.attributes)
    return cipher.seal_attributes(header.version + 1, plain, random(NONCE_SIZE))


def _issue(
    who: _Granter, subject: PublicKeys, scope: bytes, rights: Rights, not_after: int, may_delegate: bool
) -> Chain:
    last = who.chain.last
    begin = who.now - CLOCK_SKEW
    return issue_writecap(
        who.identity.signer,
        who.chain,
        subject=subject.principal,
        path=who.target.path,
        scope=scope,
        rights=rights,
        not_before=begin if last is None else max(begin, last.not_before),
        not_after=not_after if last is None else min(not_after, last.not_after),
        may_delegate=may_delegate,
        serial=who.random(SERIAL_SIZE),
    )


def _record(who: _Granter, subject: PublicKeys, read: bool, chain: Chain | None) -> None:
    """Add to the principal's grants. A new readcap for a block replaces the old one; expired chains are dropped."""
    scope = who.record_scope()
    header, old = who.reader.grants(scope, subject.principal)
    target = who.target
    readcaps = old.readcaps
    if read:
        kept = tuple(readcap for readcap in readcaps if readcap.block != target.block)
        fresh = seal_readcap(subject, block=target.block, key_epoch=target.key_epoch, key=target.key, path=target.path)
        readcaps = (*kept, fresh)
    chains = tuple(known for known in old.chains if known.last is not None and known.last.not_after >= who.now)
    if chain is not None:
        chains = (*chains, chain)
    if len(readcaps) > MAX_READCAPS or len(chains) > MAX_CHAINS:
        raise FsError(
            Kind.LIMIT,
            f"{subject.principal} holds {len(readcaps)} readcaps and {len(chains)} chains in this scope; "
            f"{MAX_READCAPS} and {MAX_CHAINS} are the limits",
            "grant a directory above instead of many below",
        )
    draft = who.draft()
    grants = Grants(principal=subject.principal, readcaps=readcaps, chains=chains)
    draft.put_public(grants_block(scope, subject.principal), scope, grants, previous=header)
    who.commit(draft)
