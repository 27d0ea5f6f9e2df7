"""Revoking: who may, what it does to old and new data, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from btfproto.domain import (
    NOTHING_SEEN,
    Content,
    DomainReader,
    Draft,
    check_list,
    check_succession,
    grant_access,
    open_volume,
    revocations_block,
    revoke_access,
    seen_list,
)
from btfproto.errors import FsError
from btfproto.revocations import FileMemory, MemoryOfProcess, Remembered, RevocationView
from btfproto.store import Committed, MemoryStore, Store
from btfproto.store.check import CommitChecker
from btfproto.testing.domains import DAY, NOW, World, opaque_attributes, person
from btlib import Chain, Identity, Kind, ReadKey, Rights
from btlib.block import Header, WriterRecord
from btlib.errors import BlocktreeError, CapabilityError, IntegrityError
from btlib.revocations import NO_LIST, RevocationList, Revoked

ALICE, BOB = person(40), person(41)


@pytest.fixture
def world() -> World:
    return World.make()


def revoke(
    world: World,
    *people: Identity,
    by: Identity | None = None,
    since: int = NOW,
    now: int = NOW,
    serials: tuple[bytes, ...] = (),
    store: Store | None = None,
) -> RevocationList:
    done = revoke_access(
        store or world.store,
        by or world.machine,
        world.root.principal,
        principals={one.principal: since for one in people},
        serials=dict.fromkeys(serials, since),
        now=now,
        random=world.random,
    )
    return done.record


def write(world: World, writer: Identity, *, written: int) -> ReadKey:
    """A directory by somebody who may write everywhere."""
    key = ReadKey(block=world.random(16), key_epoch=0, key=world.random(32), path=world.path("a"))
    draft = Draft(writer.signer, writer.chains[0] if writer.chains else Chain(), now=written)
    attributes = opaque_attributes(key.block, key.key, written)
    draft.put(block=key.block, scope=world.created.scope, content=Content(), attributes=attributes)
    if writer.chains:
        draft.put_writer(world.created.scope)
    world.store.commit(draft.commit(world.random(16)))
    return key


def verify(world: World, key: ReadKey) -> Header:
    reader = DomainReader(world.store, world.root.principal)
    head = reader.head(key.block)
    assert head is not None
    return reader.verify(head)


# Effect


def test_what_was_written_before_stays_readable_and_what_comes_later_is_refused(world: World) -> None:
    alice = ALICE.with_chains(world.chain(ALICE))
    before = write(world, alice, written=NOW + 9)
    revoke(world, ALICE, since=NOW + 10)
    after = write_again(world, alice, written=NOW + 10)
    assert verify(world, before).written == NOW + 9
    with pytest.raises(IntegrityError, match=r"without the right to: bt1.*the subject of writecap 1, was revoked on"):
        verify(world, after)


def write_again(world: World, writer: Identity, *, written: int) -> ReadKey:
    key = ReadKey(block=world.random(16), key_epoch=0, key=world.random(32), path=world.path("b"))
    draft = Draft(writer.signer, writer.chains[0], now=written)
    attributes = opaque_attributes(key.block, key.key, written)
    draft.put(block=key.block, scope=world.created.scope, content=Content(), attributes=attributes)
    assert isinstance(world.store.commit(draft.commit(world.random(16))), Committed)
    return key


def test_a_reader_that_verified_a_writer_before_refuses_it_after(world: World) -> None:
    alice = ALICE.with_chains(world.chain(ALICE))
    view = RevocationView(world.store, world.root.principal)
    reader = DomainReader(world.store, world.root.principal, view)
    first, second = write(world, alice, written=NOW + 10), write_again(world, alice, written=NOW + 10)
    one, two = reader.heads([first.block, second.block])
    assert one is not None
    assert two is not None
    reader.verify(one)
    revoke(world, ALICE, since=NOW + 10)
    assert view.refresh(NOW)
    with pytest.raises(IntegrityError, match="was revoked on"):
        reader.verify(two)


def test_revoking_one_writecap_leaves_the_others_of_its_holder(world: World) -> None:
    kept, lost = world.chain(ALICE), world.chain(ALICE)
    serial = lost.caps[-1].serial
    revoke(world, serials=(serial,))
    reader = DomainReader(world.store, world.root.principal)
    alice = ALICE.with_chains(lost, kept)
    chain = alice.chain_for(world.root.principal, Rights.WRITE, NOW, revocations=reader.revocations)
    assert chain == kept
    with pytest.raises(CapabilityError, match=r"writecap 1 for bt1.* was revoked on"):
        ALICE.with_chains(lost).chain_for(
            world.root.principal, Rights.WRITE, NOW, path=world.path(), revocations=reader.revocations
        )


def test_whom_a_revoked_owner_let_in_is_out_as_well(world: World) -> None:
    grant(world, BOB, granter=world.machine)
    assert open_volume(world.store, BOB, world.path(), NOW).chain is not None
    revoke(world, world.machine, by=world.root, since=NOW)
    volume_reason = open_volume_error(world, BOB)
    assert "was revoked on" in volume_reason


def grant(world: World, subject: Identity, *, granter: Identity) -> None:
    grant_access(
        world.store,
        granter,
        world.created.directory,
        subject.public,
        read=True,
        rights=Rights.WRITE,
        now=NOW,
        not_after=NOW + DAY,
        random=world.random,
    )


def open_volume_error(world: World, subject: Identity) -> str:
    with pytest.raises(FsError) as caught:
        open_volume(world.store, subject, world.path(), NOW)
    return caught.value.message


def test_nothing_is_granted_to_somebody_revoked(world: World) -> None:
    revoke(world, BOB)
    with pytest.raises(FsError, match=r"was revoked on .* and that is for ever") as caught:
        grant(world, BOB, granter=world.machine)
    assert caught.value.kind is Kind.FORBIDDEN


# Who may revoke


def test_an_owner_revokes_and_the_root_does(world: World) -> None:
    first = revoke(world, ALICE)
    second = revoke(world, BOB, by=world.root)
    assert (first.version, second.version) == (1, 2)
    assert second.principals[ALICE.principal] == Revoked(since=NOW, recorded=NOW, by=world.machine.principal)
    assert second.principals[BOB.principal].by == world.root.principal


def test_what_is_revoked_already_makes_no_new_version(world: World) -> None:
    assert revoke(world, ALICE).version == revoke(world, ALICE, since=NOW + 5).version == 1
    assert revoke(world, ALICE, since=NOW - 5).version == 2


def test_an_owner_cannot_revoke_itself_nor_whom_its_right_comes_from(world: World) -> None:
    grant_owner = world.chain(ALICE, parent=world.created.chain, issuer=world.machine, begin=NOW)
    alice = ALICE.with_chains(grant_owner)
    for who, target, since in (
        (world.machine, world.machine, NOW),
        (alice, alice, NOW),
        (alice, world.machine, NOW),
        (alice, world.machine, NOW + DAY),  # not even from later on: it would be gone itself by then
    ):
        with pytest.raises(FsError, match=r"cannot sign this revocation: it names bt1") as caught:
            revoke(world, target, by=who, since=since)
        assert "bt revoke --root" in str(caught.value)


def test_the_root_is_never_revoked(world: World) -> None:
    with pytest.raises(FsError, match="cannot be revoked"):
        revoke(world, world.root)


@pytest.mark.parametrize("names", [("photos",), ()])
def test_who_may_write_only_below_or_not_delegate_cannot_revoke(world: World, names: tuple[str, ...]) -> None:
    chain = world.chain(ALICE, *names)
    if not names:
        chain = granted_without_delegation(world)
    with pytest.raises(FsError, match=r"is not below|may not be delegated|cannot give") as caught:
        revoke(world, BOB, by=ALICE.with_chains(chain))
    assert caught.value.kind is Kind.FORBIDDEN


def granted_without_delegation(world: World) -> Chain:
    done = grant_access(
        world.store,
        world.machine,
        world.created.directory,
        ALICE.public,
        read=False,
        rights=Rights.WRITE,
        now=NOW,
        not_after=NOW + DAY,
        random=world.random,
    )
    assert done.chain is not None
    return done.chain


def test_a_clock_behind_the_last_list_signs_at_its_time(world: World) -> None:
    revoke(world, ALICE, now=NOW + 100)
    later = revoke(world, BOB, now=NOW)
    assert later.principals[BOB.principal].recorded == NOW + 100


# What a reader refuses of the store


def view_of(
    world: World, store: Store | None = None, memory: MemoryOfProcess | FileMemory | None = None
) -> RevocationView:
    return RevocationView(store or world.store, world.root.principal, memory)


def test_a_rolled_back_list_is_refused_and_who_was_revoked_stays_so(world: World) -> None:
    revoke(world, ALICE)
    old = copy_of(world)
    revoke(world, ALICE, store=old)
    revoke(world, BOB)
    memory = MemoryOfProcess()
    assert view_of(world, memory=memory).refresh(NOW)
    fresh = view_of(world, store=old, memory=memory)
    with pytest.raises(FsError, match=r"shows version 1 .* but version 2 was seen before") as caught:
        fresh.refresh(NOW)
    assert caught.value.kind is Kind.ROLLBACK
    assert fresh.current.revoked(BOB.principal, NOW)
    with pytest.raises(FsError, match="shows version 1"):
        fresh.refresh(NOW)


def test_a_list_that_has_gone_is_refused(world: World) -> None:
    empty = copy_of(world)
    revoke(world, ALICE)
    memory = MemoryOfProcess()
    view_of(world, memory=memory).refresh(NOW)
    with pytest.raises(FsError, match="missing from the store; version 1 was seen before") as caught:
        view_of(world, store=empty, memory=memory).refresh(NOW)
    assert caught.value.kind is Kind.ROLLBACK


def test_two_lists_of_one_version_are_refused(world: World) -> None:
    other = copy_of(world)
    revoke(world, ALICE)
    revoke(world, BOB, store=other)
    memory = MemoryOfProcess()
    view_of(world, memory=memory).refresh(NOW)
    with pytest.raises(FsError, match="two revocation lists of version 1") as caught:
        view_of(world, store=other, memory=memory).refresh(NOW)
    assert caught.value.kind is Kind.ROLLBACK


def test_a_longer_list_that_lacks_what_was_seen_is_refused(world: World) -> None:
    other = copy_of(world)
    revoke(world, ALICE)
    revoke(world, BOB, store=other)
    revoke(world, person(50), store=other)
    memory = MemoryOfProcess()
    view_of(world, memory=memory).refresh(NOW)
    with pytest.raises(FsError, match="takes back the revocation of bt1"):
        view_of(world, store=other, memory=memory).refresh(NOW)


def test_a_list_of_a_later_version_and_an_earlier_time_is_refused() -> None:
    seen = seen_list(NO_LIST.extended({}, {}), header(1, 9))
    fresh = seen_list(RevocationList(version=2), header(2, 8))
    check_succession(NOTHING_SEEN, fresh)
    with pytest.raises(IntegrityError, match="says it is older than version 1"):
        check_succession(seen, fresh)


def header(version: int, written: int) -> Header:
    return Header(block=bytes(16), scope=bytes(16), version=version, chain=bytes(32), written=written)


def copy_of(world: World) -> MemoryStore:
    """The store as it is now, to go on from differently."""
    copy = MemoryStore()
    World.make(copy)
    return copy


# The memory


def test_a_file_remembers_for_the_next_process(world: World, tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "data" / "revoked")
    revoke(world, ALICE)
    view_of(world, memory=memory).refresh(NOW)
    again = view_of(world, memory=FileMemory(tmp_path / "data" / "revoked"))
    assert again.current.revoked(ALICE.principal, NOW)
    assert again.confirmed == NOW
    assert (tmp_path / "data" / "revoked").stat().st_mode & 0o777 == 0o600


def test_an_older_process_does_not_overwrite_a_newer_memory(world: World, tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "revoked")
    revoke(world, ALICE)
    view_of(world, memory=memory).refresh(NOW)
    memory.save(Remembered(root=world.root.principal.digest, seen=NOTHING_SEEN, confirmed=NOW + 1))
    assert view_of(world, memory=memory).current.version == 1


def test_a_damaged_memory_is_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_bytes(b"what is this")
    with pytest.raises(FsError, match="cannot be kept in"):
        view_of(world, memory=FileMemory(tmp_path / "revoked"))


def test_the_memory_of_another_domain_is_refused(world: World, tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "revoked")
    view_of(world, memory=memory).refresh(NOW)
    other = World.make(seed=7)
    with pytest.raises(FsError, match="is not about"):
        view_of(other, memory=memory)


def test_who_listens_hears_of_a_newer_list_once(world: World) -> None:
    heard: list[int] = []
    view = view_of(world)
    view.listen(lambda: heard.append(view.current.version))
    assert not view.refresh(NOW)
    revoke(world, ALICE)
    assert [view.refresh(NOW), view.refresh(NOW)] == [True, False]
    assert heard == [1]


# The keyless server


class Server:
    """The check of every commit, with the list that the store has."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = NOW
        self.view = view_of(world)
        reader = DomainReader(world.store, world.root.principal, self.view)
        root = world.root.principal
        self.check = CommitChecker(world.store, reader, root, lambda: self.now, lambda: self.view.current)

    def send(
        self,
        record: RevocationList,
        writer: Identity,
        *,
        written: int | None = None,
        chain: Chain | None = None,
        scope: bytes | None = None,
    ) -> None:
        world = self.world
        reader = DomainReader(world.store, world.root.principal)
        block = revocations_block(world.root.principal)
        head = reader.head(block)
        previous = None if head is None else reader.verify(head)
        held = writer.chains[0] if writer.chains else Chain()
        draft = Draft(writer.signer, held if chain is None else chain, now=self.now if written is None else written)
        home = world.created.scope if scope is None else scope
        draft.put_public(block, home, record, previous)
        if reader.head(draft.writer.block) is None:
            draft.put_writer(home)
        commit = draft.commit(world.random(16))
        self.check(commit)
        assert isinstance(world.store.commit(commit), Committed)
        self.view.refresh(self.now)


