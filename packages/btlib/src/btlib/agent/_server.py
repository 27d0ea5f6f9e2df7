"""The agent's loop: one connection, one request, one answer; then the next.

One at a time, since each takes a millisecond at most but unlocking, and all clients are the same user's. Whoever is
slower than `PATIENCE` with its request is dropped. Nothing is logged.
"""

from __future__ import annotations

import contextlib
import enum
import os
import socket
import time
from collections.abc import Callable, Mapping

from ..errors import BlocktreeError
from ..home import Home
from ..kinds import Kind
from ._keeper import Keeper
from ._messages import (
    Done,
    Failed,
    GetStatus,
    Identify,
    Lock,
    Open,
    Reply,
    Request,
    Sign,
    Status,
    Stop,
    Unlock,
    decode_request,
    encode_reply,
)
from ._wire import peer_uid, receive

PATIENCE = 2.0  #: seconds for a client to send its request, and to take the answer
#: Seconds between two looks at the clock, since that of a waiting socket stands still while the machine sleeps; and at
#: the socket's file, since a session's runtime directory goes away at its end.
LOOK = 5.0


class End(enum.Enum):
    """Why a loop ended."""

    LOCKED = "locked"  #: the keys had their time, or were locked: begin anew
    STOPPED = "stopped"


def serve(
    listener: socket.socket,
    keeper: Keeper,
    environ: Mapping[str, str],
    *,
    memory_locked: bool,
    reachable: Callable[[], bool],
) -> End:
    """Answer until the keys have to go, somebody says stop, or nobody can reach us any more."""
    server = _Server(keeper, environ, memory_locked)
    while server.end is None and reachable():
        listener.settimeout(_remaining(keeper))
        with contextlib.suppress(OSError):  # nobody came, or went away while it waited
            connection, _ = listener.accept()
            with connection:
                server.talk(connection)
        if keeper.over(now()):
            return End.LOCKED
    return server.end or End.STOPPED


def now() -> float:
    """Seconds that go on while the machine sleeps: a closed laptop does not keep keys unlocked."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _remaining(keeper: Keeper) -> float:
    deadline = keeper.deadline()
    return LOOK if deadline is None else min(max(0.001, deadline - now()), LOOK)


class _Server:
    def __init__(self, keeper: Keeper, environ: Mapping[str, str], memory_locked: bool) -> None:
        self.end: End | None = None
        self._keeper = keeper
        self._environ = environ
        self._memory_locked = memory_locked

    def talk(self, connection: socket.socket) -> None:
        if peer_uid(connection) != os.geteuid():
            return
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            connection.sendall(encode_reply(self._answer(connection)))

    def _answer(self, connection: socket.socket) -> Reply:
        try:
            return self._do(decode_request(receive(connection)))
        except BlocktreeError as error:
            return Failed(int(error.kind), error.message, error.hint)

    def _do(self, request: Request) -> Reply:
        match request:
            case Identify() | Sign() | Open():
                return self._keeper.use(request, now())
            case Unlock():
                return self._unlock(request)
            case GetStatus():
                return self._status()
            case Lock():
                self.end = End.LOCKED
            case Stop():
                self.end = End.STOPPED
        return Done()

    def _unlock(self, request: Unlock) -> Reply:
        credentials = Home.find(self._environ).domain(request.petname).credentials
        try:
            self._keeper.hold(request.petname, credentials.unlock(request.passphrase), now())
        except MemoryError:
            return Failed(int(Kind.LIMIT), "the agent has not the memory that this passphrase's cost demands")
        return Done()

    def _status(self) -> Status:
        deadline = self._keeper.deadline()
        return Status(
            pid=os.getpid(),
            times=self._keeper.times,
            held=self._keeper.held(),
            left=None if deadline is None else max(0, round(deadline - now())),
            memory_locked=self._memory_locked,
        )
