"""`LocalFs` against the model of a file system: with crashes, failing commits and forgetting in between."""

from __future__ import annotations

import copy
import itertools

from btfproto.domain import open_volume
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.provider import AttributeChanges, FileKind, FsProvider
from btfproto.store import Commit, CommitAnswer, MemoryStore
from btfproto.testing.domains import NOW, World
from btfproto.testing.provider import FileSystemMachine, Model
from btlib.kinds import Kind
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

DEFINITE = [Kind.NO_SPACE, Kind.FORBIDDEN]
UNKNOWN = [Kind.IO, Kind.UNREACHABLE, Kind.DEADLINE]


class FaultyStore(MemoryStore):
    """Fails commits when told to, before or after their effect."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Kind | None = None
        self.applies = False
        self.failed = False

    def commit(self, commit: Commit) -> CommitAnswer:
        if self.fault is None:
            return super().commit(commit)
        self.failed = True
        if self.applies:
            super().commit(commit)
        raise StoreError(self.fault, "as the test wants it")


class LocalFsMachine(FileSystemMachine):
    """Commits only when told to, so that the model knows what a crash leaves."""

    options = FsOptions(commit_interval=None)

    def open_provider(self) -> FsProvider:
        self.store = FaultyStore()
        self.world = World.make(self.store, directory_attributes=empty_directory_attributes)
        self.ticks = itertools.count(NOW * 10**9, 1000)
        return self.open_local()

    def open_local(self) -> LocalFs:
        volume = open_volume(self.store, self.world.machine, self.world.path(), NOW)
        return LocalFs(self.store, self.world.machine, volume, options=self.options, clock=lambda: next(self.ticks))

    @initialize()
    def open_it(self) -> None:
        super().open_it()
        self.fs.setattr(self.fs.root, AttributeChanges(mode=0o755))
        self.fs.sync()  # the writer's record is in the store now, so each fault hits a group
        self.durable = copy.deepcopy(self.model)
        self.in_doubt: Model | None = None

    @property
    def local(self) -> LocalFs:
        assert isinstance(self.fs, LocalFs)
        return self.fs

    @rule()
    def sync(self) -> None:
        super().sync()
        self.durable, self.in_doubt = copy.deepcopy(self.model), None

    @rule(kind=st.sampled_from(DEFINITE + UNKNOWN), applies=st.booleans())
    def fail_to_sync(self, kind: Kind, applies: bool) -> None:
        applies = applies and kind in UNKNOWN
        self.store.fault, self.store.applies, self.store.failed = kind, applies, False
        try:
            self.fs.sync()
        except FsError as error:
            assert error.kind is kind  # noqa: PT017 (it need not fail)
        assert self.store.failed or self.in_doubt is None
        self.store.fault = None
        if not self.store.failed:
            return
        doubt = self.in_doubt or copy.deepcopy(self.model)
        self.in_doubt = doubt if kind in UNKNOWN else None
        if applies:
            self.durable = doubt

    @rule()
    def crash(self) -> None:
        self.local.abandon()
        self.open_files.clear()
        self.fs = self.open_local()
        self.model, self.in_doubt = copy.deepcopy(self.durable), None
        self.walk(self.fs.root)

    @rule()
    def reopen(self) -> None:
        for handle, _ in self.open_files:
            self.fs.close(handle)
        self.open_files.clear()
        self.fs.shutdown()
        self.durable, self.in_doubt = copy.deepcopy(self.model), None
        self.crash()

    @rule()
    def forget(self) -> None:
        for node in self.model.nodes():
            self.fs.forget(node.inode)
        self.local.sectors.clear()
        self.local.nodes.clear()
        self.walk(self.fs.root)

    def walk(self, inode: int) -> None:
        """Let the file system know the inodes again, as a kernel would by looking names up."""
        for entry in self.fs.readdir(inode, 0, 1000, True):
            if entry.kind is FileKind.DIRECTORY:
                self.walk(entry.inode)


class CrampedMachine(LocalFsMachine):
    """With caches that hold almost nothing."""

    options = FsOptions(commit_interval=None, cache_bytes=20_000, cached_entries=0, idle_inodes=0)


TestLocalFs = LocalFsMachine.TestCase
TestLocalFs.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCramped = CrampedMachine.TestCase
TestCramped.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
