"""One mount from its provider to its end: assemble the handlers, mount, serve, and clean up behind.

    mount ─ INIT ─ serve ─ unmounted by somebody, or by a signal ─ commit ─ end

Nothing of a mount outlives `run_mount`, whichever way it ends: the kernel's mount is gone, the provider is shut down.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence

from btfproto.provider import FsProvider
from btlib.errors import BlocktreeError

from ._attributes import ObjectAttributes
from ._binding import Binding
from ._context import Context, Settings
from ._directories import Directories
from ._files import Files
from ._locks import Locks
from ._mountpoint import abort_connection, find_mount, raise_readahead, unmount
from ._namespace import Namespace
from ._protocol import INVALIDATE_INODE_OUT, NOTIFY_INVALIDATE_INODE
from ._session import MAX_READAHEAD, Session

log = logging.getLogger("btfuse")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: How long a stop waits for the requests in flight before it ends the connection under open files.
STOP_SECONDS = 2.0
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
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # before any thread starts: all inherit it
    try:
        descriptor = binding.mount(settings.mountpoint, options)
        try:
            _serve(provider, descriptor, settings, threads, ready)
        finally:
            os.close(descriptor)
    finally:
        provider.shutdown()


def _serve(provider: FsProvider, descriptor: int, settings: Settings, threads: int, ready: Callable[[], None]) -> None:
    mountpoint = settings.mountpoint
    entry = find_mount(mountpoint)
    initialized, ended = threading.Event(), threading.Event()
    context = Context(provider, settings)
    session = Session(descriptor, context, initialized.set)
    locks = _register(session, context)
    tasks = [
        threading.Thread(target=_announce, args=(mountpoint, initialized, ready), name="btfuse-ready", daemon=True),
        threading.Thread(target=_wait_for_signal, args=(mountpoint, entry.device if entry else "", ended), daemon=True),
    ]
    if settings.shared:
        tasks.append(threading.Thread(target=_forget_changes, args=(provider, session, ended), daemon=True))
    for task in tasks:
        task.start()
    try:
        session.serve(threads)
    finally:
        ended.set()
        locks.close()


def _register(session: Session, context: Context) -> Locks:
    files = Files(context)
    locks = Locks(context, files, session.answer)
    for group in (Namespace(context), ObjectAttributes(context), Directories(context), files):
        session.register(group.handlers())
    if context.settings.remote_locks:
        session.register(locks.handlers())
    return locks


def _announce(mountpoint: str, initialized: threading.Event, ready: Callable[[], None]) -> None:
    """The mount is usable when it answers; only then does the kernel take a larger read-ahead."""
    initialized.wait()
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        log.error("the mount at %s does not answer: %s", mountpoint, error.strerror)
        return
    raise_readahead(mountpoint, MAX_READAHEAD // 1024)
    ready()


def _wait_for_signal(mountpoint: str, device: str, ended: threading.Event) -> None:
    number = signal.sigwait(STOP_SIGNALS)
    log.info("stopping on %s", signal.Signals(number).name)
    try:
        unmount(mountpoint)
    except BlocktreeError:
        log.warning("files are open below %s: they are cut off", mountpoint)
        _detach(mountpoint)
    if not ended.wait(STOP_SECONDS):
        abort_connection(device)


def _detach(mountpoint: str) -> None:
    try:
        unmount(mountpoint, lazy=True)
    except BlocktreeError as error:
        log.error("%s", error)


def _forget_changes(provider: FsProvider, session: Session, ended: threading.Event) -> None:
    while not ended.wait(CHANGES_SECONDS):
        for inode in provider.changes():
            node = 1 if inode == provider.root else inode
            session.notify(NOTIFY_INVALIDATE_INODE, INVALIDATE_INODE_OUT.pack(node, 0, 0))
