"""Mount points: whether one can be used, mending a stale one, unmounting, and what the kernel says is mounted.

A *stale* mount is what a killed daemon leaves: every call on it answers ENOTCONN. A stale mount of ours is unmounted at
the next start; one of another program is not ours to touch.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from btlib.kinds import Kind

from ._errors import FuseError
from ._last_word import daemon_of

FILE_SYSTEM = "fuse.btfuse"
_MOUNTINFO = Path("/proc/self/mountinfo")
_DETACH = 2  #: MNT_DETACH of umount2(2)
#: Where fusermount lies when there is no PATH, as under mount(8).
_PROGRAM_PATHS = "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin"
_STALE_ERRORS = {errno.ENOTCONN, errno.ECONNABORTED}
#: More than a few stale mounts on top of each other would be somebody's experiment.
_STACK_LIMIT = 8


@dataclass(frozen=True, kw_only=True)
class MountEntry:
    """One line of `/proc/self/mountinfo`."""

    device: str  #: major:minor
    mountpoint: str
    kind: str
    source: str
    owner: int | None = None  #: the user who made it, where its file system says so


def mounts() -> list[MountEntry]:
    """What is mounted, oldest first."""
    return parse_mounts(_MOUNTINFO.read_text(errors="surrogateescape"))


def parse_mounts(text: str) -> list[MountEntry]:
    """Read the format of proc(5); lines that are not in it are passed over."""
    entries = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        if dash and len(fields) >= 6 and len(rest) >= 2:
            owner = re.search(r"(?:^|,)user_id=(\d+)", rest[2]) if len(rest) > 2 else None
            entries.append(
                MountEntry(
                    device=fields[2],
                    mountpoint=_unescape(fields[4]),
                    kind=rest[0],
                    source=_unescape(rest[1]),
                    owner=int(owner[1]) if owner else None,
                )
            )
    return entries


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def find_mount(mountpoint: str) -> MountEntry | None:
    """The topmost mount at this very place. Does not touch the place, so it works for stale mounts."""
    found = [entry for entry in mounts() if entry.mountpoint == mountpoint]
    return found[-1] if found else None


def check_mountpoint(text: str, *, allow_nonempty: bool = False) -> str:
    """The absolute path of a directory that can be mounted on, its stale mounts mended. Raises FuseError."""
    mountpoint = _absolute(text)
    empty = _mended_and_empty(mountpoint)
    entry = find_mount(mountpoint)
    if entry is not None and entry.kind.startswith("fuse"):
        raise FuseError(
            f"{mountpoint} is in use: {entry.source} is mounted there ({entry.kind})",
            kind=Kind.BUSY,
            hint=f"run: fusermount3 -u {mountpoint}",
        )
    if not empty and not allow_nonempty:
        raise FuseError(
            f"{mountpoint} is not empty, and a mount would hide what is in it",
            kind=Kind.NOT_EMPTY,
            hint="choose an empty directory, or use: -o nonempty",
        )
    return mountpoint


def _absolute(text: str) -> str:
    # Not Path.resolve, which would raise at a stale mount: what cannot be asked is taken as it stands.
    return os.path.realpath(text)


def _mended_and_empty(mountpoint: str) -> bool:
    """Whether the place is empty once no stale mount lies on it."""
    for _ in range(_STACK_LIMIT):
        _mend_stale(mountpoint)
        try:
            return _is_empty(mountpoint)
        except OSError as error:  # a server that was killed a moment ago goes stale between two questions
            if error.errno not in _STALE_ERRORS:
                raise
    raise FuseError(
        f"the mounts on {mountpoint} go stale one after the other", kind=Kind.BUSY, hint="see what mounts there"
    )


def _is_empty(mountpoint: str) -> bool:
    try:
        with os.scandir(mountpoint) as entries:
            return next(entries, None) is None
    except FileNotFoundError as error:
        raise FuseError(
            f"the mount point {mountpoint} does not exist", kind=Kind.NOT_FOUND, hint=f"run: mkdir -p {mountpoint}"
        ) from error
    except NotADirectoryError as error:
        raise FuseError(
            f"the mount point {mountpoint} is no directory", kind=Kind.NOT_DIRECTORY, hint="choose a directory"
        ) from error
    except OSError as error:
        if error.errno in _STALE_ERRORS:
            raise
        raise FuseError(
            f"the mount point {mountpoint} cannot be used: {error.strerror}",
            kind=Kind.IO,
            hint="choose a directory of your own",
        ) from error


def is_stale(mountpoint: str) -> bool:
    try:
        os.statvfs(mountpoint)  # stat may be answered from the cache of the kernel
    except OSError as error:
        return error.errno in _STALE_ERRORS
    return False


def _mend_stale(mountpoint: str) -> None:
    for _ in range(_STACK_LIMIT):
        if not is_stale(mountpoint):
            return
        entry = find_mount(mountpoint)
        if entry is not None and entry.kind != FILE_SYSTEM:
            raise FuseError(
                f"{mountpoint} is a broken mount of {entry.kind} ({entry.source})",
                kind=Kind.STALE,
                hint=f"run: fusermount3 -uz {mountpoint}",
            )
        unmount(mountpoint, lazy=True)


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Unmount; `lazy` detaches at once although files are open. Raises FuseError."""
    if os.geteuid() == 0:
        library = ctypes.CDLL(None, use_errno=True)
        if library.umount2(os.fsencode(mountpoint), _DETACH if lazy else 0) == 0:
            return
        _refuse_unmount(mountpoint, os.strerror(ctypes.get_errno()))
    program = find_fusermount()
    if program is None:
        _refuse_unmount(mountpoint, "there is no fusermount3")
    done = subprocess.run(
        [str(program), "-u", *(["-z"] if lazy else []), "--", mountpoint], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        _refuse_unmount(mountpoint, done.stderr.strip().removeprefix("fusermount3: "))


def _refuse_unmount(mountpoint: str, reason: str) -> NoReturn:
    raise FuseError(
        f"{mountpoint} cannot be unmounted: {reason}",
        kind=Kind.BUSY,
        hint=f"see who uses it: fuser -vm {mountpoint}",
    )


def find_fusermount() -> str | None:
    """The set-uid helper through which users who are not root mount."""
    for name in ("fusermount3", "fusermount"):
        if (found := shutil.which(name) or shutil.which(name, path=_PROGRAM_PATHS)) is not None:
            return found
    return None


def unmount_and_wait(mountpoint: str, *, seconds: float = 60.0) -> None:
    """Unmount, and return when the process behind it has committed everything and ended.

    Does not touch the mount, which may wait for a server that is away. Raises FuseError, also for what could not be
    committed: it says where that is kept.
    """
    place = _mounted_place(mountpoint)
    entry = find_mount(place)
    if entry is None or entry.kind != FILE_SYSTEM:
        raise FuseError(
            f"nothing of btfuse is mounted at {place}", kind=Kind.NOT_FOUND, hint="see: findmnt -t fuse.btfuse"
        )
    with daemon_of(entry.device, entry.owner) as daemon:
        try:
            unmount(place)
        except FuseError as error:
            if daemon is None:
                raise
            hint = f"{error.hint}; to cut them off: kill {daemon.pid}, or: umount -f {place}"
            raise FuseError(error.message, kind=error.kind, hint=hint) from error
        if daemon is not None:
            _hear(place, daemon.wait(seconds), seconds)


def _hear(place: str, said: str | None, seconds: float) -> None:
    if said is None:
        raise FuseError(
            f"{place} is unmounted, but its process has not ended within {seconds:.0f} s",
            kind=Kind.DEADLINE,
            hint="see its log: journalctl -t btfuse",
        )
    if said:
        raise FuseError(f"{place} is unmounted, but not everything is committed: {said}", kind=Kind.IO)


def _mounted_place(text: str) -> str:
    """The absolute path of a mount, without asking what is mounted there where that can be avoided."""
    path = Path(text).absolute()
    place = str(path.parent.resolve() / path.name)
    return place if find_mount(place) is not None else _absolute(text)


def raise_readahead(mountpoint: str, kibibytes: int) -> None:
    """Let the kernel read ahead further than its default of 128 KiB; only root may, and without it all works."""
    entry = find_mount(mountpoint)
    if entry is not None:
        with contextlib.suppress(OSError):
            Path(f"/sys/class/bdi/{entry.device}/read_ahead_kb").write_text(str(kibibytes))
