"""Attaching by grants: who sees what through a server that holds the keys."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from btfproto.domain import (
    DomainReader,
    Draft,
    Grants,
    GroupKeeper,
    grant_access,
    grants_block,
    open_volume,
    revoke_access,
)
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import FileKind, OpenFlags, Owner
from btfproto.remote import Attachment, VolumeAttacher
from btfproto.testing.domains import World, person
from btlib import BlockPath, Identity, Kind, ReadKey, Rights, Suite, seal_readcap
from bttp import Peer

from .conftest import peer_of

NOW = int(time.time())
ME = Owner(1000, 1000)
QUIET = FsOptions(commit_interval=None)
NOTHING = Rights(0)


class Tree:
    """A domain with `/photos/2024` and `/music`, and the server's attacher."""

    def __init__(self) -> None:
        self.world = World.make(now=NOW, directory_attributes=empty_directory_attributes)
        self.fs = LocalFs(
            self.world.store,
            self.world.machine,
            open_volume(self.world.store, self.world.machine, self.world.path(), NOW),
            options=QUIET,
        )
        self.photos = self.fs.mkdir(self.fs.root, "photos", 0o755, ME).inode
        self.fs.mkdir(self.photos, "2024", 0o755, ME)
        self.fs.mkdir(self.fs.root, "music", 0o755, ME)
        self.fs.sync()
        self.attacher = VolumeAttacher(self.world.store, self.world.machine, options=QUIET)

    def key(self, inode: int, *names: str) -> ReadKey:
        stored = self.fs.inode_of(inode).store
        return ReadKey(block=stored.block, key_epoch=stored.key_epoch, key=stored.key, path=self.world.path(*names))

    def grant(
        self, who: Identity, target: ReadKey, rights: Rights = NOTHING, *, read: bool = True, seconds: int = 3600
    ) -> None:
        grant_access(
            self.world.store,
            self.world.machine,
            target,
            who.public,
            read=read,
            rights=rights,
            now=NOW,
            not_after=NOW + seconds,
            random=os.urandom,
        )

    def attach(self, who: Identity, *names: str, read_only: bool = False) -> Attachment:
        return self.attacher(self.world.path(*names), peer_of(who), read_only)


@pytest.fixture
def tree() -> Iterator[Tree]:
    tree = Tree()
    yield tree
    tree.attacher.close()
    tree.fs.shutdown()


def test_the_machine_itself_attaches_the_root_to_write(tree: Tree) -> None:
    attachment = tree.attach(tree.world.machine)
    assert attachment.writable
    assert attachment.inode == tree.fs.root


def test_a_principal_without_a_grant_is_told_who_what_and_the_next_command(tree: Tree) -> None:
    stranger = person(9)
    with pytest.raises(FsError) as refused:
        tree.attach(stranger, "photos")
    assert refused.value.kind is Kind.FORBIDDEN
    path = tree.world.path("photos")
    assert str(refused.value) == (
        f"{stranger.principal} holds no read capability for {path}; "
        f"ask an owner to run: bt grant {stranger.principal} {path} read"
    )


def test_a_read_grant_opens_the_directory_and_what_is_below_but_nothing_else(tree: Tree) -> None:
    bob = person(9)
    tree.grant(bob, tree.key(tree.photos, "photos"))
    attachment = tree.attach(bob, "photos", "2024")
    assert not attachment.writable
    assert str(bob.principal) in attachment.why_not
    for names in ((), ("music",)):
        with pytest.raises(FsError, match="no read capability"):
            tree.attach(bob, *names)


def test_a_member_of_a_group_attaches_by_what_the_group_was_granted_until_it_is_put_out(tree: Tree) -> None:
    alice, bob = person(9), person(10)

    def keeper(moment: int) -> GroupKeeper:
        world = tree.world
        return GroupKeeper(
            store=world.store,
            identity=world.machine,
            root=world.root.principal,
            now=moment,
            random=os.urandom,
        )

    group = keeper(NOW - 10).create("friends", Suite.ED25519_X25519)
    group = keeper(NOW - 10).add(group, [alice.public, bob.public], NOW + 3600).group
    grant_access(
        tree.world.store,
        tree.world.machine,
        tree.key(tree.photos, "photos"),
        group.membership.terms.keys,
        read=True,
        rights=Rights.WRITE,
        now=NOW,
        not_after=NOW + 3600,
        may_delegate=True,
        random=os.urandom,
    )
    keeper(NOW - 9).issue(group)
    assert tree.attach(alice, "photos").writable
    keeper(NOW - 8).remove(group, {bob.principal})
    assert tree.attach(alice, "photos").writable
    with pytest.raises(FsError, match="no read capability"):
        tree.attach(bob, "photos")


def test_what_does_not_exist_is_told_only_to_those_who_may_look(tree: Tree) -> None:
    bob = person(9)
    with pytest.raises(FsError) as refused:
        tree.attach(bob, "photos", "nothing")
    assert refused.value.kind is Kind.FORBIDDEN
    tree.grant(bob, tree.key(tree.photos, "photos"))
    with pytest.raises(FsError) as refused:
        tree.attach(bob, "photos", "nothing")
    assert refused.value.kind is Kind.NOT_FOUND


def test_a_file_cannot_be_attached(tree: Tree) -> None:
    tree.fs.create(tree.fs.root, "file", 0o644, ME, OpenFlags.WRITE)
    tree.fs.sync()
    tree.attacher.close()
    with pytest.raises(FsError) as refused:
        tree.attach(tree.world.machine, "file")
    assert refused.value.kind is Kind.NOT_DIRECTORY


