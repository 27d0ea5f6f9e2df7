"""The workload: a process whose threads change directories of their own through a mount, and record what they do.

    python -m tests.faults.workload PLACE HISTORY SEED --workers N [--commit-on-close] [--fsyncs SHARE]

It goes on until it is told to stop (SIGTERM: each worker ends its operation) or until an operation fails; then it ends
with 0, because what may fail is for the checker to say. A read that gives other bytes than were written ends it with 1.
The directories are made and synced before anything else, then it says "ready".
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.generator import Generator
from tests.faults.history import Recorder
from tests.faults.model import Tree
from tests.faults.operations import (
    Allocate,
    Append,
    Close,
    Exchange,
    Fsync,
    Link,
    Make,
    MakeDirectory,
    Operation,
    Read,
    RemoveDirectory,
    Rename,
    SetMode,
    SetXattr,
    Symlink,
    Truncate,
    Unlink,
    Write,
    below,
    content,
)

XATTR = "user.fault"
OPEN_FILES = 6  #: of a worker; beyond that the oldest is closed
TAGS = 1 << 32  #: of a worker
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class WrongBytesError(Exception):
    """The mount gave something that was never written."""


class Worker:
    """Carries operations out, keeping some files open as programs do."""

    def __init__(self, place: Path, commit_on_close: bool) -> None:
        self._place = place
        self._commit_on_close = commit_on_close
        self._open: dict[str, int] = {}
        self._written: set[int] = set()  # descriptors through which something was written since the last fsync

    def perform(self, operation: Operation, tree: Tree) -> bool:
        """Whether it promised durability. `tree` is how it was before. Raises OSError, WrongBytesError."""
        match operation:
            case Fsync(path):
                self._fsync(path, tree)
                return True
            case Close(path):
                return self._close(path) and self._commit_on_close
            case Read(path):
                self._read(path, tree)
            case Rename() | Exchange() | Unlink() | RemoveDirectory() | Link() | Symlink() | MakeDirectory():
                self._change_names(operation)
            case _:
                self._change_file(operation)
        return False

    def close(self) -> None:
        for descriptor in self._open.values():
            try:
                os.close(descriptor)
            except OSError as error:  # of a mount that is gone; there is nobody to tell
                print(f"close: {error}", file=sys.stderr)
        self._open.clear()

    def _at(self, path: str) -> Path:
        return self._place / path

    def _descriptor(self, path: str) -> int:
        if path not in self._open:
            if len(self._open) >= OPEN_FILES:
                self._close(next(iter(self._open)))
            self._open[path] = os.open(self._at(path), os.O_RDWR | os.O_CLOEXEC)
        return self._open[path]

    def _close(self, path: str) -> bool:
        """Whether the close had something to commit."""
        descriptor = self._open.pop(path, None)
        if descriptor is None:
            return False
        written = descriptor in self._written
        self._written.discard(descriptor)
        os.close(descriptor)
        return written

    def _fsync(self, path: str, tree: Tree) -> None:
        if tree.nodes[path].kind == "file":
            descriptor = self._descriptor(path)
            os.fsync(descriptor)
            self._written.discard(descriptor)
            return
        descriptor = os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, path: str, tree: Tree) -> None:
        expected = tree.nodes[path].data
        descriptor, found = self._descriptor(path), b""
        # One that the end of the mount cuts short gives what the kernel had; the next one fails.
        while len(found) <= len(expected) and (
            more := os.pread(descriptor, len(expected) + 1 - len(found), len(found))
        ):
            found += more
        if found != expected:
            raise WrongBytesError(f"{path} reads as {len(found)} other bytes than the {len(expected)} written")

    def _change_file(self, operation: Operation) -> None:
        match operation:
            case Make(path, mode):
                self._close(path)
                descriptor = os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
                self._open[path] = descriptor
                self._written.add(descriptor)
            case Write(path, offset, length, tag):
                self._write(self._descriptor(path), content(tag, length), offset)
            case Append(path, length, tag):
                descriptor = self._descriptor(path)
                self._write(descriptor, content(tag, length), os.fstat(descriptor).st_size)
            case Truncate(path, size):
                os.truncate(self._at(path), size)
            case Allocate(path, size):
                os.posix_fallocate(self._descriptor(path), 0, size)
            case SetMode(path, mode):
                self._at(path).chmod(mode)
            case SetXattr(path, length, tag):
                os.setxattr(self._at(path), XATTR, content(tag, length))

    def _write(self, descriptor: int, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:  # a write is short where a later one of its requests failed; the next attempt is told why
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
        self._written.add(descriptor)

    def _change_names(self, operation: Operation) -> None:
        match operation:
            case MakeDirectory(path, mode):
                self._at(path).mkdir(mode)
            case RemoveDirectory(path):
                self._at(path).rmdir()
            case Symlink(path, target):
                self._at(path).symlink_to(target)
            case Link(old, new):
                os.link(self._at(old), self._at(new))
            case Unlink(path, orphan):
                self._unlink(path, orphan)
            case Rename(old, new):
                self._at(old).rename(self._at(new))
                self._forget(old, new)
            case Exchange(old, new):
                self._exchange(old, new)
                self._forget(old, new)

    def _unlink(self, path: str, orphan: bool) -> None:
        descriptor = os.open(self._at(path), os.O_RDWR | os.O_CLOEXEC) if orphan else -1
        try:
            self._at(path).unlink()
            if orphan:
                os.pwrite(descriptor, b"nobody sees this", 0)
        finally:
            if orphan:
                os.close(descriptor)
        self._forget(path)

    def _exchange(self, old: str, new: str) -> None:
        names = os.fsencode(self._at(old)), os.fsencode(self._at(new))
        if _libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def _forget(self, *moved: str) -> None:
        """Names that mean something else now: their descriptors are closed."""
        for path in [path for path in self._open if any(below(path, name) for name in moved)]:
            self._close(path)


def work(worker: int, options: argparse.Namespace, recorder: Recorder, stop: threading.Event) -> None:
    """One thread: until it is stopped, or something fails."""
    random = Random(f"{options.seed} {worker}")
    tree = Tree(f"w{worker}")
    generator = Generator(tree, random, worker * TAGS, options.fsyncs)
    hands = Worker(options.place, options.commit_on_close)
    try:
        while not stop.is_set():
            operation = generator.next()
            recorder.issued(worker, operation)
            try:
                durable = hands.perform(operation, tree)
            except OSError as error:
                recorder.returned(worker, errno.errorcode.get(error.errno or 0, str(error)))
                stop.set()
                return
            recorder.returned(worker, durable=durable)
            tree.apply(operation)
    finally:
        hands.close()


def prepare(place: Path, workers: int) -> None:
    """The directories are there, and durable."""
    for worker in range(workers):
        (place / f"w{worker}").mkdir(0o755)
        descriptor = os.open(place / f"w{worker}", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)


def run_all(target: Callable[[int], None], workers: int) -> list[BaseException]:
    """What the workers raised."""
    raised: list[BaseException] = []

    def guarded(worker: int) -> None:
        try:
            target(worker)
        except Exception as error:  # the entry of a thread: the process says it and fails
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("history", type=Path)
    parser.add_argument("seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--commit-on-close", action="store_true")
    parser.add_argument("--fsyncs", type=float, default=0.06)
    options = parser.parse_args()
    os.umask(0)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    prepare(options.place, options.workers)
    print("ready", flush=True)
    with Recorder(options.history) as recorder:
        raised = run_all(lambda worker: work(worker, options, recorder, stop), options.workers)
    for error in raised:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return 1 if raised else 0


if __name__ == "__main__":
    raise SystemExit(main())
