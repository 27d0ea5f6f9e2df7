"""Carrying a tree from an origin to a goal, and comparing both afterwards.

- What the goal holds already, from a run that was interrupted or from an earlier one, is not carried again.
- An item that fails is reported, and the rest goes on; where going on is senseless the failure is raised.
- Comparing reads both ends anew: content by SHA-256, all else as it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from btfproto.errors import FsError
from btfproto.provider import FileKind
from btlib.errors import BlocktreeError

from ..copying import HOPELESS, Progress
from .records import Content, Goal, Origin, Record, digest


@dataclass
class Moved:
    """What was done. `failures` pairs a path with its error, `differing` with what differs."""

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes: int = 0  #: carried
    kept: int = 0  #: files that the goal held already
    skipped: list[str] = field(default_factory=list)
    failures: list[tuple[str, BlocktreeError]] = field(default_factory=list)
    differing: list[tuple[str, str]] = field(default_factory=list)


def measure(origin: Origin) -> tuple[int, int]:
    """How many items and bytes of data there are, about."""
    items = size = 0
    for record in origin.records():
        items += 1
        size += 0 if record.first is not None else record.size
    return items, size


def move(origin: Origin, goal: Goal, moved: Moved, progress: Progress) -> None:
    """Carry everything over. Raises what makes going on senseless."""
    for record in origin.records():
        progress.item(record.path)
        try:
            record.check()
            _move_one(origin, goal, record, moved, progress)
        except BlocktreeError as error:
            if error.kind in HOPELESS:
                raise
            moved.failures.append((record.path, error))
    moved.failures += origin.failures
    goal.finish()


def compare(origin: Origin, goal: Goal, moved: Moved, progress: Progress) -> None:
    """Note whatever of the origin is not the same in the goal."""
    view = goal.view()
    failed = {path for path, _ in moved.failures}
    for record in origin.records():
        progress.item(record.path)
        if record.kind in goal.leaves_out or record.path in failed:
            continue
        try:
            what = _difference(origin, view, goal, record, progress)
        except FsError as error:
            if error.kind in HOPELESS:
                raise
            what = error.message
        if what is not None:
            moved.differing.append((record.path, what))


class _Counted:
    """Content that is counted as it is read."""

    def __init__(self, content: Content, moved: Moved, progress: Progress) -> None:
        self.stretches = content.stretches
        self._content = content
        self._moved = moved
        self._progress = progress

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        for offset, piece in self._content.pieces():
            self._progress.bytes(len(piece))
            self._moved.bytes += len(piece)
            yield offset, piece


def _move_one(origin: Origin, goal: Goal, record: Record, moved: Moved, progress: Progress) -> None:
    if record.kind in goal.leaves_out:
        moved.skipped.append(record.path)
    elif record.kind is FileKind.DIRECTORY:
        goal.put(record, None)
        moved.directories += 1
    elif goal.holds(record):
        moved.kept += 1
        progress.bytes(0 if record.first is not None else record.size)
    elif record.kind is FileKind.FILE:
        content = None if record.first is not None else _Counted(origin.content(record), moved, progress)
        goal.put(record, content)
        moved.files += 1
    else:
        goal.put(record, None)
        moved.others += 1


def _difference(origin: Origin, view: Origin, goal: Goal, record: Record, progress: Progress) -> str | None:
    """What is not the same, as a sentence without the path."""
    found = view.find(record.names)
    if found is None:
        return "it is not there"
    if found.kind is not record.kind:
        return f"it is a {found.kind.name.lower()}, not a {record.kind.name.lower()}"
    pairs = [
        ("size", record.size, found.size),
        ("link target", record.target, found.target),
        ("device", record.device, found.device),
        ("extended attributes", dict(record.xattrs), dict(found.xattrs)),
        ("time of change", record.modified, found.modified),
    ]
    if record.kind is not FileKind.SYMLINK:
        pairs.append(("mode", record.mode & goal.mode_mask, found.mode & goal.mode_mask))
    if goal.keeps_owner:
        pairs.append(("owner", (record.uid, record.gid), (found.uid, found.gid)))
    differing = [name for name, wanted, has in pairs if wanted != has]
    if differing:
        return f"{' and '.join(differing)} differ"
    if record.first is not None:
        first = view.find(record.first)
        return None if first is not None and view.same(first, found) else "it is no other name of the same file"
    if record.kind is FileKind.FILE:
        progress.bytes(record.size)
        wanted = digest(origin.content(record).pieces(), record.size)
        if wanted != digest(view.content(found).pieces(), found.size):
            return "its content differs"
    return None
