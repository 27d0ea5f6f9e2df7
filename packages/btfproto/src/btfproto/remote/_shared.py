"""`SharedProvider`: what the sessions at one provider have to agree on.

Several clients use one `LocalFs`, which forgets an inode when told so; so it is told only when the last session forgot.
And what one client changes the others must hear of, as well as what the provider hears from the store.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from btfproto.provider import FsProvider, Inode

MAX_PENDING = 4096  #: changed inodes kept for one session; with more it is told to drop all it cached


class Listener(Protocol):
    """A session."""


class Mailbox:
    """Changed inodes that one session has not been told yet."""

    def __init__(self) -> None:
        self.inodes: set[Inode] = set()
        self.lost = False
        self.ring: Callable[[], None] | None = None

    def add(self, inodes: Iterable[Inode]) -> None:
        self.inodes.update(inodes)
        if len(self.inodes) > MAX_PENDING:
            self.inodes.clear()
            self.lost = True
        if self.ring is not None:
            self.ring()

    @property
    def empty(self) -> bool:
        return not self.inodes and not self.lost


class SharedProvider:
    """Thread-safe."""

    def __init__(self, provider: FsProvider) -> None:
        self.provider = provider
        self._lock = threading.Lock()
        self._kept: Counter[Inode] = Counter()
        self._mailboxes: dict[Listener, Mailbox] = {}

    @property
    def sessions(self) -> int:
        return len(self._mailboxes)

    def join(self, session: Listener) -> None:
        with self._lock:
            self._mailboxes[session] = Mailbox()

    def leave(self, session: Listener) -> None:
        with self._lock:
            self._mailboxes.pop(session, None)

    def keep(self, inodes: Iterable[Inode]) -> None:
        """One more session refers to these."""
        with self._lock:
            self._kept.update(inodes)

    def release(self, inodes: Sequence[Inode]) -> None:
        """One session fewer does; the provider is told of those that nobody refers to."""
        with self._lock:
            for inode in inodes:
                self._kept[inode] -= 1
            gone = [inode for inode in inodes if self._kept[inode] <= 0]
            for inode in gone:
                del self._kept[inode]
        for inode in gone:
            self.provider.forget(inode)

    def tell(self, inodes: Iterable[Inode], by: Listener) -> None:
        """One session changed these: tell the others."""
        if len(self._mailboxes) < 2:
            return
        with self._lock:
            for session, mailbox in self._mailboxes.items():
                if session is not by:
                    mailbox.add(inodes)

    def poll(self) -> None:
        """Take in what the provider heard from outside."""
        changed = self.provider.changes()
        if changed:
            with self._lock:
                for mailbox in self._mailboxes.values():
                    mailbox.add(changed)

    def listen(self, session: Listener, ring: Callable[[], None] | None) -> None:
        """Whom to wake when there is something for a session."""
        with self._lock:
            mailbox = self._mailboxes.get(session)
            if mailbox is not None:
                mailbox.ring = ring

    def take(self, session: Listener) -> tuple[list[Inode], bool] | None:
        """What a session has not been told yet, and whether some of it is lost; None where there is nothing."""
        with self._lock:
            mailbox = self._mailboxes.get(session)
            if mailbox is None or mailbox.empty:
                return None
            inodes, lost = sorted(mailbox.inodes), mailbox.lost
            mailbox.inodes, mailbox.lost = set(), False
            return inodes, lost
