"""The loop between the kernel and the handlers: read a request, answer it, until the mount is gone.

One thread where the store is in the process: several would only fight for the interpreter lock; `_receiving` is how it
waits. More threads where a miss waits for a network; these sleep at once. Each has its own buffer; requests of several
threads are independent, as the kernel orders what must be.

Nothing here knows a file system: it dispatches by opcode, turns errors into errno values, and logs what a user ought
to know. It does not mount and does not unmount.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from typing import NoReturn

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ._context import Answer, Context, Handler, Handlers, Head
from ._errno import QUIET, errno_of
from ._protocol import (
    BODY,
    INIT_IN,
    INIT_OUT,
    MAJOR,
    MINOR,
    OLDEST_MINOR,
    OPCODE_LIMIT,
    OUT_HEADER,
    Init,
    Opcode,
)
from ._receiving import Exchange

log = logging.getLogger("btfuse")

#: The largest request that Linux makes by default (`/proc/sys/fs/fuse/max_pages_limit`): fewer, larger requests.
MAX_WRITE = 1024 * 1024
_PAGE = 4096
_BUFFER_SIZE = MAX_WRITE + _PAGE  # the headers of WRITE come before its data
#: How far the kernel may read ahead; it takes less unless the mount's `read_ahead_kb` allows it.
MAX_READAHEAD = MAX_WRITE
#: Requests that the kernel may send on its own account (read-ahead, write-back) before it slows its writers down.
_BACKGROUND = 32
_GONE = {errno.ENODEV, errno.ECONNABORTED}

_WANTED = (
    Init.ASYNC_READ
    | Init.BIG_WRITES
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.MAX_PAGES
    | Init.HANDLE_KILLPRIV_V2
)


class Session:
    """Answers the requests that come from one descriptor of `/dev/fuse`."""

    def __init__(self, descriptor: int, context: Context, ready: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._context = context
        self._ready = ready
        self._handlers: list[Handler | None] = [None] * OPCODE_LIMIT
        self._handlers[Opcode.INIT] = self._init
        self._handlers[Opcode.DESTROY] = self._destroy
        self._handlers[Opcode.INTERRUPT] = _ignore

    def register(self, handlers: Handlers) -> None:
        for opcode, handler in handlers.items():
            self._handlers[opcode] = handler

    @property
    def handlers(self) -> list[Handler | None]:
        """By opcode; may be replaced while requests are answered."""
        return self._handlers

    def serve(self, threads: int = 1, gone: Callable[[], None] = lambda: None) -> None:
        """Return when the mount is gone; with several threads, when all have seen it. Each of them calls `gone`."""
        others = [
            threading.Thread(target=self._serve, args=(False, gone), name=f"btfuse-{number}", daemon=True)
            for number in range(1, threads)
        ]
        for thread in others:
            thread.start()
        alone = not others and len(os.sched_getaffinity(0)) > 1  # on one processor the asker could not ask meanwhile
        self._serve(alone, gone)
        for thread in others:
            thread.join()

    def answer(self, unique: int, error: int) -> None:
        """Answer a request that a handler left open, from any thread."""
        self._write(OUT_HEADER.pack(OUT_HEADER.size, -error, unique))

    def notify(self, code: int, body: bytes) -> None:
        """Tell the kernel to forget something. Never from a handler: the kernel may wait for that very handler."""
        self._write(OUT_HEADER.pack(OUT_HEADER.size + len(body), code, 0) + body)

    def _serve(self, alone: bool, gone: Callable[[], None]) -> None:
        self._loop(alone)
        gone()

    def _loop(self, alone: bool) -> None:
        exchange = Exchange(self._descriptor, _BUFFER_SIZE, alert=alone, reads=self._context.read_table)
        turn, buffer, handlers = exchange.turn, exchange.buffer, self._handlers
        unique, body = 0, None
        while True:
            try:
                head = turn(unique, body)
            except OSError as error:
                if error.errno in _GONE:
                    return
                body = None
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):  # the request was taken back
                    continue
                raise
            if head is None:  # only a socket that stands in for the device ends so
                return
            opcode, unique = head[1], head[2]
            handler = handlers[opcode] if opcode < OPCODE_LIMIT else None
            try:
                body = _missing() if handler is None else handler(head, buffer)
            except Exception as error:  # the process entry of every request
                body = self._recover(head, buffer, handler, error)

    def _recover(self, head: Head, buffer: memoryview, handler: Handler | None, error: Exception) -> Answer:
        """Once more, where the provider had only forgotten the object; else an errno."""
        if type(error) is OSError and error.errno:  # mostly an attribute that a file does not have, asked for at each
            self.answer(head[2], error.errno)
            return None
        if handler is not None and self._revived(head, error):
            try:
                return handler(head, buffer)
            except Exception as again:
                error = again
        self._fail(head, error)
        return None

    def _revived(self, head: Head, error: Exception) -> bool:
        stale = isinstance(error, BlocktreeError) and error.kind is Kind.STALE
        return stale and self._context.revive(self._context.inode(head))

    def _fail(self, head: Head, error: Exception) -> None:
        if isinstance(error, BlocktreeError):
            number = errno_of(error.kind)
            if error.kind not in QUIET:
                log.error("%s: %s", self._describe(head), error)
        elif isinstance(error, OSError) and error.errno is not None:
            number = error.errno
        else:
            number = errno.EIO
            log.error("%s: a defect of btfuse", self._describe(head), exc_info=error)
        self.answer(head[2], number)

    def _describe(self, head: Head) -> str:
        opcode = head[1]
        name = Opcode(opcode).name.lower() if opcode in Opcode.__members__.values() else f"request {opcode}"
        nodes = self._context.nodes
        return f"{name} of {nodes.describe(nodes.inode(head[3]))}"

    def _write(self, message: bytes) -> None:
        try:
            os.write(self._descriptor, message)
        except OSError as error:
            # ENOENT: the request was interrupted and its caller is gone, or the kernel holds no such object.
            if error.errno not in _GONE and error.errno != errno.ENOENT:
                raise

    def _init(self, _head: Head, buffer: memoryview) -> bytes:
        major, minor, _readahead, offered = INIT_IN.unpack_from(buffer, BODY)
        if major != MAJOR or minor < OLDEST_MINOR:
            raise OSError(
                errno.EPROTO, f"the kernel speaks FUSE {major}.{minor}, btfuse {MAJOR}.{OLDEST_MINOR} or later"
            )
        wanted = _WANTED
        settings = self._context.settings
        if settings.shared:
            wanted |= Init.AUTO_INVAL_DATA | Init.ATOMIC_O_TRUNC
        else:
            # With opens that send no request, a truncation must be one of its own: no ATOMIC_O_TRUNC.
            wanted |= Init.NO_OPEN_SUPPORT | Init.NO_OPENDIR_SUPPORT
        if settings.remote_locks:
            wanted |= Init.POSIX_LOCKS | Init.FLOCK_LOCKS
        if settings.write_back:
            wanted |= Init.WRITEBACK_CACHE
        self._ready()
        return INIT_OUT.pack(
            MAJOR, MINOR, MAX_READAHEAD, offered & wanted, _BACKGROUND, _BACKGROUND * 3 // 4, MAX_WRITE, 1,
            MAX_WRITE // _PAGE, 0,
        )  # fmt: skip

    def _destroy(self, _head: Head, _buffer: memoryview) -> bytes:
        return b""


def _missing() -> NoReturn:
    raise OSError(errno.ENOSYS, "no such request")


def _ignore(_head: Head, _buffer: memoryview) -> None:
    """An interrupt of a request that is being answered anyway."""
