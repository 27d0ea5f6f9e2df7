"""`Session`: what one client has at the server: inodes, open files, locks, rights, and replies it may ask for again.

An inode is valid in a session only if the session was given it; so a client that attached to a subtree cannot reach
what lies elsewhere by guessing numbers. Thread-safe: calls of one session run in several threads.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.principals import Principal

from btfproto.errors import FsError
from btfproto.messages import files
from btfproto.provider import Handle, Inode, Lock, LockKind

from ._attachment import Attachment
from ._limits import SessionLimits, over
from ._shared import SharedProvider

log = logging.getLogger("btfproto.files")

WHOLE_FILE = 1 << 63

#: Seconds between two decisions for a client whose right to write has ended, and that goes on writing: what it is
#: granted meanwhile counts soon, and its tries cost little.
LAPSED_PAUSE = 3.0

Standing = tuple[int, int]  #: see `btlib.revocations.Revocations.standing`
NO_STANDING: Standing = (0, 0)


@dataclass(slots=True)
class OpenFile:
    """One handle of a session."""

    handle: Handle  #: the provider's
    inode: Inode
    owners: set[int] = field(default_factory=set)  #: lock owners that may hold locks through it


class Session:
    """See the module. `identity` is random and known to this client only."""

    def __init__(
        self,
        identity: bytes,
        principals: tuple[Principal, ...],
        attachment: Attachment,
        shared: SharedProvider,
        limits: SessionLimits,
        *,
        read_only: bool = False,
        standing: Standing = NO_STANDING,
    ) -> None:
        self.identity = identity
        self.read_only = read_only  #: as the client asked for it
        self.standing = standing  #: of the revocations under which the attachment was decided
        self._could_write = attachment.writable
        self._ask_again = 0.0  # from when on it is decided anew, once the right to write ended
        self.principals = principals
        self.attachment = attachment
        self.provider = attachment.provider
        self.shared = shared
        self._limits = limits
        self._lock = threading.Lock()
        self._inodes: set[Inode] = {attachment.inode}
        self._listed: OrderedDict[Inode, None] = OrderedDict()
        self._files: dict[int, OpenFile] = {}
        self._next_handle = 1
        self._replies: OrderedDict[int, Future[files.FsReply]] = OrderedDict()
        self._ended = False
        shared.keep([attachment.inode])
        shared.join(self)

    def __repr__(self) -> str:
        who = ", ".join(principal.short for principal in self.principals)
        return f"<Session of {who} at {self.attachment.path}>"

    # --- rights

    def lapsed(self, now: float) -> bool:
        """Whether the right to write has ended, and it is worth asking whether there is another: once in a while."""
        attachment = self.attachment
        until = attachment.writable_until
        if attachment.writable and (until is None or int(now) <= until):
            self._could_write = True
            return False
        if not self._could_write or now < self._ask_again:
            return False
        self._ask_again = now + LAPSED_PAUSE
        return True

    def decided_anew(self, attachment: Attachment, standing: Standing) -> None:
        """Somebody was revoked since, or a right ended, and this client may still attach: with these rights now."""
        self.attachment = replace(attachment, provider=self.attachment.provider, inode=self.attachment.inode)
        self.standing = standing

    def require_write(self, now: float) -> None:
        """Raises FsError (READ_ONLY) where the client may not, or no longer, write."""
        attachment = self.attachment
        until = attachment.writable_until
        if attachment.writable and (until is None or int(now) <= until):  # all of its last second belongs to it
            return
        who = ", ".join(map(str, self.principals))
        why = attachment.why_not or "its capability has expired"
        raise FsError(
            Kind.READ_ONLY,
            f"{who} may read {attachment.path} but not write there: {why}",
            f"ask an owner to run: bt grant {who} {attachment.path} write",
        )

    # --- inodes

    def inode(self, inode: Inode) -> Inode:
        """The inode itself, if it is this session's. Raises FsError (STALE)."""
        if inode in self._inodes or inode in self._listed:
            return inode
        raise FsError(Kind.STALE, f"inode {inode} was not given to this session", "look its name up again")

    def give(self, inode: Inode) -> None:
        """The client learns of an inode, and holds it until it forgets it."""
        with self._lock:
            if inode in self._inodes:
                return
            if len(self._inodes) >= self._limits.max_inodes:
                raise over("inodes", "max_inodes", self._limits.max_inodes)
            self._inodes.add(inode)
        self.shared.keep([inode])

    def give_listed(self, inodes: Iterable[Inode]) -> None:
        """The client learns of inodes from a listing; only the newest of these are remembered."""
        with self._lock:
            for inode in inodes:
                self._listed[inode] = None
                self._listed.move_to_end(inode)
            while len(self._listed) > self._limits.max_listed:
                self._listed.popitem(last=False)

    def forget(self, inodes: Iterable[Inode]) -> None:
        """The client does not refer to these any more."""
        with self._lock:
            mine = self._inodes.intersection(inodes) - {self.attachment.inode}  # each once, however often it is named
            self._inodes -= mine
        self.shared.release(list(mine))

    # --- open files

    @property
    def open_files(self) -> int:
        return len(self._files)

    @property
    def lock_owners(self) -> int:
        """Who may hold locks in it, counted for each file."""
        return sum(len(file.owners) for file in self._files.copy().values())

    def opened(self, handle: Handle, inode: Inode) -> int:
        """The session's number for a provider's handle; closes it where there are too many."""
        with self._lock:
            if len(self._files) < self._limits.max_handles and not self._ended:
                number = self._next_handle
                self._next_handle += 1
                self._files[number] = OpenFile(handle, inode)
                return number
        self.provider.close(handle)
        raise over("open files", "max_handles", self._limits.max_handles)

    def file(self, number: int) -> OpenFile:
        """Raises FsError (BAD_HANDLE)."""
        found = self._files.get(number)
        if found is None:
            raise FsError(Kind.BAD_HANDLE, f"handle {number} is not open in this session")
        return found

    def closed(self, number: int) -> OpenFile:
        """The same, and the number is free from now on."""
        with self._lock:
            found = self.file(number)
            del self._files[number]
        return found

    # --- locks

    def lock_owner(self, owner: int) -> int:
        """A client's lock owner as the provider knows it: no two sessions share one."""
        digest = hashlib.blake2b(owner.to_bytes(8, "little"), key=self.identity, digest_size=8).digest()
        return int.from_bytes(digest, "little")

    def note_lock(self, number: int, lock: Lock) -> None:
        """Remember who may hold locks, so that the end of the session ends them. Raises FsError (LIMIT)."""
        with self._lock:
            owners = self.file(number).owners
            if lock.kind is LockKind.UNLOCK:
                if lock.start == 0 and lock.end >= WHOLE_FILE:
                    owners.discard(lock.owner)
            elif lock.owner not in owners:
                if sum(len(file.owners) for file in self._files.values()) >= self._limits.max_locks:
                    raise over("locks", "max_locks", self._limits.max_locks)
                owners.add(lock.owner)

    # --- repetition

    def once(self, number: int, act: Callable[[], files.FsReply]) -> files.FsReply:
        """Do something at most once for a number: a repetition waits for the first one's reply and gets the same."""
        mine: Future[files.FsReply] = Future()
        with self._lock:
            reply = self._replies.setdefault(number, mine)
            while len(self._replies) > self._limits.kept_replies:
                self._replies.popitem(last=False)
        if reply is mine:
            try:
                mine.set_result(act())
            except BaseException as error:
                mine.set_exception(error)
        return reply.result()

    # --- end

    def end(self) -> None:
        """Unlock, close and forget everything; idempotent. Errors are the next owner's to find."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            opened, self._files = list(self._files.values()), {}
            inodes, self._inodes = list(self._inodes), set()
        self.shared.leave(self)
        for file in opened:
            self._abandon(file)
        self.shared.release(inodes)

    def _abandon(self, file: OpenFile) -> None:
        try:
            for owner in file.owners:
                self.provider.lock(file.handle, Lock(kind=LockKind.UNLOCK, owner=owner))
            self.provider.close(file.handle)
        except BlocktreeError as error:
            log.warning("%r: a file did not close: %s", self, error)
