"""What a server without keys demands of a commit before it applies it.

For each change, in this order; the first that fails refuses the whole commit, with a typed error and a sentence:

    FORM      the signed header is one, and says the same block, version and removal as the change
    WRITER    the writer record that the header names is in the store or in this commit, and has the content its id says
    SIGNATURE the header was signed by that writer
    RIGHT     the writer's chain gives WRITE over the header's scope, now and when the header says it was written; for a
              block that leaves a scope, over that one too
    HISTORY   key epoch and publicness follow from the header before
    PUBLIC    a public record stands where its content belongs, so nobody can occupy the place of another's; a
              revocation list is an owner's, follows from the one before, and says of new entries by whom and when;
              the membership of a group is signed by its keys and follows from the one before;
              endpoint records are good ones, and none is older than the one before
    TREE      the records hang together under the header's Merkle root (`check_tree_update`)

Pure: what the store holds comes from a `Facts`, the time is an argument. It does not read sealed bytes, does not
compare versions (the store does, atomically) and knows nothing of who sent the commit: whoever may write signs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
from btlib.block import (
    BLOCK_ID_SIZE,
    Header,
    VerifiedRoots,
    WriterRecord,
    check_tree_update,
    decode_header,
    decode_signed_header,
    decode_writer,
    verify_signed_header,
    writer_id,
)
from btlib.clocks import CLOCK_SKEW, skew_text
from btlib.errors import BlocktreeError, CapabilityError, IntegrityError
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.revocations import NO_LIST, NO_REVOCATIONS, RevocationList, Revocations, new_entries
from btlib.verification import VerifiedLinks, verify_chain
from btlib.writecaps import Rights
from btserde import SerdeError, decode

from btfproto.domain import (
    LIST_LIMITS,
    DomainRecord,
    Grants,
    ScopeRecord,
    SnapshotRecord,
    check_list,
    check_membership,
    check_membership_change,
    check_revoker,
    check_succession,
    decode_groups_of,
    decode_membership,
    domain_block,
    grants_block,
    group_block,
    groups_of_block,
    revocations_block,
    scope_block,
    seen_list,
    snapshot_block,
)

from ..endpoints import RecordSet, check_set, read_set
from ..errors import StoreError
from ._interface import BlockChange, Commit, Found, HeadWant, RecordRef, Store

MAX_SKEW_SECONDS = CLOCK_SKEW  #: by which a writer's clock may be ahead; how far back is bounded by its own writecaps
MAX_PUBLIC_BYTES = 4 * 2**20  #: of one public record, as in `btfproto.domain`
MAX_NEW_SCOPES = 32  #: scopes within scopes that one commit may make

Record = TypeVar("Record", bound=msgspec.Struct)


class Facts(Protocol):
    """What the checks need to know of the store as it is."""

    def headers(self, blocks: Sequence[bytes]) -> Mapping[bytes, Header]:
        """The headers of those blocks that have one. They were checked when they were committed."""
        ...

    def record(self, block: bytes, level: int, index: int) -> bytes | memoryview | None: ...

    def writer(self, writer: bytes) -> WriterRecord:
        """The writer record with this id. Raises IntegrityError if the store has none."""
        ...

    def lineage(self, scope: bytes) -> Sequence[bytes]:
        """The scopes from this one up to the root scope. Raises IntegrityError if the store has none such."""
        ...


class Verified(msgspec.Struct):
    """What was verified before and need not be again. Shared between calls."""

    roots: VerifiedRoots = msgspec.field(default_factory=VerifiedRoots)
    links: VerifiedLinks = msgspec.field(default_factory=VerifiedLinks)


def check_commit(
    commit: Commit,
    facts: Facts,
    *,
    root: Principal,
    now: int,
    revocations: Revocations = NO_REVOCATIONS,
    verified: Verified | None = None,
) -> None:
    """Return if a commit may be applied. Raises BlocktreeError otherwise.

    IntegrityError: it is damaged or forged. CapabilityError: its writer has no right to it. StoreError (CONFLICT): it
    builds on a version that is not there yet.
    """
    check = _Check(commit, facts, root, now, revocations, Verified() if verified is None else verified)
    for change in commit.changes:
        check.change(change)


class CommitChecker:
    """`check_commit` bound to a store and a domain: what a `StoreServer` calls. Thread-safe."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        root: Principal,
        clock: Callable[[], float],
        revocations: Callable[[], Revocations] = lambda: NO_REVOCATIONS,
        skewed: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """`reader` verifies writer records and scopes, as `btfproto.domain.DomainReader` does. `skewed` hears of a
        commit that was taken though the clock of its writer differs much, a sentence each time."""
        self._facts = StoreFacts(store, reader)
        self._root = root
        self._clock = clock
        self._revocations = revocations
        self._skewed = skewed
        self._verified = Verified()

    def __call__(self, commit: Commit) -> None:
        now = int(self._clock())
        check_commit(
            commit,
            self._facts,
            root=self._root,
            now=now,
            revocations=self._revocations(),
            verified=self._verified,
        )
        if commit.changes:
            header = decode_header(decode_signed_header(commit.changes[0].signed).header)
            text = skew_text(header.written, now)
            if text is not None:
                self._skewed(f"the clock of writer {header.chain.hex()[:16]} is {text}")


