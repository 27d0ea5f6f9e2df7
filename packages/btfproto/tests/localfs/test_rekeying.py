"""Re-keying: all reads on under new keys, nothing under the old ones, and every interruption can be gone on with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from btfproto.domain import DomainReader, Volume, grant_access, open_volume, revoke_access
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions, LocalFs, Rekeyed, Rekeying, rekey_tree
from btfproto.localfs._rekeying import MAX_BLOCK_BYTES
from btfproto.provider import OpenFlags, Owner
from btfproto.store import Commit, CommitAnswer, MemoryStore, Store
from btfproto.store.check import CommitChecker
from btfproto.testing.domains import DAY, NOW, person
from btfproto.testing.provider import read_file, read_tree, write_file
from btlib import Identity, Principal, PublicKeys, ReadKey, Rights
from btlib.kinds import Kind

from .conftest import make_world

QUIET = FsOptions(commit_interval=None)
ME = Owner(1000, 1000)
ALICE, BOB = person(40), person(41)
PEOPLE = {one.principal: one.public for one in (ALICE, BOB)}


class FaultyStore:
    """A store that fails at its nth commit from now on, and takes what a server without keys would take."""

    def __init__(self, store: Store) -> None:
        self.left: int | None = None
        self.check: CommitChecker | None = None
        self.read_heads, self.read_records, self.scan = store.read_heads, store.read_records, store.scan
        self.watch, self.lease, self.status, self.close = store.watch, store.lease, store.status, store.close
        self._store = store

    def commit(self, commit: Commit) -> CommitAnswer:
        if self.left is not None:
            if not self.left:
                raise StoreError(Kind.IO, "the device failed")
            self.left -= 1
        if self.check is not None:
            self.check(commit)
        return self._store.commit(commit)


class Tree:
    """A domain with `/photos` and something of everything in it. Alice and Bob may read there."""

    def __init__(self) -> None:
        self.store = FaultyStore(MemoryStore())
        self.world = make_world(self.store)
        fs = self.open(self.world.machine)
        self.photos = fs.mkdir(fs.root, "photos", 0o755, ME).inode
        self.fill(fs, self.photos)
        write_file(fs, fs.root, "elsewhere", b"not concerned")
        fs.sync()
        self.key = self.key_of(fs, "photos")
        self.contents = read_tree(fs, fs.root)
        for who in (ALICE, BOB):
            self.grant(who)
        fs.shutdown()

    def fill(self, fs: LocalFs, directory: int) -> None:
        write_file(fs, directory, "small", b"s")
        write_file(fs, directory, "empty", b"")
        write_file(fs, directory, "large", bytes(range(256)) * 4000)
        fs.symlink(directory, "link", "small", ME)
        inner = fs.mkdir(directory, "2024", 0o700, ME).inode
        for number in range(400):
            write_file(fs, inner, f"picture {number}", b"p" * number)
        sparse, handle = fs.create(inner, "sparse", 0o644, ME, OpenFlags.WRITE)
        fs.write(handle, 10_000_000, b"end")
        fs.close(handle)
        fs.setxattr(sparse.inode, "user.a", b"value")

    def volume(self, who: Identity, *names: str) -> Volume:
        return open_volume(self.store, who, self.world.path(*names), NOW)

    def open(self, who: Identity, *names: str) -> LocalFs:
        return LocalFs(self.store, who, self.volume(who, *names), options=QUIET, clock=lambda: NOW * 10**9)

    def key_of(self, fs: LocalFs, *names: str) -> ReadKey:
        inode = fs.root
        for name in names:
            inode = fs.lookup(inode, name).inode
        stored = fs.inode_of(inode).store
        path = self.world.path(*names)
        return ReadKey(block=stored.block, key_epoch=stored.key_epoch, key=stored.key, path=path)

    def grant(self, who: Identity) -> None:
        grant_access(
            self.store,
            self.world.machine,
            self.key,
            who.public,
            read=True,
            rights=Rights(0),
            now=NOW,
            not_after=NOW + DAY,
            random=self.world.random,
        )

    def revoke(self, who: Identity) -> None:
        revoke_access(
            self.store,
            self.world.machine,
            self.world.root.principal,
            principals={who.principal: NOW},
            serials={},
            now=NOW,
            random=self.world.random,
        )

    def rekey(
        self,
        *,
        resume: bool = False,
        lazily: bool = False,
        keys_of: Callable[[Principal], PublicKeys | None] = PEOPLE.get,
        place: tuple[str, ...] = ("photos",),
    ) -> Rekeyed:
        fs = self.open(self.world.machine)
        top, above = self.key_of(fs, *place), self.key_of(fs, *place[:-1]) if place else None
        fs.shutdown()
        root = self.world.root.principal
        self.store.check = CommitChecker(self.store, DomainReader(self.store, root), root, lambda: NOW)
        work = Rekeying(
            store=self.store,
            identity=self.world.machine,
            reader=DomainReader(self.store, root),
            top=top,
            above=above,
            keys_of=keys_of,
            now=NOW,
            random=self.world.random,
            lazily=lazily,
        )
        return rekey_tree(work, resume=resume)

    def read(self) -> object:
        fs = self.open(self.world.machine)
        try:
            return read_tree(fs, fs.root)
        finally:
            fs.shutdown()

    def epochs(self) -> dict[str, int]:
        """Key epochs of what lies at and below `/photos`, by path."""
        fs = self.open(self.world.machine)
        found = {"photos": self.key_of(fs, "photos").key_epoch}
        pending = [(fs.lookup(fs.root, "photos").inode, "photos")]
        while pending:
            inode, path = pending.pop()
            for entry in fs.readdir(inode, 0, 10_000, plus=True):
                assert entry.attributes is not None
                below = f"{path}/{entry.name}"
                found[below] = fs.inode_of(entry.inode).store.key_epoch
                if fs.inode_of(entry.inode).directory is not None:
                    pending.append((entry.inode, below))
        fs.shutdown()
        return found


@pytest.fixture
def tree() -> Tree:
    return Tree()


def test_everything_reads_on_and_has_a_new_key(tree: Tree) -> None:
    done = tree.rekey()
    assert tree.read() == tree.contents
    assert set(tree.epochs().values()) == {1}
    assert (done.blocks, done.kept, done.unread) == (len(tree.epochs()), [], set())


def test_who_was_revoked_opens_nothing_with_its_old_key_and_others_read_on(tree: Tree) -> None:
    tree.revoke(BOB)
    tree.rekey()
    alice = tree.open(ALICE, "photos")
    assert read_file(alice, alice.lookup(alice.root, "small").inode) == b"s"
    alice.shutdown()
    with pytest.raises(FsError, match="holds no read capability"):
        tree.volume(BOB, "photos")
    old = Volume(
        root=tree.world.root.principal,
        path=tree.key.path,
        directory=tree.key.block,
        key=tree.key.key,
        key_epoch=0,
        scope=tree.world.created.scope,
        lineage=(tree.world.created.scope,),
        rest=(),
        chain=None,
    )
    with pytest.raises(FsError, match="its key was changed"):
        LocalFs(tree.store, BOB, old, options=QUIET)


def test_after_it_the_tree_is_written_as_before(tree: Tree) -> None:
    tree.rekey()
    fs = tree.open(tree.world.machine)
    photos = fs.lookup(fs.root, "photos").inode
    write_file(fs, photos, "small", b"changed")
    write_file(fs, photos, "new", b"n")
    fs.unlink(photos, "empty")
    fs.rename(photos, "link", fs.lookup(photos, "2024").inode, "moved")
    fs.sync()
    fs.shutdown()
    again = tree.open(tree.world.machine)
    photos = again.lookup(again.root, "photos").inode
    assert read_file(again, again.lookup(photos, "small").inode) == b"changed"
    again.shutdown()


def test_a_part_that_was_rekeyed_before_is_done_again(tree: Tree) -> None:
    tree.rekey()
    tree.rekey()
    assert set(tree.epochs().values()) == {2}
    assert tree.read() == tree.contents


@pytest.mark.parametrize("commits", range(6))
def test_an_interrupted_one_leaves_a_whole_tree_and_is_gone_on_with(tree: Tree, commits: int) -> None:
    tree.store.left = commits
    try:
        tree.rekey()
    except StoreError:
        tree.store.left = None
        assert tree.read() == tree.contents
        waiting = sum(epoch == 0 for epoch in tree.epochs().values())
        done = tree.rekey(resume=commits > 0)
        assert done.blocks == waiting
    tree.store.left = None
    assert tree.read() == tree.contents
    assert set(tree.epochs().values()) == {1}


def test_what_is_too_long_or_has_several_names_keeps_its_key_and_is_reported(tree: Tree) -> None:
    fs = tree.open(tree.world.machine)
    photos = fs.lookup(fs.root, "photos").inode
    fs.link(fs.lookup(photos, "small").inode, photos, "small too")
    write_file(fs, photos, "film", bytes(MAX_BLOCK_BYTES + 1).replace(b"\0", b"f"))
    fs.sync()
    contents = read_tree(fs, fs.root)
    fs.shutdown()
    done = tree.rekey()
    reasons = {path.names[-1]: reason for path, reason in done.kept}
    assert set(reasons) == {"small", "small too", "film"}
    assert "2 names" in reasons["small"]
    assert "longer than the 24 MiB" in reasons["film"]
    assert tree.read() == contents


def test_whose_keys_are_not_known_loses_its_readcap_and_is_named(tree: Tree) -> None:
    done = tree.rekey(keys_of=lambda who: None if who == BOB.principal else PEOPLE.get(who))
    assert done.unread == {BOB.principal}
    tree.volume(ALICE, "photos")
    with pytest.raises(FsError, match="holds no read capability"):
        tree.volume(BOB, "photos")


def test_who_may_not_write_above_cannot_rekey(tree: Tree) -> None:
    work = Rekeying(
        store=tree.store,
        identity=ALICE,
        reader=DomainReader(tree.store, tree.world.root.principal),
        top=tree.key,
        above=None,
        keys_of=PEOPLE.get,
        now=NOW,
        random=tree.world.random,
    )
    with pytest.raises(FsError) as refused:
        rekey_tree(work)
    assert refused.value.kind is Kind.FORBIDDEN


SHARED = FsOptions(shared=True, commit_interval=None, fresh_seconds=0.0)


def shared(tree: Tree, who: Identity, *names: str) -> LocalFs:
    return LocalFs(tree.store, who, tree.volume(who, *names), options=SHARED, clock=lambda: NOW * 10**9)


def test_who_has_the_tree_open_looks_names_up_again_and_reads_on(tree: Tree) -> None:
    fs = shared(tree, tree.world.machine)
    photos = fs.lookup(fs.root, "photos").inode
    before = read_file(fs, fs.lookup(photos, "large").inode)
    tree.rekey()
    photos = fs.lookup(fs.root, "photos").inode
    assert read_file(fs, fs.lookup(photos, "large").inode) == before
    write_file(fs, photos, "new", b"n")
    fs.shutdown()
    assert isinstance(tree.read(), dict)


def test_who_has_the_directory_itself_open_is_told_that_its_key_was_changed(tree: Tree) -> None:
    fs = shared(tree, ALICE, "photos")
    assert read_file(fs, fs.lookup(fs.root, "small").inode) == b"s"
    tree.rekey()
    with pytest.raises(FsError, match="its key was changed") as refused:
        fs.lookup(fs.root, "small")
    assert refused.value.kind is Kind.STALE
    fs.abandon()
    again = tree.open(ALICE, "photos")
    assert read_file(again, again.lookup(again.root, "small").inode) == b"s"
    again.shutdown()


def test_lazily_only_directories_change_and_what_is_made_then_is_hidden_from_who_was_revoked(tree: Tree) -> None:
    stolen = tree.volume(BOB, "photos")
    tree.revoke(BOB)
    done = tree.rekey(lazily=True)
    assert (done.blocks, done.waiting) == (2, 405)
    assert tree.read() == tree.contents
    fs = tree.open(tree.world.machine)
    inner = fs.lookup(fs.lookup(fs.root, "photos").inode, "2024").inode
    write_file(fs, inner, "new", b"under a new key")
    fs.sync()
    fs.shutdown()
    assert tree.epochs()["photos/2024"] == 1  # the directory that holds the new file's key
    with pytest.raises(FsError) as refused:
        LocalFs(tree.store, BOB, stolen, options=QUIET, clock=lambda: NOW * 10**9)
    assert refused.value.kind is Kind.STALE


def test_what_waits_since_a_lazy_one_is_gone_on_with(tree: Tree) -> None:
    tree.revoke(BOB)
    tree.rekey(lazily=True)
    done = tree.rekey(resume=True)
    assert (done.blocks, done.waiting, done.kept) == (405, 0, [])
    assert set(tree.epochs().values()) == {1}
    assert tree.read() == tree.contents


@pytest.mark.parametrize("commits", [0, 1, 2])
def test_a_lazy_one_that_was_interrupted_is_gone_on_with(tree: Tree, commits: int) -> None:
    tree.revoke(BOB)
    tree.store.left = commits
    try:
        tree.rekey(lazily=True)
    except StoreError:
        tree.store.left = None
        assert tree.read() == tree.contents
        tree.rekey(lazily=True, resume=commits > 0)
    tree.store.left = None
    assert tree.epochs()["photos/2024"] == 1
    assert tree.read() == tree.contents
