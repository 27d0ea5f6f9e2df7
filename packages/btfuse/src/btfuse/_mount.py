"""One mount from its provider to its end: assemble the handlers, mount, serve, and clean up behind.

    mount ─ INIT ─ serve ─ unmounted by somebody, or by a signal ─ commit ─ end

Nothing of a mount outlives `run_mount`, whichever way it ends: the kernel's mount is gone, the provider is shut down.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Sequence

from btfproto.opening import OpenedFs
from btfproto.provider import FsProvider
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.memory import collect_seldom

from ._attributes import ObjectAttributes
from ._binding import Binding
from ._context import Context, Handlers, Settings
from ._directories import Directories
from ._errors import FuseError
from ._files import ExclusiveFiles, Files
from ._last_word import LastWord
from ._locks import Locks
from ._mountpoint import find_mount, raise_readahead, unmount
from ._namespace import Namespace
from ._protocol import INVALIDATE_INODE_OUT, NOTIFY_INVALIDATE_INODE, ROOT_NODE
from ._session import MAX_READAHEAD, Session
from ._snapshot_door import SnapshotDoor

log = logging.getLogger("btfuse")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: How long a stop waits for the requests in flight before it ends the connection under open files.
STOP_SECONDS = 2.0
#: How often a mount with a server looks whether the kernel still has it, for a user who waits for its end.
END_SECONDS = 1.0
#: How often a shared mount asks which objects others have changed. The kernel forgets after a second by itself.
CHANGES_SECONDS = 0.25


def run_mount(
    provider: FsProvider,
    binding: Binding,
    settings: Settings,
    options: Sequence[str],
    *,
    threads: int,
    ready: Callable[[], None],
) -> None:
    """Mount, call `ready` when the mount is usable, and return when it is unmounted and everything is committed.

    To be called from the main thread of a process of its own: it takes over the signals that stop one.
    """
    stop = _catch_stop_signals()
    collect_seldom()
    with LastWord() as word:
        try:
            descriptor = binding.mount(settings.mountpoint, options)
            try:
                if (entry := find_mount(settings.mountpoint)) is not None and not word.listen(entry.device):
                    log.warning("who unmounts %s will not wait for its end: its name is taken", settings.mountpoint)
                _serve(provider, descriptor, settings, threads, ready, stop, word)
            except BaseException:
                _detach(settings.mountpoint)
                raise
            finally:
                os.close(descriptor)
        finally:
            provider.shutdown()


def _serve(
    provider: FsProvider,
    descriptor: int,
    settings: Settings,
    threads: int,
    ready: Callable[[], None],
    stop: int,
    word: LastWord,
) -> None:
    mountpoint = settings.mountpoint
    initialized, ended = threading.Event(), threading.Event()
    context = Context(provider, settings)
    session = Session(descriptor, context, initialized.set)
    locks = register_handlers(session, context)
    failures: list[OSError] = []
    tasks = [
        _task(_announce, mountpoint, initialized, ready, failures),
        _task(_wait_for_signal, stop, mountpoint, ended),
    ]
    if settings.shared:
        tasks.append(_task(_forget_changes, provider, session, ended))
        tasks.append(_task(_wait_for_end, descriptor, ended, word))
    for task in tasks:
        task.start()
    try:
        session.serve(threads, word.release)
    except _CutOff:
        log.info("the files that were open are cut off")
    finally:
        ended.set()
        locks.close()
        if context.door is not None:
            context.door.close()
    for failure in failures:
        raise FuseError(
            f"the mount at {mountpoint} does not answer: {failure.strerror}", kind=Kind.IO, hint="run again with: -f -d"
        ) from failure


def _task(target: Callable[..., None], *arguments: object) -> threading.Thread:
    # Daemons: each may still wait, for a signal or a first answer, when the mount is long gone.
    return threading.Thread(target=target, args=arguments, name=f"btfuse{target.__name__}", daemon=True)


def register_handlers(session: Session, context: Context) -> Locks:
    locks, handlers = _make_handlers(session, context)
    session.register(handlers)
    keeper = context.provider.snapshots if isinstance(context.provider, OpenedFs) else None
    if keeper is not None:
        context.door = SnapshotDoor(context, keeper, session.handlers, lambda past: _make_handlers(session, past)[1])
    return locks


def _make_handlers(session: Session, context: Context) -> tuple[Locks, Handlers]:
    files = ExclusiveFiles(context) if context.exclusive else Files(context)
    locks = Locks(context, files, session.answer)
    made: list[Handlers] = [
        group.handlers() for group in (Namespace(context), ObjectAttributes(context), Directories(context), files)
    ]
    if context.settings.remote_locks:
        made.append(locks.handlers())
    return locks, {opcode: handler for handlers in made for opcode, handler in handlers.items()}


def _announce(
    mountpoint: str, initialized: threading.Event, ready: Callable[[], None], failures: list[OSError]
) -> None:
    """The mount is usable when it answers; only then does the kernel take a larger read-ahead."""
    initialized.wait()
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        failures.append(error)
        _detach(mountpoint)
        return
    raise_readahead(mountpoint, MAX_READAHEAD // 1024)
    ready()


def _catch_stop_signals() -> int:
    """The reading end of a pipe that gets a byte a signal, in whichever thread it arrives."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in STOP_SIGNALS:
        signal.signal(number, _on_signal)
    return reading


class _CutOff(BaseException):
    """Ends the loop although files are open. Raised by a signal handler, so only ever in the main thread."""


_cut_off = threading.Event()


def _on_signal(_number: int, _frame: object) -> None:
    # What the signal interrupts goes on: the pipe is what is listened to. Except for the last one, of our own.
    if _cut_off.is_set():
        raise _CutOff


def _wait_for_signal(stop: int, mountpoint: str, ended: threading.Event) -> None:
    (number,) = os.read(stop, 1)
    log.info("stopping on %s", signal.Signals(number).name)
    try:
        unmount(mountpoint)
    except BlocktreeError:
        log.warning("files are open below %s: they are cut off", mountpoint)
        _detach(mountpoint)
    _end_soon(ended)


def _wait_for_end(descriptor: int, ended: threading.Event, word: LastWord) -> None:
    """The mount may be gone (`umount -f`, `umount -l`) while each thread waits for a server, so that none hears of it.

    Looks now and then: who waits for an error alone is woken by every request.
    """
    poll = select.poll()
    poll.register(descriptor, 0)
    while not ended.wait(END_SECONDS):
        if poll.poll(0):
            word.release()
            _end_soon(ended)
            return


def _end_soon(ended: threading.Event) -> None:
    if not ended.wait(STOP_SECONDS):
        _cut_off.set()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _detach(mountpoint: str) -> None:
    try:
        unmount(mountpoint, lazy=True)
    except BlocktreeError as error:
        log.error("%s", error)


def _forget_changes(provider: FsProvider, session: Session, ended: threading.Event) -> None:
    while not ended.wait(CHANGES_SECONDS):
        # A server that cannot be asked now is asked again; what the kernel remembers is a second old at the most.
        with contextlib.suppress(BlocktreeError):
            for inode in provider.changes():
                node = ROOT_NODE if inode == provider.root else inode
                session.notify(NOTIFY_INVALIDATE_INODE, INVALIDATE_INODE_OUT.pack(node, 0, 0))