class Reader(Protocol):
    """The part of `btfproto.domain.DomainReader` that is needed here."""

    def writer(self, writer_id: bytes) -> WriterRecord: ...

    def lineage(self, scope: bytes) -> tuple[bytes, ...]: ...


class StoreFacts:
    """Facts from a store and a reader of its domain."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader

    def headers(self, blocks: Sequence[bytes]) -> Mapping[bytes, Header]:
        answers = self._store.read_heads([HeadWant(block) for block in blocks])
        signed = {answer.head.block: answer.head.signed for answer in answers if isinstance(answer, Found)}
        return {block: decode_header(decode_signed_header(head).header) for block, head in signed.items()}

    def record(self, block: bytes, level: int, index: int) -> bytes | memoryview | None:
        return self._store.read_records(block, [RecordRef(level, index)]).records[0]

    def writer(self, writer: bytes) -> WriterRecord:
        return self._reader.writer(writer)

    def lineage(self, scope: bytes) -> Sequence[bytes]:
        return self._reader.lineage(scope)


class _Check:
    """One commit under examination."""

    def __init__(
        self, commit: Commit, facts: Facts, root: Principal, now: int, revocations: Revocations, verified: Verified
    ) -> None:
        self._changes = {change.block: change for change in commit.changes}
        self._facts = facts
        self._root = root
        self._now = now
        self._revocations = revocations
        self._verified = verified
        self._old = facts.headers(list(self._changes))
        self._writers: dict[bytes, WriterRecord] = {}
        self._lineages: dict[bytes, Sequence[bytes]] = {}
        self._allowed: set[tuple[bytes, bytes, int]] = set()

    def change(self, change: BlockChange) -> None:
        old = self._old.get(change.block)
        version = 0 if old is None else old.version
        if version > change.expected:
            return  # the store will answer with a conflict, or that it did this already
        if version < change.expected:
            text = f"block {change.block.hex()} is at version {version}, not at {change.expected}"
            raise StoreError(Kind.CONFLICT, text, "read it again")
        try:
            self._examine(change, old)
        except BlocktreeError as error:
            raise _within(change, error) from error

    def _examine(self, change: BlockChange, old: Header | None) -> None:
        signed = decode_signed_header(change.signed)
        header = decode_header(signed.header)
        if (header.block, header.version, header.removed) != (change.block, change.version, change.removed):
            raise IntegrityError("its signed header is that of another block, version or removal")
        writer = self._writer(header.chain)
        verify_signed_header(signed, writer.public, self._verified.roots)
        self._check_rights(header, writer, old)
        if old is not None:
            _check_history(old, header)
        if header.public:
            self._check_public(change, header, writer, old)
        check_tree_update(old, header, change.runs, change.holes, lambda level, i: self._stored(header, level, i))

    def _writer(self, writer: bytes) -> WriterRecord:
        """The writer record, from this commit or from the store."""
        found = self._writers.get(writer)
        if found is None:
            change = self._changes.get(writer[:BLOCK_ID_SIZE])
            content = None if change is None else _content(change)
            found = self._facts.writer(writer) if content is None else decode_writer(content, writer)
            self._writers[writer] = found
        return found

    def _check_rights(self, header: Header, writer: WriterRecord, old: Header | None) -> None:
        if header.written - self._now > MAX_SKEW_SECONDS:
            text = f"it says it was written at {header.written}, but this server's clock is at {self._now}"
            raise CapabilityError(text, kind=Kind.INVALID, hint="set the clock of the writing machine")
        scopes = {header.scope} if old is None else {header.scope, old.scope}
        for scope in scopes:
            for time in {self._now, header.written}:
                self._require_write(header.chain, writer, scope, time)

    def _require_write(self, chain_id: bytes, writer: WriterRecord, scope: bytes, time: int) -> None:
        key = (chain_id, scope, time)
        if key not in self._allowed:
            verify_chain(
                writer.chain,
                root=self._root,
                subject=writer.public.principal,
                right=Rights.WRITE,
                now=time,
                lineage=self._lineage(scope),
                revocations=self._revocations,
                verified=self._verified.links,
            ).require()
            self._allowed.add(key)

    def _lineage(self, scope: bytes, room: int = MAX_NEW_SCOPES) -> Sequence[bytes]:
        """The scopes up to the root's, where some may be made by this very commit."""
        found = self._lineages.get(scope)
        if found is None:
            change = self._changes.get(scope_block(scope))
            made = None if change is None or change.expected else _decoded(change, ScopeRecord)
            if made is None or made.scope != scope:
                found = self._facts.lineage(scope)
            elif made.parent is None:
                found = self._root_lineage(scope)
            elif not room:
                raise IntegrityError(f"more than {MAX_NEW_SCOPES} scopes are made within each other")
            else:
                found = (scope, *self._lineage(made.parent, room - 1))
            self._lineages[scope] = found
        return found

    def _root_lineage(self, scope: bytes) -> Sequence[bytes]:
        """A root scope is made with the domain itself, and only then."""
        change = self._changes.get(domain_block(self._root))
        domain = None if change is None or change.expected else _decoded(change, DomainRecord)
        if domain is None or domain.scope != scope or domain.root.principal != self._root:
            raise IntegrityError(f"scope {scope.hex()} claims to be the root scope of {self._root}, and is not")
        return (scope,)

    def _check_public(self, change: BlockChange, header: Header, writer: WriterRecord, old: Header | None) -> None:
        revoking = header.block == revocations_block(self._root)
        if not change.runs and change.expected and not revoking:
            return  # its content stays, and was checked when it came
        content = _content(change)
        whole = content is not None and sum(len(r.records) for r in change.runs if not r.level) == header.sector_count
        if content is None or not whole or len(content) > MAX_PUBLIC_BYTES:
            raise IntegrityError(f"a public record is written as a whole, and has at most {MAX_PUBLIC_BYTES} bytes")
        if revoking:
            self._check_revocation_list(content, header, writer, old)
        elif header.block == writer_id(content)[:BLOCK_ID_SIZE]:
            decode_writer(content, writer_id(content))
        elif header.block == domain_block(self._root):
            if writer.public.principal != self._root or writer.chain.caps:
                raise CapabilityError(f"the domain record may only be written by {self._root} itself")
        elif header.block in self._group_blocks(content):
            self._check_group(content, header, old)
        elif not (
            self._is_scope(change, header) or self._is_grants(change, header) or self._is_snapshot(change, header)
        ):
            self._check_endpoints(content, header, old)

    def _check_endpoints(self, content: bytes, header: Header, old: Header | None) -> None:
        """What is nothing else has to be endpoint records of the path that the block id is made of."""
        fresh = read_set(content)
        if not fresh.records:
            raise IntegrityError("it is no public record that belongs at this block id")
        stored = RecordSet() if old is None or old.removed else read_set(self._stored_content(old))
        check_set(fresh, header.block, now=self._now, stored=stored, revocations=self._revocations)

    def _group_blocks(self, content: bytes) -> tuple[bytes, ...]:
        """Where a record of a group may stand; nowhere, if it is none."""
        membership, pointers = decode_membership(content), decode_groups_of(content)
        blocks = () if membership is None else (group_block(membership.terms.group),)
        return blocks if pointers is None else (*blocks, groups_of_block(pointers.principal))

    def _check_group(self, content: bytes, header: Header, old: Header | None) -> None:
        """A membership is its group's word, and follows from the one before; both records stand in the root scope."""
        scope = self._lineage(header.scope)[-1]
        if header.scope != scope:
            raise IntegrityError("a record of a group does not stand in the root scope")
        membership = decode_membership(content)
        if membership is None:
            return
        check_membership(membership, header, scope)
        before = None if old is None or old.removed else decode_membership(self._stored_content(old))
        if before is not None:
            check_membership_change(before, membership)

    def _check_revocation_list(self, content: bytes, header: Header, writer: WriterRecord, old: Header | None) -> None:
        """Here the clock is the server's, and the version before is at hand: so no entry can be dated or signed for
        somebody else, which a later reader could not tell."""
        lineage = self._lineage(header.scope)
        fresh = _list_of(content)
        root, links = self._root, self._verified.links
        check_list(fresh, header, writer, root=root, scope=lineage[-1], links=links)
        check_revoker(fresh, self._now, writer, root=root, scope=lineage[-1], links=links)
        known = NO_LIST if old is None else self._stored_list(old)
        if old is not None:
            check_succession(seen_list(known, old), seen_list(fresh, header))
        author, time = writer.public.principal, header.written
        if any((entry.by, entry.recorded) != (author, time) for entry in new_entries(known, fresh)):
            raise IntegrityError("a new entry of the revocation list names another author or time than its header")

    def _stored_list(self, old: Header) -> RevocationList:
        return _list_of(self._stored_content(old))

    def _stored_content(self, old: Header) -> bytes:
        return b"".join(self._facts.record(old.block, 0, i) or b"" for i in range(old.sector_count))

    def _is_scope(self, change: BlockChange, header: Header) -> bool:
        record = _decoded(change, ScopeRecord)
        if record is None or header.block != scope_block(record.scope):
            return False
        if change.expected and self._lineage(record.scope)[1:2] != ((record.parent,) if record.parent else ()):
            raise IntegrityError("a scope cannot move to another parent")
        return header.scope == (record.parent or record.scope)

    def _is_grants(self, change: BlockChange, header: Header) -> bool:
        record = _decoded(change, Grants)
        return record is not None and header.block == grants_block(header.scope, record.principal)

    def _is_snapshot(self, change: BlockChange, header: Header) -> bool:
        record = _decoded(change, SnapshotRecord)
        if record is None or header.block != snapshot_block(self._root, record.name):
            return False
        return len(self._lineage(header.scope)) == 1

    def _stored(self, header: Header, level: int, index: int) -> bytes | memoryview | None:
        return self._facts.record(header.block, level, index)


