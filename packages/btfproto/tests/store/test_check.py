"""The keyless server's check: whatever honest writers send passes, and every forgery is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from btfproto.domain import (
    DomainReader,
    DomainRecord,
    Grants,
    ScopeRecord,
    domain_block,
    grants_block,
    public_content,
    scope_block,
)
from btfproto.domain import Draft as DomainDraft
from btfproto.endpoints import RecordSet, SignedRecord, endpoints_block, sign_record
from btfproto.errors import StoreError
from btfproto.store import BlockChange, Commit, Committed, MemoryStore, RecordRun
from btfproto.store.check import MAX_SKEW_SECONDS, CommitChecker
from btfproto.testing.domains import DAY, NOW, World, person
from btlib.block import PUBLIC, Header, WriterRecord, encode_signed_header, encode_writer, sign_commit
from btlib.errors import BlocktreeError, CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.revocations import Revocations
from btlib.writecaps import Chain, Rights
from btserde import encode

FILE = b"a file's block.."
ALICE, MALLORY = person(40), person(41)


class Server:
    """A store behind its check, and a clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.world = World.make()
        self.store = self.world.store
        self.scope = self.world.created.scope
        self.revocations = Revocations()
        root = self.world.root.principal
        reader = DomainReader(self.store, root)
        self.check = CommitChecker(self.store, reader, root, lambda: self.now, lambda: self.revocations)
        introduction = self.draft()
        introduction.put_writer(self.scope)
        self.send(introduction)

    def draft(self, writer: Identity | None = None, chain: Chain | None = None) -> DomainDraft:
        writer = self.world.machine if writer is None else writer
        return DomainDraft(writer.signer, writer.chains[0] if chain is None else chain, now=self.now)

    def file(self, draft: DomainDraft, data: bytes = b"sealed", *, previous: Header | None = None) -> DomainDraft:
        draft.put(block=FILE, scope=self.scope, content=public_content(data), previous=previous)
        return draft

    def send(self, draft: DomainDraft | Commit) -> None:
        commit = draft if isinstance(draft, Commit) else draft.commit(self.world.random(16))
        self.check(commit)
        assert isinstance(self.store.commit(commit), Committed)

    def header(self, version: int = 1, **fields: object) -> Header:
        """A header of the file by the machine, with some fields different."""
        plain = Header(
            block=FILE,
            scope=self.scope,
            version=version,
            chain=self.draft().writer_id,
            written=self.now,
        )
        return msgspec.structs.replace(plain, **fields)

    def signed(self, header: Header, signer: Identity | None = None, /, **fields: object) -> Commit:
        """A commit of one header, with some fields of the change different."""
        (signed,) = sign_commit((signer or self.world.machine).signer, [header])
        change = BlockChange(
            block=header.block,
            expected=header.version - 1,
            version=header.version,
            signed=encode_signed_header(signed),
            removed=header.removed,
        )
        return Commit(request=self.world.random(16), changes=[msgspec.structs.replace(change, **fields)])


@pytest.fixture
def server() -> Server:
    return Server()


def refuse(server: Server, commit: DomainDraft | Commit, kind: Kind, text: str) -> None:
    with pytest.raises(BlocktreeError, match=text) as caught:
        server.send(commit)
    assert caught.value.kind is kind


def test_what_a_writer_sends_is_accepted(server: Server) -> None:
    server.send(server.file(server.draft()))
    server.send(server.signed(server.header(2, sector_count=0)))


def test_the_first_commit_of_a_domain_is_accepted() -> None:
    sent: list[Commit] = []

    class Checked(MemoryStore):
        def commit(self, commit: Commit) -> Committed:
            sent.append(commit)
            reader = DomainReader(self, person(1).principal)
            CommitChecker(self, reader, person(1).principal, lambda: NOW)(commit)
            answer = super().commit(commit)
            assert isinstance(answer, Committed)
            return answer

    World.make(Checked())
    assert len(sent) == 1


