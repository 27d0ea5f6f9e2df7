"""What others did: taking over newer heads, and giving up changes that were too late.

Others' commits are heard of as events of the store. `hear` fetches those since the last time and reloads what they
changed, so after it everything in memory is as new as the store was when it was asked. Whoever holds the lease of a
scope need not ask: nobody else can commit there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from btlib.errors import BlocktreeError, IntegrityError
from btlib.kinds import Kind

from ..domain import unverified_header
from ..errors import FsError
from ..provider import Inode as InodeNumber
from ..revocations import RevocationView
from ..store import Change, Events, Found, Head, HeadAnswer, Unchanged
from ._blocks import StoredBlock
from ._inode import Inode, number_of
from ._metadata import Metadata
from ._names import name_bytes
from ._nodes import entry_block, entry_key

HOLDER_SIZE = 16
STALE_TRIES = 16  #: how often others may change what is just being read before the caller is told

R = TypeVar("R")
RELOAD_BATCH = 1024  #: heads asked for at once
DEEPEST = 1 << 32


class Coherence(Metadata):
    """Keeps memory in step with the store."""

    def start_coherence(self, revocations: RevocationView) -> None:
        """Raises FsError. Called before anything is loaded, so that nothing is missed."""
        self.revocations = revocations
        self.heads.follow(revocations)
        self.holder = self.random(HOLDER_SIZE)
        self.wanted: set[bytes] = set()
        self._foreign: dict[int, None] = {}
        self._hearing = threading.Lock()  # taken before the core's lock, never after
        self._heard = time.monotonic()
        self._compare_store()
        self._cursor = self.events(0, 0.0).cursor if self.options.shared else 0
        self._ask_revocations()
        self._judged_by = revocations.current

    def changes(self) -> Sequence[InodeNumber]:
        with self.mutex:
            found, self._foreign = list(self._foreign), {}
            return found

    def events(self, cursor: int, timeout: float) -> Events:
        """Raises FsError."""
        try:
            events = self.store.watch(cursor, self.holder, timeout)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error
        if self.store_pin.check_events(cursor, events):
            self._compare_store()
        return events

    def _compare_store(self) -> None:
        try:
            self.store_pin.start()
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error

    def refresh(self, age: float = 0.0) -> None:
        """Hear of others' changes unless that was less than `age` seconds ago. Never with the lock held."""
        asked = time.monotonic()
        if asked - self._heard <= age:
            return
        with self._hearing:
            if self._heard < asked:  # else somebody asked the store after we came: that serves us too
                self.hear(0.0)

    def heard_since(self, reloads: int) -> bool:
        if self.options.shared:
            self.refresh()
        return self.reloads != reloads

    def retrying(self, call: Callable[[], R], *kinds: Kind) -> R:
        """Make a call; again, as long as it fails with one of these kinds and others changed something meanwhile."""
        for _ in range(STALE_TRIES):
            heard = self.reloads
            try:
                return call()
            except FsError as error:
                if error.kind not in kinds or not self.heard_since(heard):
                    raise
        return call()

    def hear(self, timeout: float) -> None:
        """Take over what others committed. Raises FsError."""
        while True:
            asked = time.monotonic()
            events = self.events(self._cursor, timeout)
            self.take_in(events)
            if not events.changes:
                self._heard = max(self._heard, asked)
                return
            timeout = 0.0

    def take_in(self, events: Events) -> None:
        """Reload what some events changed. Raises FsError."""
        self.wanted.update(events.wanted)
        if events.lost or any(change.block == self.revocations.block for change in events.changes):
            self._ask_revocations()
        if self.revocations.current is not self._judged_by:
            self._judge_anew()
        if events.lost:
            with self.mutex:
                stale = list(self.table.values())
        else:
            stale = self._outdated(events.changes)
        self._reload_all(stale)
        self._cursor = events.cursor if events.lost else max(self._cursor, events.cursor)

    def _ask_revocations(self) -> None:
        try:
            self.revocations.refresh(self.clock() // 10**9)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error

    def _judge_anew(self) -> None:
        """Somebody was revoked: what it wrote since is not shown any more, and who may write is asked again."""
        self._judged_by = self.revocations.current
        with self.mutex:
            self.writable.clear()
            self.writers.forget()
            known = list(self.table.values())
        self._reload_all(known, force=True)

    def _outdated(self, changes: Iterable[Change]) -> list[Inode]:
        with self.mutex:
            found: dict[int, Inode] = {}
            for change in changes:
                inode = self.table.get(number_of(change.block))
                if inode is not None and inode.store.version < change.version and not self._ours(inode):
                    found[inode.number] = inode
            return list(found.values())

    def _ours(self, inode: Inode) -> bool:
        """Whether it has changes of ours, which a newer head must not sweep away: the commit will tell."""
        return inode.frozen or inode.number in self.dirty

    def _reload_all(self, inodes: list[Inode], force: bool = False) -> None:
        """Ask for newer heads; `force`: what is known of these is wrong even where the head is the same."""
        inodes = sorted(inodes, key=_depth)
        for start in range(0, len(inodes), RELOAD_BATCH):
            batch = inodes[start : start + RELOAD_BATCH]
            answers = self.read_heads([(i.store.block, 0 if force else i.store.version) for i in batch])
            with self.mutex:
                for inode, answer in zip(batch, answers, strict=True):
                    if not isinstance(answer, Unchanged) and not self._ours(inode):
                        self._reload(inode, answer)

    def discard(self, error: FsError) -> None:
        dirty, self.dirty, self.dirty_bytes = self.dirty, {}, 0
        self._reload_all(list(dirty.values()), force=True)
        for inode in dirty.values():
            inode.error = error
        self._reload_all([inode for inode in self.table.values() if inode.number not in dirty])

    def _reload(self, inode: Inode, answer: HeadAnswer) -> None:
        """Drop what is known and take over what the store has now. Under the lock."""
        self._foreign[inode.number] = None
        self.reloads += 1
        inode.content, inode.shown, inode.group, inode.cache_base = None, None, 0, 0
        old = inode.store
        if not isinstance(answer, Found) or answer.head.removed:
            self._lose(inode, FsError(Kind.STALE, f"{inode.path} was removed by another client"))
            return
        above = inode.parent.store.scope if inode.parent is not None else self.volume.scope
        try:
            key = self._key_now(inode, answer.head)
            fresh = self.make_inode(StoredBlock(old.block, key, above), inode.kind, inode.parent, inode.name)
            fresh.store.version = old.version  # it must not go back in time
            self.adopt(fresh, answer)
        except FsError as error:
            self._lose(inode, error)
            return
        inode.take_over(fresh)
        if key != old.key:
            self.renamed_by_others(inode, old)

    def _key_now(self, inode: Inode, head: Head) -> bytes:
        """The key that its entry has, where its epoch is another one; its directory was reloaded before."""
        old, parent = inode.store, inode.parent
        if parent is None or parent.directory is None or not parent.links:
            return old.key
        with suppress(IntegrityError):  # else it is told by who verifies the head
            if unverified_header(head).key_epoch == old.key_epoch:
                return old.key
        record = parent.directory.find(name_bytes(inode.name), inode.name)
        return entry_key(record) if record is not None and entry_block(record) == old.block else old.key

    def _lose(self, inode: Inode, error: FsError) -> None:
        """An object that is not there any more: it has to be found anew."""
        inode.error = error
        inode.links = 0
        if inode is not self.attached:
            self.table.pop(inode.number, None)


def _depth(inode: Inode) -> int:
    """In which order to reload: directories before what they name, from the top down."""
    if inode.directory is None:
        return DEEPEST
    depth, above = 0, inode.parent
    while above is not None:
        depth, above = depth + 1, above.parent
    return depth
