"""`LastWord`: how a mount's process is found, and what it says when it ends, without asking the mount.

    \\0btfuse/<device>    an abstract socket, bound while the mount lasts; <device> as mountinfo has it
    connect              before unmounting; who listens is the mount's process (SO_PEERCRED)
    read to the end      when everything is committed or kept: nothing, or why not, as UTF-8

A mount whose server is away may not answer for as long as its options say; whoever unmounts it must not wait for that.
Nobody is served while the mount is in use: connections wait in the backlog for the end.

The kernel gives a device number away again as soon as its mount is gone, while the process may still commit for
minutes. So the name belongs to the mount and not to the process: it is free once the process sees that the mount is
gone, and only who connected before that hears this process. A new mount waits for the name before it answers anybody.

Abstract names belong to a network namespace; from another one the process is not found, and an unmount does not wait
for it. The same holds where somebody else keeps the name, which anybody may bind.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from btlib.errors import BlocktreeError

_BACKLOG = 16  #: who unmounts at the same time
_TEXT_LIMIT = 4096  #: bytes of a last word: what the buffer of a socket takes at once
_CONNECT_SECONDS = 1.0  #: a listener with room answers at once
#: How long a mount waits for its name: an older process looks every second whether its mount is gone.
_NAME_SECONDS = 3.0
_NAME_PAUSE_SECONDS = 0.02
_CREDENTIALS = struct.Struct("iII")  #: pid, uid, gid


class LastWord:
    """The side of the mount's process: a context around the mount. A BlocktreeError that passes is what it says."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None
        self._askers: list[socket.socket] = []
        self._guard = threading.Lock()  # several threads may see at once that the mount is gone

    def listen(self, device: str, *, seconds: float = _NAME_SECONDS) -> bool:
        """Be found as the process behind a mount. False where somebody else keeps the name: nobody is told anything."""
        deadline = time.monotonic() + seconds
        while not self._bind(device):
            if time.monotonic() > deadline:
                return False
            time.sleep(_NAME_PAUSE_SECONDS)
        return True

    def _bind(self, device: str) -> bool:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(_address(device))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            return False
        self._listener = listener
        return True

    def release(self) -> None:
        """The mount is gone: its name is free, and who asked until now hears the last word later. From any thread."""
        with self._guard:
            listener, self._listener = self._listener, None
            if listener is None:
                return
            with listener, contextlib.suppress(OSError):  # until nobody waits in the backlog
                listener.shutdown(socket.SHUT_RD)  # who comes later is refused, and not forgotten between two calls
                while True:
                    self._askers.append(listener.accept()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
        text = str(error) if isinstance(error, BlocktreeError) else ""
        for asker in self._askers:
            _say(asker, text)


def _say(asker: socket.socket, text: str) -> None:
    with asker, contextlib.suppress(OSError):
        asker.sendall(text.encode()[:_TEXT_LIMIT])


class Daemon:
    """The process behind a mount, for whoever unmounts it."""

    def __init__(self, pid: int, process: int, link: socket.socket) -> None:
        self.pid = pid
        self._process = process
        self._link = link

    def wait(self, seconds: float) -> str | None:
        """Its last word, once it has ended; None where it has not within some seconds."""
        deadline = time.monotonic() + seconds
        said = b""
        while select.select([self._link], [], [], max(deadline - time.monotonic(), 0.0))[0]:
            try:
                more = self._link.recv(_TEXT_LIMIT)
            except OSError:  # it was killed
                more = b""
            if not more:
                ended = select.select([self._process], [], [], max(deadline - time.monotonic(), 0.0))[0]
                return said.decode(errors="replace") if ended else None
            said += more
        return None


@contextlib.contextmanager
def daemon_of(device: str, owner: int | None) -> Iterator[Daemon | None]:
    """The process behind a mount that `owner` (a user's number) made; None where there is none, as for a stale one."""
    with contextlib.ExitStack() as stack:
        daemon = None
        with contextlib.suppress(OSError):
            link = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            link.settimeout(_CONNECT_SECONDS)
            link.connect(_address(device))
            pid, user, _ = _CREDENTIALS.unpack(
                link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if user == owner:  # anybody may bind a name that is free
                process = os.pidfd_open(pid)
                stack.callback(os.close, process)
                daemon = Daemon(pid, process, link)
        yield daemon


def _address(device: str) -> str:
    return f"\0btfuse/{device}"
