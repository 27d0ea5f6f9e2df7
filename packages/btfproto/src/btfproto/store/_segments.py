"""Segments: append-only files that hold the records too large for the index.

An append is written, then synced, and only then may the index name it; until that happens its bytes are nobody's and
the next append overwrites them. A segment whose write or sync failed is *sealed*: never written again, since the kernel
may have dropped its pages and a second sync would lie. Reads never lock: an open file lives until its last reader ends.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from btlib.kinds import Kind

from ..errors import StoreError
from ._files import Buffer, Files
from ._placement import Run
from ._segment_format import (
    RUN_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    RunHeader,
    decode_run_header,
    encode_run_header,
    encode_segment_header,
    segment_header_fault,
    stretches,
)

SEGMENT_SIZE = 256 * 2**20  #: a segment is full beyond this: large enough to be few, small enough to compact
OPEN_SEGMENTS = 128  #: descriptors kept, far below the usual limit of 1024 a process
FEW_SEGMENTS = OPEN_SEGMENTS // 2
PARTS_AT_ONCE = 1024  #: IOV_MAX of Linux

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class OpenSegment:
    """A descriptor that is closed when nobody uses it any more: its readers and the table share it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Segments:
    """The segment files of a store. Reads from any thread; appends and syncs by one at a time."""

    def __init__(
        self,
        directory: Path,
        store_id: bytes,
        files: Files,
        ends: Mapping[int, int],
        *,
        size: int = SEGMENT_SIZE,
        lenient: bool = False,
    ) -> None:
        """`ends`: the committed length of every segment. Raises StoreError if one is missing or shorter.

        `lenient`: whatever is there is taken as it is, for reading alone.
        """
        self.directory = directory
        self._store_id = store_id
        self._files = files
        self.size = size  #: a segment that is longer gets no more
        self._open: OrderedDict[int, OpenSegment] = OrderedDict()
        self._open_lock = threading.Lock()
        self.ends = dict(ends)
        self.on_forget: list[Callable[[], None]] = []  #: called when a file went
        self._active: int | None = None
        self._next = max(ends, default=0) + 1
        if not lenient:
            self._check_files()

    def read(self, number: int, size: int, offset: int) -> bytes:
        """Exactly `size` bytes. Raises StoreError (INTEGRITY: the file ends before), FileNotFoundError (it is gone)."""
        segment = self.segment(number)
        try:
            data = self._files.read(segment.fd, size, offset)
        except OSError as error:
            raise self._failed(number, "read", error) from error
        if len(data) != size:
            raise self._damaged(number, f"it ends before byte {offset + size}")
        return data

    def batch(self) -> Batch:
        """Begin to append. At most one batch is used at a time."""
        return Batch(self)

    def walk(self, number: int) -> Iterator[tuple[int, RunHeader]]:
        """The run headers of a segment in order, each with the offset of its records. Raises StoreError (INTEGRITY)."""
        offset, end = SEGMENT_HEADER_SIZE, self.ends[number]
        while offset < end:
            run = decode_run_header(self.read(number, RUN_HEADER_SIZE, offset))
            offset += RUN_HEADER_SIZE
            if run is None or offset + run.data_size > end:
                raise self._damaged(number, f"there is no run at byte {offset - RUN_HEADER_SIZE}")
            yield offset, run
            offset += run.data_size

    def forget(self, number: int) -> None:
        """Delete a segment that nothing names any more; readers that have it open may finish.

        If that fails, the file stays until the store is opened again: it costs space and harms nobody.
        """
        with self._open_lock:
            self._open.pop(number, None)
        self.ends.pop(number, None)
        if self._active == number:
            self._active = None
        with suppress(OSError):
            self._files.remove(self.path(number))
        for forgotten in self.on_forget:
            forgotten()

    def close(self) -> None:
        with self._open_lock:
            self._open.clear()

    def path(self, number: int) -> Path:
        return self.directory / f"{number:08}.seg"

    def retire(self) -> None:
        """Append to a new segment from now on, so that the one before can be emptied. Not within a batch."""
        self._active = None

    @property
    def active(self) -> int | None:
        """The segment that the next batch appends to, if it exists already."""
        return self._active

    def segment(self, number: int) -> OpenSegment:
        known = self._open.get(number)
        if known is not None and len(self._open) <= FEW_SEGMENTS:  # none is about to be closed
            return known
        with self._open_lock:
            segment = self._open.get(number)
            if segment is not None:
                self._open.move_to_end(number)
                return segment
            try:
                segment = OpenSegment(self._files.open(self.path(number)))
            except FileNotFoundError:
                raise
            except OSError as error:
                raise self._failed(number, "open", error) from error
            return self._remember(number, segment)

    def _remember(self, number: int, segment: OpenSegment) -> OpenSegment:
        self._open[number] = segment
        if len(self._open) > OPEN_SEGMENTS:
            self._open.popitem(last=False)
        return segment

    def _create(self, number: int) -> OpenSegment:
        segment = OpenSegment(self._files.open(self.path(number), create=True))
        self._files.sync_directory(self.directory)
        self._write(segment.fd, [encode_segment_header(number, self._store_id)], 0)
        with self._open_lock:
            return self._remember(number, segment)

    def _write(self, fd: int, parts: list[Buffer], offset: int) -> None:
        """Write all parts, however many calls that takes."""
        at = 0
        while at < len(parts):
            chunk = parts[at : at + PARTS_AT_ONCE]
            at += len(chunk)
            while chunk:
                taken = self._files.write(fd, chunk, offset)
                offset += taken
                chunk = _rest(chunk, taken)

    def _seal(self, numbers: Iterable[int]) -> None:
        """Never append to these again, and give back what the failed append took, as far as the system lets us."""
        self._active = None
        for number in numbers:
            with suppress(OSError):
                if number in self.ends:
                    self._files.truncate(self.segment(number).fd, self.ends[number])
                else:
                    self._files.remove(self.path(number))

    def _check_files(self) -> None:
        """Every committed byte must be there; what lies beyond was never committed, and goes."""
        for number, end in self.ends.items():
            path = self.path(number)
            size = path.stat().st_size if path.exists() else -1
            if size < end:
                what = "it is missing" if size < 0 else f"it has {size} bytes of {end}"
                raise self._damaged(number, what)
            if size > end:
                self._files.truncate(self.segment(number).fd, end)
            head = self._files.read(self.segment(number).fd, SEGMENT_HEADER_SIZE, 0)
            fault = segment_header_fault(head, number, self._store_id)
            if fault is not None:
                raise self._damaged(number, fault)
        for path in self.directory.glob("*.seg"):
            if not path.stem.isdecimal() or int(path.stem) not in self.ends:
                self._files.remove(path)
        if self.ends:
            self._active = max(self.ends)

    def _damaged(self, number: int, what: str) -> StoreError:
        rebuild = f"python -m btfproto.store.rebuild {self.directory.parent}"
        return StoreError(
            Kind.INTEGRITY,
            f"the segment {self.path(number)} is damaged: {what}",
            f"restore it: bt restore; or see what is left: bt mount -o ro, bt fsck; or keep what is whole: {rebuild}",
        )

    def _failed(self, number: int, verb: str, error: OSError) -> StoreError:
        full = error.errno in NO_SPACE
        text = f"cannot {verb} the segment {self.path(number)}: {error.strerror or error}"
        return StoreError(Kind.NO_SPACE if full else Kind.IO, text, "free some space" if full else None)