@pytest.fixture
def server(world: World) -> Server:
    return Server(world)


def entry(by: Identity, since: int = NOW, recorded: int = NOW) -> Revoked:
    return Revoked(since=since, recorded=recorded, by=by.principal)


def refused(act: Callable[[], None], text: str, kind: Kind) -> None:
    with pytest.raises(BlocktreeError, match=text) as caught:
        act()
    assert caught.value.kind is kind


def test_the_server_takes_a_list_of_an_owner_and_the_next_one(server: Server) -> None:
    machine = server.world.machine
    first = NO_LIST.extended({ALICE.principal: entry(machine)}, {})
    server.send(first, machine)
    server.send(first.extended({BOB.principal: entry(server.world.root)}, {}), server.world.root)
    assert server.view.current.version == 2


def test_the_server_refuses_an_older_list_and_one_that_shrinks(server: Server) -> None:
    machine = server.world.machine
    server.send(NO_LIST.extended({ALICE.principal: entry(machine)}, {}), machine)
    refused(
        lambda: server.send(RevocationList(version=1), machine),
        "version 1 stands under version 2",
        Kind.INTEGRITY,
    )
    refused(lambda: server.send(RevocationList(version=2), server.world.root), "takes back", Kind.ROLLBACK)


def test_the_server_refuses_a_list_that_is_not_an_owners(server: Server) -> None:
    world = server.world
    record = NO_LIST.extended({BOB.principal: entry(ALICE)}, {})
    below = ALICE.with_chains(world.chain(ALICE, "photos"))
    refused(lambda: server.send(record, below), "is not below", Kind.FORBIDDEN)
    narrow = granted_without_delegation(world)
    refused(lambda: server.send(record, ALICE, chain=narrow), "cannot give cannot take", Kind.FORBIDDEN)