def test_a_write_grant_lets_write_there_and_only_read_above(tree: Tree) -> None:
    bob = person(9)
    tree.grant(bob, tree.key(tree.fs.root))
    tree.grant(bob, tree.key(tree.photos, "photos"), Rights.WRITE)
    tree.attacher.close()
    assert tree.attach(bob, "photos").writable
    assert not tree.attach(bob).writable
    assert not tree.attach(bob, "photos", read_only=True).writable


def test_a_chain_without_a_readcap_opens_nothing(tree: Tree) -> None:
    bob = person(9)
    bob = bob.with_chains(tree.world.chain(bob, begin=NOW - 60, end=NOW + 3600))
    with pytest.raises(FsError, match="no read capability"):
        tree.attach(bob, "photos")


def test_of_several_rights_to_write_the_one_that_lasts_longest_counts(tree: Tree) -> None:
    alice = person(40)
    for seconds in (3600, 9000, 600):
        tree.grant(alice, tree.key(tree.photos, "photos"), Rights.WRITE, seconds=seconds)
    assert tree.attach(alice, "photos").writable_until == NOW + 9000


def test_a_readcap_that_a_writer_below_recorded_for_himself_counts_for_nothing(tree: Tree) -> None:
    """The server cannot open a readcap, so it must not believe the block id in one."""
    mallory, world = person(9), tree.world
    chain = world.chain(mallory, "photos", rights=Rights.WRITE, begin=NOW - 60, end=NOW + 3600)
    root = tree.key(tree.fs.root)
    forged = seal_readcap(mallory.public, block=root.block, key_epoch=0, key=bytes(32), path=root.path)
    draft = Draft(mallory.signer, chain, now=NOW)
    grants = Grants(principal=mallory.principal, readcaps=(forged,))
    draft.put_public(grants_block(world.created.scope, mallory.principal), world.created.scope, grants)
    draft.put_writer(world.created.scope)
    world.store.commit(draft.commit(os.urandom(16)))
    with pytest.raises(FsError, match="no read capability"):
        tree.attach(mallory)


def test_an_anonymous_client_attaches_nothing(tree: Tree) -> None:
    with pytest.raises(FsError) as refused:
        tree.attacher(tree.world.path(), Peer(), False)
    assert refused.value.kind is Kind.UNAUTHENTICATED


def test_the_path_of_another_root_is_refused(tree: Tree) -> None:
    with pytest.raises(FsError):
        tree.attacher(BlockPath(person(77).principal), peer_of(tree.world.machine), False)


def test_clients_of_one_volume_share_one_file_system(tree: Tree) -> None:
    first, second = tree.attach(tree.world.machine), tree.attach(tree.world.machine, "photos")
    assert first.provider is second.provider
    assert first.provider.getattr(second.inode).kind is FileKind.DIRECTORY


def test_a_server_without_a_key_says_what_it_lacks(tree: Tree) -> None:
    server = person(20)
    attacher = VolumeAttacher(tree.world.store, server, options=QUIET)
    with pytest.raises(FsError, match="this server holds no key") as refused:
        attacher(tree.world.path(), peer_of(tree.world.machine), False)
    assert str(server.principal) in str(refused.value)


def revoke(tree: Tree, *people: Identity, serials: tuple[bytes, ...] = (), since: int = NOW - 1) -> None:
    revoke_access(
        tree.world.store,
        tree.world.root,
        tree.world.root.principal,
        principals={one.principal: since for one in people},
        serials=dict.fromkeys(serials, since),
        now=NOW,
        random=os.urandom,
    )


def test_a_revoked_principal_attaches_nowhere_and_is_told_since_when(tree: Tree) -> None:
    bob = person(9)
    tree.grant(bob, tree.key(tree.photos, "photos"))
    tree.attach(bob, "photos")
    revoke(tree, bob)
    with pytest.raises(FsError, match=r"holds no read capability for .* \(bt1.* was revoked on") as refused:
        tree.attach(bob, "photos")
    assert refused.value.kind is Kind.FORBIDDEN


def test_a_revoked_writecap_leaves_reading(tree: Tree) -> None:
    bob = person(9)
    tree.grant(bob, tree.key(tree.photos, "photos"), Rights.WRITE)
    tree.attacher.close()
    reader = DomainReader(tree.world.store, tree.world.root.principal)
    (chain,) = reader.grants(tree.world.created.scope, bob.principal)[1].chains
    assert tree.attach(bob, "photos").writable
    revoke(tree, serials=(chain.caps[-1].serial,))
    attachment = tree.attach(bob, "photos")
    assert not attachment.writable
    assert "was revoked on" in attachment.why_not


def test_what_a_revoked_owner_granted_afterwards_counts_for_nothing(tree: Tree) -> None:
    """A store that does not check, or helps, may take the record; the attacher does not."""
    bob, target = person(9), tree.key(tree.photos, "photos")
    tree.grant(person(10), target)
    moment = NOW + 3000  # to come, so that the attacher itself still may
    revoke(tree, tree.world.machine, since=moment)
    scope, machine = tree.world.created.scope, tree.world.machine
    sealed = seal_readcap(bob.public, block=target.block, key_epoch=target.key_epoch, key=target.key, path=target.path)
    for written, allowed in ((moment - 1, True), (moment, False)):
        draft = Draft(machine.signer, tree.world.created.chain, now=written)
        block = grants_block(scope, bob.principal)
        previous = DomainReader(tree.world.store, tree.world.root.principal).grants(scope, bob.principal)[0]
        draft.put_public(block, scope, Grants(principal=bob.principal, readcaps=(sealed,)), previous=previous)
        tree.world.store.commit(draft.commit(os.urandom(16)))
        if allowed:
            tree.attach(bob, "photos")
        else:
            with pytest.raises(FsError, match=r"without the right to: .* was revoked on"):
                tree.attach(bob, "photos")
