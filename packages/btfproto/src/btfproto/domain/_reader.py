"""`DomainReader`: reads and verifies heads and public records of one domain from a store that is not trusted.

A head is good if its writer's record is what the header names, the signature is that writer's, and the writer's chain
reached the root with WRITE over the header's scope at the time it says it was written. (An expired writer's data stays
readable; that nothing is *committed* under an expired chain is the server's check, by its own clock.)

What was written after its writer was revoked is refused, by the list of the `revocations` source; without one, by the
list that the store had when the reader first asked.

It keeps writer records and scopes, which never change once verified, and nothing else. Thread-safe: its caches only
grow, within bounds, and losing a race costs a second verification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
from btlib.block import (
    BLOCK_ID_SIZE,
    Header,
    SectorTree,
    VerifiedRoots,
    WriterRecord,
    decode_header,
    decode_signed_header,
    decode_writer,
    leaf_hash,
    verify_signed_header,
)
from btlib.errors import CapabilityError, IntegrityError
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.revocations import NO_LIST, RevocationList, Revocations
from btlib.verification import VerifiedLinks, verify_chain
from btlib.writecaps import Rights
from btserde import Limits, SerdeError, decode

from btfproto.errors import FsError
from btfproto.store import Found, Head, HeadWant, RecordRef, Store, Unchanged

from ._drafts import MAX_PUBLIC_SECTORS
from ._records import (
    FORMAT,
    MAX_LINEAGE,
    RECORD_LIMITS,
    DomainRecord,
    Grants,
    ScopeRecord,
    domain_block,
    grants_block,
    scope_block,
)
from ._revoking import LIST_LIMITS, SeenList, check_list, revocations_block, seen_list

CACHED_WRITERS = 4096  #: writer records kept, about 1 kB each
NEVER = (1, 0)
ALWAYS = (-(2**63), 2**63)

Spans = dict[tuple[bytes, bytes], tuple[int, int]]  # by writer and scope: from when to when it may write there
Record = TypeVar("Record", bound=msgspec.Struct)


class RevocationSource(Protocol):
    """Who knows the newest list. Thread-safe; `current` must be cheap."""

    @property
    def current(self) -> Revocations: ...


class DomainReader:
    """Verified reads of one domain."""

    def __init__(self, store: Store, root: Principal, revocations: RevocationSource | None = None) -> None:
        self.store = store
        self.root = root
        self._source = revocations
        self._first: Revocations | None = None
        self._verified = VerifiedRoots()
        self._links = VerifiedLinks()
        self._spans: tuple[Revocations, Spans] = (NO_LIST.effective, {})  # together: they belong to one another
        self._writers: dict[bytes, WriterRecord] = {}
        self._scopes: dict[bytes, tuple[bytes, ...]] = {}
        self._domain: DomainRecord | None = None

    def domain(self) -> DomainRecord:
        """The domain record. Raises FsError (NOT_FOUND) where the store holds none of this root."""
        if self._domain is None:
            head = self.head(domain_block(self.root))
            if head is None:
                raise FsError(
                    Kind.NOT_FOUND,
                    f"this store holds no domain of {self.root}",
                    "check the server's address and the root, or run: bt init",
                )
            header = self._signed_by_root(head)
            record = self._record(header, self._content(header, head), DomainRecord)
            if record.root.principal != self.root or header.scope != record.scope:
                raise IntegrityError(f"the domain record in this store is not that of {self.root}")
            self._domain = record
        return self._domain

    def follow(self, revocations: RevocationSource) -> None:
        """From now on, what counts is what this source knows."""
        self._source = revocations

    @property
    def revocations(self) -> Revocations:
        """What was taken back, as far as is known here. Raises FsError, IntegrityError, CapabilityError."""
        if self._source is not None:
            return self._source.current
        if self._first is None:
            found = self.revocation_list()
            self._first = (NO_LIST if found is None else found.record).effective
        return self._first

    def revocation_list(self, known: int = 0) -> SeenList | None:
        """The list in the store; None where there is none, or where it still has the version `known`.

        Whether it follows from one that was seen before is not checked here.
        """
        (answer,) = self.store.read_heads([HeadWant(revocations_block(self.root), known)])
        if not isinstance(answer, Found):
            if isinstance(answer, Unchanged) or not known:
                return None
            raise IntegrityError("the revocation list is missing from the store, and was there", kind=Kind.ROLLBACK)
        writer = self.writer(unverified_header(answer.head).chain)
        header = self._signed(answer.head, lambda _: writer)
        record = self._record(header, self._content(header, answer.head), RevocationList, LIST_LIMITS)
        check_list(record, header, writer, root=self.root, scope=self.domain().scope, links=self._links)
        return seen_list(record, header)

    def lineage(self, scope: bytes) -> tuple[bytes, ...]:
        """The scopes from `scope` up to the root scope. Raises IntegrityError where they do not lead there."""
        known = self._scopes.get(scope)
        if known is None:
            known = self._read_lineage(scope, MAX_LINEAGE)
            self._scopes[scope] = known
        return known

    def scope(self, scope: bytes) -> ScopeRecord:
        """The verified record of a scope. Raises IntegrityError, FsError (NOT_FOUND)."""
        self.lineage(scope)
        return self._scope_record(scope)[1]

    def grants(self, scope: bytes, principal: Principal) -> tuple[Header | None, Grants]:
        """What a principal was given in a scope, and the header to replace; nothing where there is no record."""
        found = self.public(grants_block(scope, principal), Grants)
        if found is None:
            return None, Grants(principal=principal)
        header, grants = found
        if grants.principal != principal or header.scope != scope:
            raise IntegrityError(f"the grants of {principal} stand in the wrong place")
        return header, grants

    def public(self, block: bytes, record: type[Record]) -> tuple[Header, Record] | None:
        """A verified public record of the current domain; None where there is none."""
        head = self.head(block)
        if head is None or head.removed:
            return None
        header = self.verify(head)
        return header, self._record(header, self._content(header, head), record)

    def content(self, head: Head) -> bytes:
        """What a public block holds, as its header has it; who signed that is not checked. Raises IntegrityError."""
        return self._content(unverified_header(head), head)

    def head(self, block: bytes) -> Head | None:
        """The unverified head of a block; None where the store has none."""
        return self.heads([block])[0]

    def heads(self, blocks: Sequence[bytes]) -> list[Head | None]:
        """Several at once."""
        answers = self.store.read_heads([HeadWant(block) for block in blocks])
        return [answer.head if isinstance(answer, Found) else None for answer in answers]

    def verify(self, head: Head) -> Header:
        """The header of a head, once it is certain that somebody with the right to wrote it. Raises IntegrityError."""
        header = self._signed(head, self.writer)
        self.check_writer(header)
        return header

    def check_writer(self, header: Header) -> None:
        """Whether a verified signer was allowed to write this header. Raises IntegrityError with the reason."""
        revoked, (under, spans) = self.revocations, self._spans
        if revoked is not under:
            spans = {}
            self._spans = revoked, spans
        begin, end = spans.get((header.chain, header.scope), NEVER)
        if begin <= header.written <= end:
            return
        writer = self.writer(header.chain)
        decision = verify_chain(
            writer.chain,
            root=self.root,
            subject=writer.public.principal,
            right=Rights.WRITE,
            now=header.written,
            lineage=self.lineage(header.scope),
            revocations=revoked,
            verified=self._links,
        )
        if not decision.allowed:
            raise IntegrityError(f"block {header.block.hex()} was written without the right to: {decision.reason}")
        if len(spans) >= CACHED_WRITERS:
            spans.clear()
        spans[header.chain, header.scope] = _span(writer, self.root, revoked)

    def writer(self, writer_id: bytes) -> WriterRecord:
        """The writer record that a header names. Raises IntegrityError where it is missing or another."""
        known = self._writers.get(writer_id)
        if known is None:
            head = self.head(writer_id[:BLOCK_ID_SIZE])
            if head is None:
                raise IntegrityError(f"the writer record {writer_id.hex()} is missing from the store")
            header = unverified_header(
                head
            )  # the record proves itself by its hash; whoever signed its header proves nothing
            known = decode_writer(self._content(header, head), writer_id)
            if len(self._writers) >= CACHED_WRITERS:
                self._writers.clear()
            self._writers[writer_id] = known
        return known

    def _read_lineage(self, scope: bytes, room: int) -> tuple[bytes, ...]:
        domain = self.domain()
        if scope == domain.scope:
            return (scope,)
        if not room:
            raise IntegrityError(f"scope {scope.hex()} lies more than {MAX_LINEAGE} scopes deep")
        head, record = self._scope_record(scope)
        if record.parent is None:
            raise IntegrityError(f"scope {scope.hex()} claims to be the root scope of {self.root}, and is not")
        lineage = (scope, *self._read_lineage(record.parent, room - 1))
        header = self._signed(head, self.writer)
        if header.scope != record.parent:
            raise IntegrityError(f"the record of scope {scope.hex()} does not belong to its parent scope")
        self.check_writer(header)
        return lineage

    def _scope_record(self, scope: bytes) -> tuple[Head, ScopeRecord]:
        head = self.head(scope_block(scope))
        if head is None or head.removed:
            raise IntegrityError(f"the record of scope {scope.hex()} is missing from the store")
        header = unverified_header(head)
        record = self._record(header, self._content(header, head), ScopeRecord)
        if record.scope != scope:
            raise IntegrityError(f"the record of scope {scope.hex()} is that of another scope")
        return head, record

    def _signed_by_root(self, head: Head) -> Header:
        writer = self.writer(unverified_header(head).chain)
        if writer.chain.caps or writer.public.principal != self.root:
            raise IntegrityError(f"the domain record in this store was not signed by {self.root} itself")
        return self._signed(head, lambda _: writer)

    def _signed(self, head: Head, writer_of: Callable[[bytes], WriterRecord]) -> Header:
        signed = decode_signed_header(head.signed)
        header = decode_header(signed.header)
        if (header.block, header.version, header.removed) != (head.block, head.version, head.removed):
            raise IntegrityError(f"the store gave the header of another block or version for {head.block.hex()}")
        return verify_signed_header(signed, writer_of(header.chain).public, self._verified)

    def _content(self, header: Header, head: Head) -> bytes:
        """The content of a public block, checked against the header's Merkle root."""
        if not header.public or header.removed or header.sector_count > MAX_PUBLIC_SECTORS:
            raise IntegrityError(f"block {header.block.hex()} is no public record")
        if header.sector_count == 1 and head.small is not None:
            sectors = [bytes(head.small)]
        else:
            sectors = self._sectors(header)
        tree = SectorTree(header.root, header.sector_count, lambda level, index: self._node(header, level, index))
        for index, sector in enumerate(sectors):
            if leaf_hash(index, sector) != tree.leaf(index):
                raise IntegrityError(f"sector {index} of the public block {header.block.hex()} is not what was signed")
        return b"".join(sectors)

    def _sectors(self, header: Header) -> list[bytes]:
        refs = [RecordRef(0, index) for index in range(header.sector_count)]
        records = self.store.read_records(header.block, refs) if refs else None
        if records is not None and records.version != header.version:
            raise FsError(Kind.CONFLICT, f"block {header.block.hex()} changed while it was read", "try again")
        return [bytes(record or b"") for record in (records.records if records else [])]

    def _node(self, header: Header, level: int, index: int) -> bytes | None:
        record = self.store.read_records(header.block, [RecordRef(level, index)]).records[0]
        return None if record is None else bytes(record)

    def _record(self, header: Header, content: bytes, record: type[Record], limits: Limits = RECORD_LIMITS) -> Record:
        if content[:1] != bytes([FORMAT]):
            raise IntegrityError(
                f"the public block {header.block.hex()} is no {record.__name__} of format {FORMAT}",
                kind=Kind.NOT_SUPPORTED if content else Kind.INTEGRITY,
                hint="it may be of a newer version; update this program",
            )
        try:
            return decode(content, record, limits)
        except (SerdeError, CapabilityError) as error:
            raise IntegrityError(f"the public block {header.block.hex()} is no {record.__name__}: {error}") from error


def unverified_header(head: Head) -> Header:
    """What a head says, whoever wrote it. Raises IntegrityError where it says nothing."""
    return decode_header(decode_signed_header(head.signed).header)


def _span(writer: WriterRecord, root: Principal, revoked: Revocations) -> tuple[int, int]:
    """From when to when a chain is valid."""
    begin, end = ALWAYS
    for cap in writer.chain.caps:
        begin, end = max(begin, cap.not_before), min(end, cap.not_after)
        moments = [revoked.serials.get(cap.serial)]
        moments += [revoked.principals.get(cap.subject)] if cap.subject != root else []
        end = min([end, *(since - 1 for since in moments if since is not None)])
    return begin, end