def test_the_server_refuses_entries_in_the_name_or_at_the_time_of_others(server: Server) -> None:
    machine = server.world.machine
    for wrong in (entry(server.world.root), entry(machine, recorded=NOW - 1)):
        record = NO_LIST.extended({BOB.principal: wrong}, {})
        refused(partial(server.send, record, machine), "another author or time", Kind.INTEGRITY)


def test_a_revoked_owner_revokes_nobody_any_more(server: Server) -> None:
    world = server.world
    first = NO_LIST.extended({world.machine.principal: entry(world.root)}, {})
    server.send(first, world.root)
    for written in (NOW, NOW - 60):  # dating back does not help: the server's clock counts as well
        more = first.extended({BOB.principal: entry(world.machine, recorded=written)}, {})
        act = partial(server.send, more, world.machine, written=written)
        refused(act, "was revoked on", Kind.FORBIDDEN)


def test_the_root_in_a_list_is_refused(server: Server) -> None:
    record = NO_LIST.extended({server.world.root.principal: entry(server.world.machine)}, {})
    refused(lambda: server.send(record, server.world.machine), "which cannot be revoked", Kind.INTEGRITY)


def test_a_list_in_another_scope_is_refused(world: World) -> None:
    writer = WriterRecord(chain=Chain(), public=world.root.public)
    with pytest.raises(IntegrityError, match="does not stand in the root scope"):
        check_list(
            RevocationList(version=1), header(1, NOW), writer, root=world.root.principal, scope=world.created.scope
        )


def test_a_list_is_neither_removed_nor_signed_anew_without_its_content(server: Server) -> None:
    world = server.world
    server.send(NO_LIST.extended({ALICE.principal: entry(world.machine)}, {}), world.machine)
    reader = DomainReader(world.store, world.root.principal)
    head = reader.head(revocations_block(world.root.principal))
    assert head is not None
    draft = Draft(world.machine.signer, world.created.chain, now=NOW)
    draft.rehome(reader.verify(head), world.created.scope, b"")
    refused(lambda: server.check(draft.commit(world.random(16))), "written as a whole", Kind.INTEGRITY)
