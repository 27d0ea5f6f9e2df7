"""Attacks of writers on a server without keys: commits that they have no right to, or that contradict themselves."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from btlib.block import PUBLIC, Header, WriterRecord, encode_signed_header, encode_writer, sign_commit
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.revocations import Revocations
from btlib.writecaps import Chain, Rights
from btserde import encode

from ..domain import (
    DomainReader,
    DomainRecord,
    Draft,
    Grants,
    ScopeRecord,
    domain_block,
    grants_block,
    public_content,
    scope_block,
)
from ..store import BlockChange, Commit, Committed, RecordRun
from ._attack import Implementation, attack, refuse
from .domains import DAY, NOW, World, person

FILE, OTHER = b"a file's block..", b"an outer block.."
ALICE, MALLORY = person(40), person(41)
INNER = b"the inner scope."


class _Server:
    """A store behind the judge under attack, with a clock and a list of revocations."""

    def __init__(self, under: Implementation) -> None:
        self.now = NOW
        self.revocations = Revocations()
        self.world = World.make()
        self.scope = self.world.created.scope
        self.judge = under.judge(self.world, lambda: self.now, lambda: self.revocations)
        introduction = self.draft()
        introduction.put_writer(self.scope)
        self.send(introduction)

    def draft(self, writer: Identity | None = None, chain: Chain | None = None) -> Draft:
        writer = writer or self.world.machine
        return Draft(writer.signer, writer.chains[0] if chain is None else chain, now=self.now)

    def introduced(self, chain: Chain, scope: bytes | None = None) -> Draft:
        """A draft of Alice's that brings her writer record along, and changes the file."""
        draft = self.draft(ALICE, chain)
        draft.put_writer(scope or self.scope)
        draft.put(block=FILE, scope=self.scope, content=public_content(b"sealed"), previous=None)
        return draft

    def commit(self, what: Draft | Commit) -> Commit:
        return what if isinstance(what, Commit) else what.commit(self.world.random(16))

    def send(self, what: Draft | Commit) -> None:
        """What an honest writer sends."""
        commit = self.commit(what)
        self.judge(commit)
        assert isinstance(self.world.store.commit(commit), Committed)

    def refuses(self, what: Draft | Commit, *kinds: Kind) -> None:
        commit = self.commit(what)
        refuse(lambda: self.judge(commit), *kinds)

    def header(self, version: int = 1, **fields: object) -> Header:
        """A header of the file by the machine, with some fields different."""
        plain = Header(block=FILE, scope=self.scope, version=version, chain=self.draft().writer_id, written=self.now)
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


@attack("commit-without-right", "a writer with no chain, another's, a narrower, an expired or an early one")
def without_right(under: Implementation) -> None:
    server = _Server(under)
    world = server.world
    chains: list[Callable[[], Chain]] = [
        Chain,
        lambda: world.chain(MALLORY),
        lambda: world.chain(ALICE, rights=Rights.EXECUTE),
        lambda: world.chain(ALICE, end=NOW - 1),
        lambda: world.chain(ALICE, begin=NOW + 1),
        lambda: world.chain(ALICE, scope=bytes(16)),
        lambda: World.make(seed=9).chain(ALICE),
    ]
    for chain in chains:
        server.refuses(server.introduced(chain()), Kind.FORBIDDEN, Kind.EXPIRED)
    server.send(server.introduced(world.chain(ALICE)))


@attack("commit-of-unknown-writer", "a writer whose record nobody has, or whose record has another content than its id")
def unknown_writer(under: Implementation) -> None:
    server = _Server(under)
    draft = server.draft(ALICE, server.world.chain(ALICE))
    draft.put(block=FILE, scope=server.scope, content=public_content(b"sealed"), previous=None)
    server.refuses(draft, Kind.INTEGRITY)
    server.refuses(server.signed(server.header(chain=bytes(32))), Kind.INTEGRITY)


@attack("forged-commit", "a header that names a writer and is signed by another, or by nobody")
def forged(under: Implementation) -> None:
    server = _Server(under)
    server.refuses(server.signed(server.header(), MALLORY), Kind.INTEGRITY)
    server.refuses(server.signed(server.header(), signed=b"nonsense"), Kind.INTEGRITY)
    server.send(server.signed(server.header()))


@attack("moved-header", "a signed header is committed for another block, version or removal; or with another's proof")
def moved_header(under: Implementation) -> None:
    server = _Server(under)
    for fields in ({"block": OTHER}, {"version": 9}, {"removed": True}):
        server.refuses(server.signed(server.header(), None, **fields), Kind.INTEGRITY, Kind.CONFLICT)
    one, two = sign_commit(server.world.machine.signer, [server.header(), server.header(block=OTHER)])
    spliced = encode_signed_header(msgspec.structs.replace(one, proof=two.proof))
    server.refuses(server.signed(server.header(), signed=spliced), Kind.INTEGRITY)


@attack("back-dated-commit", "a writer whose right has ended dates its header back")
def back_dated(under: Implementation) -> None:
    server = _Server(under)
    chain = server.world.chain(ALICE, end=NOW + 10)
    server.send(server.introduced(chain))
    draft = server.draft(ALICE, chain)
    server.now = NOW + 11
    reader = DomainReader(server.world.store, server.world.root.principal)
    head = reader.head(FILE)
    assert head is not None
    draft.put(block=FILE, scope=server.scope, content=public_content(b"later"), previous=reader.verify(head))
    server.refuses(draft, Kind.EXPIRED)


