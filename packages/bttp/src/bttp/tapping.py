"""A tap on all links of this process: their frames go into a file that only its owner can read.

    with tapped(Path("frames.tap")): …          or, for programs: tap_from_environment(os.environ), which looks for
    BLOCKTREE_TAP=FILE                          where to; several programs may write into one file
    BLOCKTREE_TAP_BODIES=1                      bodies as well: what is in messages and files

TLS keeps everybody else out, so only an end of a link can show what goes over it: this is that end's own choice. The
writing is for looking, not for proof: it stops at a limit, and an error of the file ends the tap and not the link.
`bttp.capture` is the format.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from btlib.kinds import Kind

from ._core import Direction
from ._frames import FrameKind
from ._shell_base import ShellBase, observe_links
from .capture import MAGIC, WHAT, Captured, FrameCutter, What, encode_record, kept_of
from .errors import BttpError

VARIABLE = "BLOCKTREE_TAP"
BODIES_VARIABLE = "BLOCKTREE_TAP_BODIES"
MAX_BYTES = 1 << 30  #: of a file: some million frames without bodies. A tap that was forgotten must not fill a disk

_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # no symlink, not to children, no wait for a pipe's reader

#: What is said before both ends know each other.
_OPENING = frozenset({FrameKind.HELLO, FrameKind.AUTH, FrameKind.ACCEPT, FrameKind.REFUSE, FrameKind.VIOLATION})

log = logging.getLogger("bttp")


class TapFile:
    """Where captures go. Thread-safe; several processes may append to one file, each record whole."""

    def __init__(self, file: Path, *, bodies: bool = False, limit: int = MAX_BYTES) -> None:
        """Raises BttpError where others could read it, or it cannot be written."""
        self._file = file
        self._bodies = bodies
        self._lock = threading.Lock()
        self._descriptor = _open_private(file)
        self._room = limit - os.fstat(self._descriptor).st_size
        if self._room == limit:
            self._write(MAGIC)

    def observe(self, link: ShellBase) -> None:
        """Write down what goes over a link, from its next frame on."""
        cutters = {direction: FrameCutter() for direction in Direction}
        number = link.id
        opening = [True]

        def show(direction: Direction, plaintext: bytes) -> None:
            for kind, stream, payload in cutters[direction].feed(plaintext):
                if opening and kind not in _OPENING:
                    opening.clear()
                    self._remark(number, f"open, to {link.peer}")
                kept = kept_of(kind, payload, bodies=self._bodies)
                self._add(number, WHAT[direction], kind, stream, len(payload), kept)

        link.tap(show)
        link.on_close(lambda: self._remark(number, f"closed: {link.reason or 'in good order'}"))

    def close(self) -> None:
        """Write no more. May be called again."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def _remark(self, link: int, text: str) -> None:
        self._add(link, What.REMARK, kept=text.encode(errors="replace")[:4096])

    def _add(self, link: int, what: What, kind: int = 0, stream: int = 0, size: int = 0, kept: bytes = b"") -> None:
        record = Captured(
            time=time.time_ns() // 1000,
            process=os.getpid(),
            link=link,
            what=what,
            kind=kind,
            stream=stream,
            size=size,
            kept=kept,
        )
        self._write(encode_record(record))

    def _write(self, data: bytes) -> None:
        with self._lock:
            if self._descriptor < 0:
                return
            self._room -= len(data)
            try:
                if self._room < 0:
                    raise OSError(f"the limit of {MAX_BYTES >> 20} MiB is reached")
                os.write(self._descriptor, data)
            except OSError as error:
                log.warning("the tap into %s ends: %s", self._file, error)
                os.close(self._descriptor)
                self._descriptor = -1


def tap_links(file: Path, *, bodies: bool = False) -> Callable[[], None]:
    """Write down the frames of all links that open in this process; the result ends that. Raises BttpError."""
    tap = TapFile(file, bodies=bodies)
    forget = observe_links(tap.observe)

    def end() -> None:
        forget()
        tap.close()

    return end


@contextmanager
def tapped(file: Path, *, bodies: bool = False) -> Iterator[None]:
    """The same until the block ends."""
    end = tap_links(file, bodies=bodies)
    try:
        yield
    finally:
        end()


def tap_from_environment(environ: Mapping[str, str]) -> Callable[[], None]:
    """The same where the environment asks for it; the result ends it. Raises BttpError."""
    name = environ.get(VARIABLE)
    if not name:
        return lambda: None
    bodies = environ.get(BODIES_VARIABLE, "") not in ("", "0")
    end = tap_links(Path(name), bodies=bodies)
    log.warning("the frames of all links are written into %s%s", name, ", bodies as well" if bodies else "")
    return end


def _open_private(file: Path) -> int:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _SAFELY, 0o600)
    except OSError as error:
        raise BttpError(f"the tap file {file} cannot be written: {error.strerror}", kind=Kind.IO) from error
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
        os.close(descriptor)
        raise BttpError(
            f"the tap file {file} is not a file of yours that nobody else may read",
            kind=Kind.FORBIDDEN,
            hint=f"name another, or: chmod 600 {file}",
        )
    return descriptor
