"""The process around a mount: in the foreground, or in the background with a parent that waits until it is usable.

    parent ── fork ── waits on a pipe ────────────── reads the report ── ends with its exit code
                └──── child: opens, asks, mounts ── report: ready, or the reason ── detaches and serves

The child keeps the terminal until it is ready, so that it can ask for a passphrase; then it is a session of its own.
It forks before anything is opened: neither links nor databases survive a fork.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from btlib.errors import BlocktreeError
from btlib.exits import ExitCode, exit_code

log = logging.getLogger("btfuse")

_TEXT_LIMIT = 4096  #: of a reason; what a pipe takes at once, however its characters are written
_REPORT_LIMIT = 64 * 1024
_SYSLOG = "/dev/log"

#: Does the work, and calls its argument once, when the mount is usable.
Work = Callable[[Callable[[], None]], None]


def run_in_foreground(work: Work) -> int:
    """Run until the mount ends; tell a service manager that asked (`Type=notify`) when it is usable."""

    def ready() -> None:
        notify_service_manager("READY=1")

    error = _attempt(work, ready)
    if error is None:
        return ExitCode.OK
    say(error[1])
    return error[0]


def run_in_background(work: Work) -> int:
    """Return in the parent alone: 0 when the mount is usable, else the exit code of what went wrong, having said it."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_the_child(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        report = stream.read(_REPORT_LIMIT)
    code, text = _understand(report, child)
    if text:
        say(text)
    return code


def _be_the_child(work: Work, writing: int) -> None:
    status = int(ExitCode.FAILURE)
    try:

        def ready() -> None:
            _report(writing, ExitCode.OK, "")
            _detach()

        error = _attempt(work, ready)
        status = int(ExitCode.OK) if error is None else error[0]
        if error is not None and not _report(writing, *error):
            log.error("%s", error[1])
    finally:
        logging.shutdown()
        os._exit(status)  # the parent's exit handlers are not the child's


def _attempt(work: Work, ready: Callable[[], None]) -> tuple[int, str] | None:
    try:
        work(ready)
    except BlocktreeError as error:
        log.debug("failed", exc_info=True)
        return int(exit_code(error.kind)), str(error)
    except OSError as error:
        log.debug("failed", exc_info=True)
        return int(ExitCode.FAILURE), f"the system refused: {error}"
    except KeyboardInterrupt:
        return int(ExitCode.FAILURE), "interrupted"
    except Exception as error:  # the process entry: a user gets a sentence, the log the rest
        log.debug("failed", exc_info=True)
        return int(ExitCode.FAILURE), f"a defect of btfuse ({type(error).__name__}: {error}); run again with: -f -d"
    return None


def _report(writing: int, code: int, text: str) -> bool:
    """Whether the parent still listens. After the first report it does not: a later failure is for the log."""
    try:
        os.write(writing, json.dumps([int(code), text[:_TEXT_LIMIT]]).encode())
        os.close(writing)
    except OSError:
        return False
    return True


def _understand(report: bytes, child: int) -> tuple[int, str]:
    if report:
        code, text = json.loads(report)
        return int(code), str(text)
    _, status = os.waitpid(child, 0)
    ending = f"signal {-code}" if (code := os.waitstatus_to_exitcode(status)) < 0 else f"status {code}"
    return int(ExitCode.FAILURE), f"the mount's process ended without a word ({ending}); run again with: -f -d"


def _detach() -> None:
    """A session of its own, in a directory that can be unmounted, with no terminal."""
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def set_up_logging(*, foreground: bool, debug: bool, file: Path | None) -> None:
    """Standard error in the foreground, the system's log in the background, or a file."""
    handler: logging.Handler
    if file is not None:
        handler = logging.FileHandler(file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    elif foreground or not Path(_SYSLOG).exists():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("btfuse: %(message)s"))
    else:
        handler = logging.handlers.SysLogHandler(_SYSLOG, logging.handlers.SysLogHandler.LOG_DAEMON)
        handler.ident = f"btfuse[{os.getpid()}]: "
    # In the background without a log, standard error is the user's terminal until the mount is ready: only trouble.
    quiet = not foreground and isinstance(handler, logging.StreamHandler) and file is None
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, handlers=[handler], force=True)


def say(text: str) -> None:
    print(f"btfuse: {text}", file=sys.stderr, flush=True)


def notify_service_manager(state: str) -> None:
    """`sd_notify(3)`: a datagram to the socket that the environment names, if it names one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.connect("\0" + address[1:] if address.startswith("@") else address)
        notifier.send(state.encode())
