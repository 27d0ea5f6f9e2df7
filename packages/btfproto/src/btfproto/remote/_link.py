"""`FsSession`: the client's side of a session. Attaches, calls, and attaches again to a server that has forgotten.

`generation` counts the attachments: whatever was agreed under an older one (inodes, handles) has to be agreed anew.
"""

from __future__ import annotations

import itertools
import threading
from typing import NamedTuple, TypeVar

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btserde import SerdeError
from bttp.errors import BttpError

from btfproto._dial import Dialer, Doubt
from btfproto.errors import FsError
from btfproto.messages import MessageError, decode_fs_reply, encode_fs_call, files, printable

from ._checks import check_attributes, lie
from ._server import CHANGES

CALL_SECONDS = 60.0  #: one call: a slow disk at the other end, not a dead one (the link notices that itself)
WAIT_GRACE = 10.0  #: seconds by which the answer to a long poll may be late

Reply = TypeVar("Reply", bound=msgspec.Struct)


class SessionLostError(FsError):
    """The server does not know the session any more. The client attaches again.

    `in_doubt`: the request had gone out before, over a link that was lost, and may have taken effect.
    """

    def __init__(self, *, in_doubt: bool = False) -> None:
        super().__init__(Kind.STALE, "the server has forgotten this session")
        self.in_doubt = in_doubt


class _Attachment(NamedTuple):
    """What belongs together: whoever has taken one sends nothing of it into the next."""

    generation: int
    attached: files.Attached


class FsSession:
    """Thread-safe."""

    def __init__(self, dialer: Dialer, service: BlockPath, path: BlockPath, *, read_only: bool) -> None:
        self._dialer = dialer
        self._service = service
        self._changes = service.child(CHANGES)
        self._path = path
        self._read_only = read_only
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._current = _Attachment(0, self._attach())

    @property
    def generation(self) -> int:
        return self._current.generation

    @property
    def attached(self) -> files.Attached:
        return self._current.attached

    def call(self, request: files.FsRequest, expected: type[Reply], generation: int) -> Reply:
        """One request in the session of `generation`. Raises SessionLostError where that is over, else FsError."""
        current = self._current
        if generation != current.generation:
            raise SessionLostError
        return self._send(current.attached.session, request, expected, self._service, CALL_SECONDS)

    def wait_changes(self, seconds: float) -> files.Changed:
        """What others changed. Raises SessionLostError, FsError."""
        request = files.Changes(milliseconds=int(seconds * 1000))
        return self._send(self.attached.session, request, files.Changed, self._changes, seconds + WAIT_GRACE)

    def renew(self, generation: int) -> None:
        """Attach again, if nobody did since `generation`. Raises FsError."""
        with self._lock:
            if generation != self.generation:
                return
            attached = self._attach()
            if attached.root.inode != self.attached.root.inode:
                raise FsError(Kind.STALE, f"{self._path} is another directory than before", "unmount and mount again")
            self._current = _Attachment(generation + 1, attached)

    def close(self) -> None:
        """End the session and the link."""
        try:
            self._dialer.patience = 0.0  # nobody waits for a server that is gone in order to say goodbye to it
            self._send(self.attached.session, files.Detach(), files.Done, self._service, CALL_SECONDS)
        finally:
            self._dialer.close()

    def _attach(self) -> files.Attached:
        request = files.Attach(path=str(self._path), read_only=self._read_only)
        attached = self._send(files.NO_SESSION, request, files.Attached, self._service, CALL_SECONDS)
        check_attributes(attached.root)
        return attached

    def _send(
        self, session: bytes, request: files.FsRequest, expected: type[Reply], path: BlockPath, seconds: float
    ) -> Reply:
        call = files.FsCall(session=session, number=next(self._numbers), request=request)
        doubt = Doubt()
        try:
            message = encode_fs_call(call)
        except SerdeError as error:
            raise FsError(Kind.INVALID, f"a request that no server can answer: {error}") from error
        try:
            body = self._dialer.call(path, message, timeout=seconds, doubt=doubt)
            reply = decode_fs_reply(body)
        except MessageError as error:
            raise FsError(error.kind, f"{self._dialer.endpoint}: {error.message}") from error
        except BttpError as error:
            raise FsError(error.kind, printable(error.message), error.hint) from error
        if isinstance(reply, files.NoSession):
            raise SessionLostError(in_doubt=doubt.sent)
        if not isinstance(reply, expected):
            raise lie(f"{type(reply).__name__} where {expected.__name__} belongs")
        return reply
