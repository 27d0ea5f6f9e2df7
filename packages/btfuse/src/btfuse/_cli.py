"""The command: from words to a mount, or to a sentence and an exit code. No traceback ever reaches a user."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from btlib.errors import BlocktreeError
from btlib.exits import ExitCode, exit_code
from btlib.hardening import forbid_dumps
from btlib.kinds import Kind
from btlib.memory import keep_memory

from ._arguments import Arguments, parse_arguments
from ._binding import VARIABLE, Binding, load_binding
from ._context import Settings, Symlinks
from ._daemon import run_in_background, run_in_foreground, say, set_up_logging
from ._errors import FuseError
from ._mount import run_mount
from ._mountpoint import check_mountpoint, find_fusermount, unmount_and_wait
from ._sources import open_source

log = logging.getLogger("btfuse")

_DEVICE = Path("/dev/fuse")
#: Threads where a miss waits for a network: a few, since all share one interpreter. Alone there is one, and no lock.
_REMOTE_THREADS = 4
#: How long a thread may hold the interpreter while another waits. The default of 5 ms would be the latency of every
#: request that comes while a commit is being sealed.
_SWITCH_SECONDS = 0.0005


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        asked = parse_arguments(sys.argv[0], words)
        if asked.unmount:
            unmount_and_wait(asked.mountpoint)
            return ExitCode.OK
        asked, binding = _check(asked)
    except BlocktreeError as error:
        say(str(error))
        return exit_code(error.kind)
    except KeyboardInterrupt:
        return ExitCode.FAILURE
    if asked.fake:
        return ExitCode.OK
    set_up_logging(foreground=asked.foreground, debug=asked.debug, file=asked.options.log_file)
    run = run_in_foreground if asked.foreground else run_in_background
    return run(lambda ready: _mount(asked, binding, ready))


def _check(asked: Arguments) -> tuple[Arguments, Binding]:
    """Everything that can be wrong before a passphrase is asked for."""
    mountpoint = check_mountpoint(asked.mountpoint, allow_nonempty=asked.options.nonempty)
    binding = load_binding(asked.options.binding or os.environ.get(VARIABLE, "auto"))
    _check_device()
    return replace(asked, mountpoint=mountpoint), binding


def _check_device() -> None:
    if not _DEVICE.exists():
        raise FuseError(f"there is no {_DEVICE}", kind=Kind.NOT_SUPPORTED, hint="run as root: modprobe fuse")
    if os.geteuid() == 0:
        return
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise FuseError(f"you may not use {_DEVICE}", kind=Kind.IO, hint=f"run as root: chmod 666 {_DEVICE}")
    if find_fusermount() is None:
        raise FuseError(
            "only root can mount without fusermount3", kind=Kind.NOT_SUPPORTED, hint="run: apt-get install fuse3"
        )


def _mount(asked: Arguments, binding: Binding, ready: Callable[[], None]) -> None:
    options = asked.options
    forbid_dumps()
    keep_memory()
    opened = open_source(asked.source, options, os.environ)
    sys.setswitchinterval(_SWITCH_SECONDS)
    settings = Settings(
        mountpoint=asked.mountpoint,
        shared=opened.shared,
        symlinks=options.symlinks or (Symlinks.CONTAINED if opened.shared else Symlinks.AS_WRITTEN),
        remote_locks=opened.remote_locks,
        commit_on_close=not options.lazy_close,
        write_back=options.write_back and not opened.shared,
    )
    threads = (options.threads or _REMOTE_THREADS) if opened.shared else 1

    def announce() -> None:
        log.info("%s is mounted at %s (%s, libfuse %s)", opened.name, asked.mountpoint, opened.mode, binding.version)
        ready()

    if opened.read_only and not options.read_only:
        options = replace(options, kernel=(*options.kernel, "ro"))
    kernel_options = options.for_kernel(opened.name, major=binding.major, uid=os.getuid())
    run_mount(opened.provider, binding, settings, kernel_options, threads=threads, ready=announce)
    log.info("%s is unmounted from %s, and everything is committed", opened.name, asked.mountpoint)