def test_a_repeated_commit_passes_and_is_answered_by_the_store(server: Server) -> None:
    commit = server.file(server.draft()).commit(bytes(16))
    server.send(commit)
    server.send(commit)


def test_a_delegate_writes_with_its_own_record_in_the_same_commit(server: Server) -> None:
    draft = server.draft(ALICE, server.world.chain(ALICE, "home"))
    draft.put_writer(server.scope)
    server.send(server.file(draft))


def test_a_writer_whose_record_nobody_has_is_refused(server: Server) -> None:
    draft = server.draft(ALICE, server.world.chain(ALICE))
    refuse(server, server.file(draft), Kind.INTEGRITY, "writer record .* is missing")


@pytest.mark.parametrize(
    ("chain", "kind", "reason"),
    [
        (lambda w: Chain(), Kind.FORBIDDEN, "is not the root"),
        (lambda w: w.chain(MALLORY), Kind.FORBIDDEN, "is for bt1.*, not for bt1"),
        (lambda w: w.chain(ALICE, rights=Rights.EXECUTE), Kind.FORBIDDEN, "does not give .* the right to write"),
        (lambda w: w.chain(ALICE, end=NOW - 1), Kind.EXPIRED, "expired on"),
        (lambda w: w.chain(ALICE, begin=NOW + 1), Kind.FORBIDDEN, "begins on"),
        (lambda w: w.chain(ALICE, scope=bytes(16)), Kind.FORBIDDEN, "is for write scope 0000"),
    ],
)
def test_a_writer_without_the_right_is_refused_with_the_reason(
    server: Server, chain: Callable[[World], Chain], kind: Kind, reason: str
) -> None:
    draft = server.draft(ALICE, chain(server.world))
    draft.put_writer(server.scope)
    refuse(server, server.file(draft), kind, reason)


def test_a_revoked_writer_is_refused(server: Server) -> None:
    draft = server.draft(ALICE, server.world.chain(ALICE))
    draft.put_writer(server.scope)
    server.revocations = Revocations(version=1, principals={ALICE.principal: NOW - 5})
    refuse(server, server.file(draft), Kind.FORBIDDEN, "was revoked on")


def test_a_header_dated_back_to_when_the_writer_still_had_the_right_is_refused(server: Server) -> None:
    draft = server.draft(ALICE, server.world.chain(ALICE))
    draft.put_writer(server.scope)
    late = server.file(draft)
    server.now += 2 * DAY
    refuse(server, late, Kind.EXPIRED, "expired on")


def test_a_header_of_the_future_is_refused(server: Server) -> None:
    ahead = server.header(written=NOW + MAX_SKEW_SECONDS + 1)
    refuse(server, server.signed(ahead), Kind.INVALID, "this server's clock")


@pytest.mark.parametrize(("skew", "sense"), [(DAY, "24 hours ahead of"), (-DAY, "24 hours behind"), (60, None)])
def test_a_writer_whose_clock_is_a_day_off_works_and_is_told_of(skew: int, sense: str | None) -> None:
    server, told = Server(), list[str]()
    reader = DomainReader(server.store, server.world.root.principal)
    server.check = CommitChecker(server.store, reader, server.world.root.principal, lambda: NOW, skewed=told.append)
    server.now = NOW + skew
    server.send(server.file(server.draft()))
    assert [sense in text for text in told if sense] == ([True] if sense else [])
    assert len(told) == (sense is not None)


def test_somebody_elses_signature_is_refused(server: Server) -> None:
    refuse(server, server.signed(server.header(), MALLORY), Kind.INTEGRITY, "signature is not by")


@pytest.mark.parametrize(
    "fields", [{"block": bytes(16)}, {"version": 9}, {"removed": True}, {"signed": b"nonsense"}], ids=str
)
def test_a_change_that_says_something_else_than_its_header_is_refused(
    server: Server, fields: dict[str, object]
) -> None:
    refuse(server, server.signed(server.header(), None, **fields), Kind.INTEGRITY, "header")