class Batch:
    """What one group appends: collected by `add`, made durable by `sync`, kept by `adopt`."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._parts: dict[int, list[Buffer]] = {}
        self._starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.appended = 0
        self._number = segments._active
        self._end = 0 if self._number is None else segments.ends[self._number]

    def add(
        self, block: bytes, version: int, level: int, first: int, records: Sequence[Buffer], born: int
    ) -> list[Run]:
        """Append consecutive records; returns where they will lie."""
        if len(records) == 1:
            size = len(records[0])
            return [self._add(RunHeader(level, block, version, first, 1, size, size), records, born)]
        sizes = list(map(len, records))
        return [
            self._add(
                RunHeader(level, block, version, first + start, end - start, sizes[start], sizes[end - 1]),
                records[start:end],
                born,
            )
            for start, end in stretches(sizes)
        ]

    def _add(self, header: RunHeader, records: Sequence[Buffer], born: int) -> Run:
        _, _, _, first, count, size, last = header
        number, parts = self._room()
        parts.append(encode_run_header(header))
        parts += records
        offset, data_size = self._end + RUN_HEADER_SIZE, (count - 1) * size + last
        self._end = self.ends[number] = offset + data_size
        self.appended += data_size
        return Run(first, count, number, offset, size, last, born)

    def sync(self) -> None:
        """Write all of it and return when it is durable. Raises StoreError; then nothing of it counts."""
        for number, parts in self._parts.items():
            try:
                self._append(number, parts)
            except OSError as error:
                self._segments._seal(self._parts)
                raise self._segments._failed(number, "append to", error) from error

    def adopt(self) -> None:
        """The index names it now: later batches append after it."""
        self._segments.ends.update(self.ends)
        if self.ends:
            self._segments._active = self._number

    def end_of(self, number: int) -> int:
        """The length of a segment once this batch is adopted."""
        return self.ends.get(number) or self._segments.ends[number]

    def _room(self) -> tuple[int, list[Buffer]]:
        """The segment to append to, and the parts of it so far; a new one where the last is full."""
        if self._number is None or self._end >= self._segments.size:
            self._number = self._segments._next
            self._segments._next += 1
            self._end = SEGMENT_HEADER_SIZE
        if self._number not in self._parts:
            self._parts[self._number] = []
            self._starts[self._number] = self._end
        return self._number, self._parts[self._number]

    def _append(self, number: int, parts: list[Buffer]) -> None:
        segments = self._segments
        segment = segments.segment(number) if number in segments.ends else segments._create(number)
        segments._write(segment.fd, parts, self._starts[number])
        segments._files.sync(segment.fd)


def _rest(parts: list[Buffer], taken: int) -> list[Buffer]:
    """What remains of some parts after `taken` bytes."""
    if taken == sum(map(len, parts)):
        return []
    for i, part in enumerate(parts):
        if taken < len(part):
            return [memoryview(part)[taken:], *parts[i + 1 :]]
        taken -= len(part)
    return []
