"""The target of btfuse: requests as the kernel sends them, answered over a file system in memory.

    input = requests, one after another, each as long as its header says

The kernel is trusted with lengths, not with what programs make it ask for: names, offsets, sizes, flags, handles. A
ValueError says that it does not speak as it should, with names missing; the loop logs that as a defect.
"""

from __future__ import annotations

import os

from btfproto.errors import FsError
from btfproto.provider import AllocateMode, AttributeChanges, Attributes
from btfuse._context import Context, Settings
from btfuse._mount import register_handlers
from btfuse._protocol import BODY, IN_HEADER, OPCODE_LIMIT
from btfuse._session import Session
from btfuse.testing import MemoryProvider
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from .target import MAX_INPUT, target

MAX_REQUESTS = 16
MAX_FILE = 1 << 20  #: the file system in memory would take what it is told to

_NOWHERE = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # for answers that come later


@target("fuse-request", "requests of the kernel, to a mount alone and to a shared one", refuses=ValueError)
def fuse_request(data: bytes) -> None:
    for shared in (False, True):
        _answer_all(data, shared)


def _answer_all(data: bytes, shared: bool) -> None:
    context = Context(_Bounded(), Settings(mountpoint="/mnt", shared=shared, remote_locks=shared))
    session = Session(_NOWHERE, context, lambda: None)
    locks = register_handlers(session, context)
    try:
        for _ in range(MAX_REQUESTS):
            if len(data) < BODY:
                return
            size = min(max(int.from_bytes(data[:4], "little"), BODY), len(data))
            _answer(session, data[:size])
            data = data[size:]
    finally:
        locks.close()


def _answer(session: Session, request: bytes) -> None:
    """As the loop does it, except that a defect is not turned into EIO."""
    buffer = memoryview(bytearray(MAX_INPUT + 4096))
    buffer[: len(request)] = request
    buffer[:4] = len(request).to_bytes(4, "little")
    head = IN_HEADER.unpack_from(buffer)
    handler = session._handlers[head[1]] if head[1] < OPCODE_LIMIT else None
    number: int | None = 1
    answer = None
    try:
        answer = None if handler is None else handler(head, buffer)
    except BlocktreeError:
        pass
    except OSError as error:
        number = error.errno
    assert number, "an error without a number"
    assert answer is None or len(answer) < MAX_FILE


class _Bounded(MemoryProvider):
    """One whose files stay small."""

    def setattr(self, inode: int, changes: AttributeChanges) -> Attributes:
        _check(changes.size or 0)
        return super().setattr(inode, changes)

    def write(self, handle: int, offset: int, data: bytes | memoryview) -> int:
        _check(offset + len(data))
        return super().write(handle, offset, data)

    def fallocate(self, handle: int, mode: AllocateMode, offset: int, length: int) -> None:
        _check(offset + length)
        super().fallocate(handle, mode, offset, length)


def _check(size: int) -> None:
    if size > MAX_FILE:
        raise FsError(Kind.NO_SPACE, "a file of the file system in memory is small")