@attack("post-dated-commit", "a header that says it was written in the future")
def post_dated(under: Implementation) -> None:
    server = _Server(under)
    server.refuses(server.signed(server.header(written=NOW + 2 * DAY)), Kind.INVALID)


@attack("revoked-between-commits", "a list that revokes a writer comes between two of its commits, prepared beforehand")
def revoked_between(under: Implementation) -> None:
    server = _Server(under)
    prepared = server.commit(server.introduced(server.world.chain(ALICE)))
    server.judge(prepared)
    server.revocations = Revocations(version=1, principals={ALICE.principal: NOW})
    server.refuses(prepared, Kind.FORBIDDEN)


@attack("records-beside-the-tree", "records that the signed root does not cover, or none where it names some")
def beside_the_tree(under: Implementation) -> None:
    server = _Server(under)
    draft = server.draft()
    draft.put(block=FILE, scope=server.scope, content=public_content(b"sealed"), previous=None)
    commit = server.commit(draft)
    (change,) = commit.changes
    for runs in ([RecordRun(0, 0, [b"sealee"])], [], [RecordRun(0, 1, [b"sealed"])], [RecordRun(1, 0, [b"sealed"])],
                 [RecordRun(0, 0, [b"sealed", b"more"])]):  # fmt: skip
        other = msgspec.structs.replace(commit, changes=[msgspec.structs.replace(change, runs=runs)])
        server.refuses(other, Kind.INTEGRITY)
    server.send(commit)


@attack("key-epoch-back", "a block goes back to an older key, or a sealed one becomes public")
def epoch_back(under: Implementation) -> None:
    server = _Server(under)
    server.send(server.signed(server.header(key_epoch=2)))
    server.refuses(server.signed(server.header(2, key_epoch=1)), Kind.ROLLBACK)
    server.refuses(server.signed(server.header(2, key_epoch=2, flags=PUBLIC)), Kind.INTEGRITY, Kind.ROLLBACK)


@attack("replayed-commit-of-before", "an older version of a block, truly signed, is committed again: a grant of before")
def replayed_commit(under: Implementation) -> None:
    server = _Server(under)
    first = server.signed(server.header())
    server.send(first)
    server.send(server.signed(server.header(2)))
    (change,) = first.changes
    for expected in (2, 3):
        again = msgspec.structs.replace(change, expected=expected, version=expected + 1)
        server.refuses(Commit(request=bytes(16), changes=[again]), Kind.INTEGRITY, Kind.CONFLICT)


def _inner(server: _Server) -> None:
    """A scope in the root scope, made as a grant makes it."""
    draft = server.draft()
    record = ScopeRecord(scope=INNER, parent=server.scope, directory=bytes(16))
    draft.put_public(scope_block(INNER), server.scope, record)
    draft.rehome(server.header(), INNER, b"")
    server.send(server.signed(server.header()))
    server.send(draft)


@attack("taken-out-of-scope", "one who may write in an inner scope takes a block of the outer one into it")
def taken_out(under: Implementation) -> None:
    server = _Server(under)
    _inner(server)
    draft = server.draft(ALICE, server.world.chain(ALICE, scope=INNER))
    draft.put_writer(INNER)
    outer = server.header(block=OTHER)
    server.send(server.signed(outer))
    draft.rehome(outer, INNER, b"")
    server.refuses(draft, Kind.FORBIDDEN)


@attack("false-scope", "a block in a scope that is none, a second root scope, a scope moved to another parent")
def false_scope(under: Implementation) -> None:
    server = _Server(under)
    server.refuses(server.signed(server.header(scope=bytes(16))), Kind.INTEGRITY)
    scope, draft = b"another root....", server.draft()
    draft.put_public(scope_block(scope), scope, ScopeRecord(scope=scope, parent=None, directory=bytes(16)))
    server.refuses(draft, Kind.INTEGRITY)


@attack("occupied-place", "a public record is put where another's belongs, removed, or sealed")
def occupied(under: Implementation) -> None:
    server = _Server(under)
    for content in (b"anything", encode(Grants(principal=MALLORY.principal))):
        draft = server.draft()
        place = grants_block(server.scope, ALICE.principal)
        draft.put(block=place, scope=server.scope, content=public_content(content), flags=PUBLIC)
        server.refuses(draft, Kind.INTEGRITY)
    victim = WriterRecord(server.world.chain(ALICE), ALICE.public)
    draft = server.draft()
    other = public_content(encode_writer(WriterRecord(Chain(), MALLORY.public)))
    draft.put(block=victim.block, scope=server.scope, content=other, flags=PUBLIC)
    server.refuses(draft, Kind.INTEGRITY)
    for flags in (2, 0):
        header = server.header(2, block=server.draft().writer.block, flags=flags)
        server.refuses(server.signed(header), Kind.INTEGRITY)


@attack("stolen-domain", "somebody else than the root writes the domain's record")
def stolen_domain(under: Implementation) -> None:
    server = _Server(under)
    reader = DomainReader(server.world.store, server.world.root.principal)
    head = reader.head(domain_block(server.world.root.principal))
    assert head is not None
    record = DomainRecord(root=MALLORY.public, directory=bytes(16), scope=server.scope)
    draft = server.draft()
    draft.put_public(head.block, server.scope, record, previous=reader.verify(head))
    server.refuses(draft, Kind.FORBIDDEN)