def _check_history(old: Header, new: Header) -> None:
    if new.key_epoch < old.key_epoch:
        raise IntegrityError(f"its key epoch goes back from {old.key_epoch} to {new.key_epoch}", kind=Kind.ROLLBACK)
    if old.removed or not old.public:
        if new.public and not old.removed:
            raise IntegrityError("a sealed block cannot become public")
        return
    if not new.public or new.removed or new.scope != old.scope:
        raise IntegrityError("a public record stays public, in its scope, and is never removed")


def _content(change: BlockChange) -> bytes | None:
    """The sectors that a change writes, if it writes all from the first on in one run."""
    runs = [run for run in change.runs if run.level == 0]
    if len(runs) != 1 or runs[0].first:
        return None
    return b"".join(runs[0].records)


def _list_of(content: bytes) -> RevocationList:
    try:
        return decode(content, RevocationList, LIST_LIMITS)
    except (SerdeError, CapabilityError) as error:
        raise IntegrityError(f"it is no revocation list: {error}") from error


def _decoded(change: BlockChange, record: type[Record]) -> Record | None:
    content = _content(change)
    try:
        return None if content is None else decode(content, record)
    except (SerdeError, CapabilityError):
        return None


def _within(change: BlockChange, error: BlocktreeError) -> BlocktreeError:
    """The same error, naming the block."""
    text = f"block {change.block.hex()}: {error.message}"
    if isinstance(error, CapabilityError):
        return CapabilityError(text, kind=error.kind, hint=error.hint)
    return IntegrityError(text, kind=error.kind, hint=error.hint)