def test_a_change_of_a_version_that_is_not_there_yet_is_refused(server: Server) -> None:
    with pytest.raises(StoreError, match="is at version 0, not at 4") as caught:
        server.send(server.signed(server.header(5)))
    assert caught.value.kind is Kind.CONFLICT


def test_records_that_do_not_match_the_root_are_refused(server: Server) -> None:
    commit = server.file(server.draft()).commit(bytes(16))
    (change,) = commit.changes
    damaged = msgspec.structs.replace(change, runs=[RecordRun(0, 0, [b"sealee"])])
    refuse(server, msgspec.structs.replace(commit, changes=[damaged]), Kind.INTEGRITY, "record 0/0 does not match")


def test_a_key_epoch_never_goes_back(server: Server) -> None:
    server.send(server.signed(server.header(key_epoch=2)))
    refuse(server, server.signed(server.header(2, key_epoch=1)), Kind.ROLLBACK, "goes back from 2 to 1")


def inner_scope(server: Server) -> bytes:
    """A scope in the root scope, made as a grant makes it."""
    scope, draft = b"the inner scope.", server.draft()
    draft.put_public(
        scope_block(scope), server.scope, ScopeRecord(scope=scope, parent=server.scope, directory=bytes(16))
    )
    draft.rehome(server.header(), scope, b"")
    server.send(server.signed(server.header()))
    server.send(draft)
    return scope


def test_a_scope_and_the_blocks_that_move_into_it_come_in_one_commit(server: Server) -> None:
    scope = inner_scope(server)
    assert DomainReader(server.store, server.world.root.principal).lineage(scope) == (scope, server.scope)


def test_who_may_write_in_an_inner_scope_cannot_take_blocks_from_the_outer(server: Server) -> None:
    scope = inner_scope(server)
    draft = server.draft(ALICE, server.world.chain(ALICE, scope=scope))
    draft.put_writer(scope)
    outer = server.header(block=b"an outer block..")
    server.send(server.signed(outer))
    draft.rehome(outer, scope, b"")
    refuse(server, draft, Kind.FORBIDDEN, "is not in it")


def test_a_block_in_a_scope_that_does_not_exist_is_refused(server: Server) -> None:
    refuse(server, server.signed(server.header(scope=bytes(16))), Kind.INTEGRITY, "record of scope 0000.* is missing")


def test_a_scope_that_claims_to_be_the_root_scope_is_refused(server: Server) -> None:
    scope, draft = b"another root....", server.draft()
    draft.put_public(scope_block(scope), scope, ScopeRecord(scope=scope, parent=None, directory=bytes(16)))
    refuse(server, draft, Kind.INTEGRITY, "claims to be the root scope")


def test_a_scope_cannot_move_to_another_parent(server: Server) -> None:
    first = inner_scope(server)
    second, draft = b"the second scope", server.draft()
    draft.put_public(scope_block(second), server.scope, ScopeRecord(scope=second, parent=server.scope, directory=FILE))
    server.send(draft)
    draft = server.draft()
    reader = DomainReader(server.store, server.world.root.principal)
    head = reader.head(scope_block(second))
    assert head is not None
    moved = ScopeRecord(scope=second, parent=first, directory=FILE)
    draft.put_public(scope_block(second), first, moved, previous=reader.verify(head))
    refuse(server, draft, Kind.INTEGRITY, "in its scope")


def test_only_the_root_writes_the_domain_record() -> None:
    server = Server()
    reader = DomainReader(server.store, server.world.root.principal)
    head = reader.head(domain_block(server.world.root.principal))
    assert head is not None
    record = DomainRecord(root=MALLORY.public, directory=bytes(16), scope=server.scope)
    draft = server.draft()
    draft.put_public(head.block, server.scope, record, previous=reader.verify(head))
    refuse(server, draft, Kind.FORBIDDEN, "only be written by")


