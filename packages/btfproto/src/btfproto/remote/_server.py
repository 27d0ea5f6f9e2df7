"""`FsServer`: serves file systems to clients by messages.

    <server path>/fs            every request but `Changes`, in threads of this service
    <server path>/fs/changes    `Changes`, in the event loop: a long poll must not hold a thread

Who may attach where, and with which rights, is the attacher's decision; afterwards every call is checked against its
session. When somebody was revoked, the attacher is asked again at the next call of each session: rights end there, and
so does the session of who may not even read any more. It is asked again, too, when a right to write has ended: there
may be another. The server knows no keys; the providers behind it do.

The service has threads of its own, since a call may wait for a lease that an end-to-end client holds, and that client
can give it back only while the store service answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.revocations import NO_REVOCATIONS, Revocations
from bttp import Request, Router

from btfproto._bell import Bell
from btfproto.errors import FsError
from btfproto.messages import Failed, MessageError, decode_fs_call, encode_fs_reply, failure_of, files

from ._attachment import Attacher
from ._limits import SessionLimits
from ._session import Session, Standing
from ._sessions import SessionTable
from ._verbs import ONCE, VERBS, needs_write

log = logging.getLogger("btfproto.files")

CHANGES = "changes"  #: the name below the service where long polls go
WORKERS = 8  #: threads of the service; more only fight for the interpreter
NO_MORE = (Kind.FORBIDDEN, Kind.UNAUTHENTICATED, Kind.EXPIRED, Kind.NOT_FOUND, Kind.NOT_DIRECTORY, Kind.STALE)
POLL_SECONDS = 1.0  #: how often a waiting client's provider is asked for what it heard from the store

Parts = list[bytes | memoryview]


class FsServer:
    """The file service. Thread-safe. It does not shut its providers down; `close` ends all sessions."""

    def __init__(
        self,
        attach: Attacher,
        *,
        limits: SessionLimits = SessionLimits(),  # noqa: B008 - a frozen value
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        workers: int = WORKERS,
        revocations: Callable[[], Revocations] = lambda: NO_REVOCATIONS,
    ) -> None:
        self._attach = attach
        self._revocations = revocations
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="btfproto-files")
        self._clock = clock
        self.sessions = SessionTable(limits, random)
        self._bells: set[Bell] = set()  # of the long polls under way; changed in the event loop only
        self._draining = False

    def add_to(self, router: Router, service: BlockPath) -> None:
        """Listen at `service`."""
        router.add(service, self.handle)
        router.add(service.child(CHANGES), self.changes)

    def drain(self) -> None:
        """Answer all long polls now, and later ones at once: the server is about to stop. From any thread."""
        self._draining = True
        for bell in tuple(self._bells):
            bell.ring()

    def close(self) -> None:
        """End all sessions and the threads; idempotent. Nothing must be served any more."""
        self.sessions.end_all()
        self._workers.shutdown()

    def figures(self) -> dict[str, int]:
        """How much it has to remember, for people."""
        return self.sessions.figures()

    async def handle(self, request: Request) -> Parts:
        """Everything but `Changes`."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, self._respond, request)

    def _respond(self, request: Request) -> Parts:
        try:
            reply = self._answer(request)
        except BlocktreeError as error:
            reply = failure_of(error)
        return encode_fs_reply(reply)

    async def changes(self, request: Request) -> Parts:
        """Answer when others changed something, or when the time is over."""
        try:
            call = decode_fs_call(request.body)
            if not isinstance(call.request, files.Changes):
                raise MessageError("only Changes is answered here")
            session = self.sessions.find(call.session, request)
            if session is None:
                return encode_fs_reply(files.NoSession())
            if session.standing != self._standing():
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._workers, self._check_standing, session, request)
            return encode_fs_reply(await self._wait_changes(session, call.request.milliseconds))
        except BlocktreeError as error:
            return encode_fs_reply(failure_of(error))

    def _answer(self, request: Request) -> files.FsReply:
        call = decode_fs_call(request.body)
        message = call.request
        if isinstance(message, files.Attach):
            return self._open(message, request)
        session = self.sessions.find(call.session, request)
        if session is None:
            return files.NoSession()
        self._check_standing(session, request, needs_write(message) and session.lapsed(self._clock()))
        if isinstance(message, files.Detach):
            session.provider.sync()
            self.sessions.end(session)
            return files.Done()
        if type(message) in ONCE:
            return session.once(call.number, lambda: self._act(session, message))
        return self._act(session, message)

    def _act(self, session: Session, message: files.FsRequest) -> files.FsReply:
        verb = VERBS.get(type(message))
        if verb is None:
            return Failed(kind=Kind.NO_SUCH_TARGET, text=f"{type(message).__name__} is answered elsewhere")
        try:
            if needs_write(message):
                session.require_write(self._clock())
            return verb(session, message)
        except BlocktreeError as error:
            return failure_of(error)

    def _standing(self) -> Standing:
        return self._revocations().standing(int(self._clock()))

    def _check_standing(self, session: Session, request: Request, lapsed: bool = False) -> None:
        """Where somebody was revoked since a session's rights were decided, or its right to write has `lapsed`, decide
        them anew. Raises FsError."""
        standing = self._standing()
        if session.standing == standing and not lapsed:
            return
        attached = session.attachment
        try:
            anew = self._attach(attached.path, request.peer, session.read_only)
            if anew.inode != attached.inode:
                raise FsError(Kind.STALE, f"{attached.path} is another directory than before", "attach it again")
        except FsError as error:
            if error.kind in NO_MORE:
                log.warning("ended %r: %s", session, error.message)
                self.sessions.end(session)
            raise
        session.decided_anew(anew, standing)

    def _open(self, message: files.Attach, request: Request) -> files.FsReply:
        standing = self._standing()  # before the decision: one that is older than it thinks is decided again
        attachment = self._attach(BlockPath.parse(message.path), request.peer, message.read_only)
        root = attachment.provider.getattr(attachment.inode)
        session = self.sessions.open(attachment, request, read_only=message.read_only, standing=standing)
        log.info(
            "%s attached %s, %s", request.peer, attachment.path, "to write" if attachment.writable else "read-only"
        )
        return files.Attached(
            session=session.identity,
            root=root,
            writable=attachment.writable,
            why=None if attachment.writable or message.read_only else attachment.why_not or None,
        )

    async def _wait_changes(self, session: Session, milliseconds: int) -> files.Changed:
        """Sleeps until another session changed something, and wakes now and then to ask the provider."""
        left = min(milliseconds, files.MAX_CHANGES_MILLISECONDS) / 1000
        bell = Bell()
        self._bells.add(bell)
        session.shared.listen(session, bell.ring)
        try:
            while True:
                session.shared.poll()
                taken = session.shared.take(session)
                over = left <= 0 or self._draining or session.standing != self._standing()
                if taken is not None or over:
                    inodes, lost = taken or ([], False)
                    return files.Changed(inodes=inodes, lost=lost)
                await bell.wait(min(left, POLL_SECONDS))
                left -= POLL_SECONDS
        finally:
            self._bells.discard(bell)
            session.shared.listen(session, None)
