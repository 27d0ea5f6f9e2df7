"""Two end-to-end clients and a thin one, a real server on loopback, and the model of one file system.

Clients take turns; who takes over either finds everything synced, or wants the lease and so has the other commit. Links
are lost at any moment, for good or for longer than a lease: then what was written meanwhile must be in `.recovered`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack

from btfproto._dial import Dialer
from btfproto.domain import DomainReader, open_volume
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs, empty_directory_attributes
from btfproto.localfs._rescue import RECOVERED
from btfproto.provider import AttributeChanges, FileKind, FsProvider, Inode, OpenFlags, Owner
from btfproto.remote import Attachment, FsClient, FsServer
from btfproto.store import LEASE_SECONDS, MemoryStore
from btfproto.store.check import CommitChecker
from btfproto.store.remote import StoreClient, StoreServer
from btfproto.testing.domains import World
from btfproto.testing.provider import FileSystemMachine, read_tree, write_file
from btlib import BlockPath
from btlib.kinds import Kind
from bttp import Peer, RootPolicy, Router
from bttp.blocking import BlockingLink, connect, serve
from bttp.errors import UnreachableError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from .conftest import SERVER

SHARED = FsOptions(shared=True, commit_interval=None, fresh_seconds=0.0)
ME = Owner(1000, 100)
WHO = st.integers(0, 2)  #: two end-to-end clients, and the thin one
END_TO_END = st.integers(0, 1)
PATIENCE = 20.0
AFTER_ITS_LEASE = LEASE_SECONDS + 1


class Net:
    """The server, its clock, and a dialer for each client that can be cut off."""

    def __init__(self, stack: ExitStack) -> None:
        self.late = 0.0
        self.cut: set[int] = set()
        store = MemoryStore(clock=lambda: time.monotonic() + self.late)
        now = int(time.time())
        self.world = World.make(store, now=now, directory_attributes=empty_directory_attributes)
        root = self.world.root.principal
        self.path = self.world.path(*SERVER)
        self.stores = stores = StoreServer(store, CommitChecker(store, DomainReader(store, root), root, time.time))
        volume = open_volume(stores.store, self.world.machine, self.world.path(), now)
        self.behind = LocalFs(stores.store, self.world.machine, volume, options=SHARED)
        stack.callback(self.behind.shutdown)
        files = FsServer(self._attach)
        stack.callback(files.close)
        router = Router()
        stores.add_to(router, self.path.child("store"))
        files.add_to(router, self.path.child("fs"))
        server = stack.enter_context(
            serve(["127.0.0.1:0"], self.world.machine, router, policy=RootPolicy([self.world.root.principal]))
        )
        self._endpoint = str(server.endpoints[0])
        self.dialers = [Dialer(self._dial(number), self._endpoint, patience=PATIENCE) for number in range(3)]
        self.clients: list[FsProvider] = [self._end_to_end(0), self._end_to_end(1)]
        self.clients.append(FsClient(self.dialers[2], self.path.child("fs"), self.world.path()))
        for client in self.clients:
            stack.callback(client.shutdown)

    def _attach(self, path: BlockPath, peer: Peer, read_only: bool) -> Attachment:
        return Attachment(provider=self.behind, inode=self.behind.root, path=path, writable=True)

    def _dial(self, number: int) -> Callable[[float], BlockingLink]:
        def dial(timeout: float) -> BlockingLink:
            if number in self.cut:
                raise UnreachableError("the test cut it off")
            root = self.world.root.principal
            return connect(self._endpoint, self.world.machine, root=root, server=self.path, timeout=timeout)

        return dial

    def _end_to_end(self, number: int) -> LocalFs:
        store = StoreClient(self.dialers[number], self.path.child("store"))
        volume = open_volume(store, self.world.machine, self.world.path(), int(time.time()))
        return LocalFs(store, self.world.machine, volume, options=SHARED)

    def lose_link(self, number: int) -> None:
        self.dialers[number].link().close()

    def cut_off(self, number: int) -> None:
        self.cut.add(number)
        self.dialers[number].patience = 0.0
        self.lose_link(number)

    def heal(self, number: int) -> None:
        self.cut.discard(number)
        self.dialers[number].patience = PATIENCE


class SharedMachine(FileSystemMachine):
    """`fs` is the client whose turn it is."""

    def open_provider(self) -> FsProvider:
        self.stack = ExitStack()
        self.net = Net(self.stack)
        self.turn = 0
        return self.net.clients[0]

    def close_provider(self) -> None:
        pass

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "stack"):
                self.stack.close()

    @initialize()
    def open_it(self) -> None:
        super().open_it()
        self.fs.setattr(self.fs.root, AttributeChanges(mode=0o700))
        self.model.root.mode = 0o700
        self.fs.sync()

    @rule(who=WHO)
    def sync_and_pass_on(self, who: int) -> None:
        self.fs.sync()
        self._take_over(who)
        self.compare()

    @rule(who=WHO, mode=st.integers(0o700, 0o777))
    def take_the_lease(self, who: int, mode: int) -> None:
        """The other has changes that nobody asked it to commit; they are there all the same."""
        self._close_files()
        self.net.clients[who].setattr(self.fs.root, AttributeChanges(mode=mode))
        self.model.root.mode = mode
        self._take_over(who)

    @rule(who=WHO)
    def lose_a_link(self, who: int) -> None:
        self.net.lose_link(who)

    @rule(who=END_TO_END, other=WHO, existing=st.integers(0, 1000))
    def away_for_longer_than_a_lease(self, who: int, other: int, existing: int) -> None:
        if other == who:
            return
        self.fs.sync()
        away = self._take_over(who)
        assert isinstance(away, LocalFs)
        away.setattr(away.root, AttributeChanges(mode=self.model.root.mode))  # it has the lease now
        away.sync()
        before = copy.deepcopy(self.model)
        written = self._write_in_vain(existing)
        self.net.cut_off(who)
        self.net.late += AFTER_ITS_LEASE
        self.model = before
        self._take_over(other)
        self.fs.setattr(self.fs.root, AttributeChanges(mode=0o711))
        self.model.root.mode = 0o711
        self.fs.sync()
        self.net.heal(who)
        self._find_out(away)
        away.finish_rescues()
        self._check_recovered(written)
        self.compare()
        self._take_over(who)
        self.compare()

    def _write_in_vain(self, existing: int) -> dict[str, bytes]:
        """A new file and, where there is one, a changed one; by names below the root."""
        written = {}
        children = self.model.root.children.items()  # a file of several names could be kept under any of them
        files = {name: node for name, node in children if node.kind is FileKind.FILE and node.links == 1}
        if files:
            name = sorted(files)[existing % len(files)]
            content = self.bytes_of(5000)
            handle = self.fs.open(files[name].inode, OpenFlags.WRITE)
            self.fs.write(handle, 0, content)
            self.fs.close(handle)
            written[name] = content + bytes(files[name].content[5000:])
        written["in vain"] = self.bytes_of(20_000)
        write_file(self.fs, self.fs.root, "in vain", written["in vain"])
        return written

    def _find_out(self, away: LocalFs) -> None:
        """It hears that its lease was given away: in this call, or in its own thread before."""
        try:
            away.sync()
        except FsError as error:
            assert error.kind in (Kind.FENCED, Kind.CONFLICT)  # noqa: PT017 - its thread may have been told

    def _check_recovered(self, written: dict[str, bytes]) -> None:
        top = self.fs.lookup(self.fs.root, RECOVERED).inode
        (entry,) = self.fs.readdir(top, 0, 100)
        assert read_tree(self.fs, self.fs.lookup(top, entry.name).inode) == written
        self._remove(self.fs.root, RECOVERED)
        self.fs.sync()

    def _remove(self, parent: Inode, name: str) -> None:
        inode = self.fs.lookup(parent, name).inode
        for entry in self.fs.readdir(inode, 0, 1000):
            if entry.kind is FileKind.DIRECTORY:
                self._remove(inode, entry.name)
            else:
                self.fs.unlink(inode, entry.name)
        self.fs.rmdir(parent, name)

    def _take_over(self, who: int) -> FsProvider:
        self._close_files()
        self.turn, self.fs = who, self.net.clients[who]
        self._walk(self.fs.root)
        return self.fs

    def _close_files(self) -> None:
        for handle, _ in self.open_files:
            self.fs.close(handle)
        self.open_files.clear()

    def _walk(self, inode: Inode) -> None:
        """Let the client know the inodes, as a kernel would by looking names up."""
        for entry in self.fs.readdir(inode, 0, 1000, True):
            if entry.kind is FileKind.DIRECTORY:
                self._walk(entry.inode)


TestShared = SharedMachine.TestCase
TestShared.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