@pytest.mark.parametrize("content", [b"anything", encode(Grants(principal=MALLORY.principal))], ids=["junk", "grants"])
def test_the_place_of_a_public_record_cannot_be_occupied_with_another(server: Server, content: bytes) -> None:
    draft = server.draft()
    draft.put(
        block=grants_block(server.scope, ALICE.principal),
        scope=server.scope,
        content=public_content(content),
        flags=PUBLIC,
    )
    refuse(server, draft, Kind.INTEGRITY, "no public record that belongs at this block id")


def test_the_place_of_a_writer_record_cannot_be_occupied(server: Server) -> None:
    victim = WriterRecord(server.world.chain(ALICE), ALICE.public)
    other = encode_writer(WriterRecord(Chain(), MALLORY.public))
    draft = server.draft()
    draft.put(block=victim.block, scope=server.scope, content=public_content(other), flags=PUBLIC)
    refuse(server, draft, Kind.INTEGRITY, "no public record that belongs")


def test_a_public_record_is_never_removed_or_sealed(server: Server) -> None:
    block = server.draft().writer.block
    for flags in (2, 0):
        header = server.header(2, block=block, flags=flags)
        refuse(server, server.signed(header), Kind.INTEGRITY, "stays public")


def test_a_sealed_block_never_becomes_public(server: Server) -> None:
    server.send(server.signed(server.header()))
    refuse(server, server.signed(server.header(2, flags=PUBLIC)), Kind.INTEGRITY, "cannot become public")


def test_a_refusal_names_the_block_and_keeps_its_type(server: Server) -> None:
    with pytest.raises(IntegrityError, match=FILE.hex()):
        server.send(server.signed(server.header(), MALLORY))
    draft = server.draft(ALICE, Chain())
    draft.put_writer(server.scope)
    with pytest.raises(CapabilityError, match="block "):
        server.send(draft)


# --- endpoint records


def endpoint_record(server: Server, *names: str, who: Identity | None = None, now: int = NOW) -> SignedRecord:
    identity = who or server.world.machine
    path = server.world.path(*names)
    nas = server.world.path("hosts", "nas", "btfsd")
    return sign_record(identity, path=path, server=nas, endpoints=["nas:1"], now=now, lifetime=DAY)


def put_endpoints(server: Server, *records: SignedRecord, previous: Header | None = None) -> DomainDraft:
    draft = server.draft()
    block = endpoints_block(server.world.path())
    draft.put_public(block, server.scope, RecordSet(records=records), previous=previous)
    return draft


def test_a_servers_endpoint_record_passes_and_its_successor_as_well(server: Server) -> None:
    first = put_endpoints(server, endpoint_record(server))
    server.send(first)
    server.send(put_endpoints(server, endpoint_record(server, now=NOW + 1), previous=first.headers[0]))


def test_an_endpoint_record_goes_into_its_own_paths_place_and_is_no_older_than_the_one_before(server: Server) -> None:
    refuse(server, put_endpoints(server, endpoint_record(server, "hosts")), Kind.INTEGRITY, "in another's place")
    twice = [endpoint_record(server), endpoint_record(server)]
    refuse(server, put_endpoints(server, *twice), Kind.INVALID, "two endpoint records")
    first = put_endpoints(server, endpoint_record(server, now=NOW + 10))
    server.send(first)
    older = put_endpoints(server, endpoint_record(server), previous=first.headers[0])
    refuse(server, older, Kind.ROLLBACK, "10 s older")


def test_an_endpoint_record_is_signed_by_who_may_serve_there_and_is_not_expired(server: Server) -> None:
    good = endpoint_record(server)
    forged = msgspec.structs.replace(good, signer=MALLORY.public)
    refuse(server, put_endpoints(server, forged), Kind.INTEGRITY, "not signed by")
    without_right = msgspec.structs.replace(good, chain=Chain())
    refuse(server, put_endpoints(server, without_right), Kind.FORBIDDEN, "may not serve")
    server.now = NOW + 3 * DAY
    refuse(server, put_endpoints(server, good), Kind.EXPIRED, "expired")
