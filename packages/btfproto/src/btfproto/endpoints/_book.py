"""`EndpointBook`: the endpoint records that a machine has seen of a domain, in a file, from one process to the next.

It is where a client looks when nobody answers where its configuration says, and what tells that a record is older than
one seen before. Only records that were verified come in; they are verified again, by the time and the revocations of
then, whenever somebody asks. It keeps expired ones, as the memory of what was newest.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import NO_REVOCATIONS, Revocations
from btserde import U8, SerdeError, decode, encode

from ..errors import FsError
from ._records import SET_LIMITS, EndpointRecord, SignedRecord, check_record, read_record
from ._resolve import Known, Resolution, resolve

BOOK_FILE = "endpoints"  #: below the domain's data directory
FORMAT = 1
MAX_KEPT = 64  #: records; more servers than a domain of people has. Those issued first go first


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    format: U8 = FORMAT
    root: Principal
    records: tuple[SignedRecord, ...] = ()


class EndpointBook:
    """Thread-safe. Processes may share the file: what another has just added may get lost, and is learnt again."""

    def __init__(self, file: Path, root: Principal) -> None:
        self._file = file
        self._root = root
        self._lock = threading.Lock()

    def records(self) -> dict[Known, SignedRecord]:
        """The newest of each path and server. Raises FsError where the file cannot be read."""
        try:
            content = decode(self._file.read_bytes(), _Content, SET_LIMITS)
            if content.root != self._root:
                return {}
            claims = [(read_record(signed), signed) for signed in content.records]
        except FileNotFoundError:
            return {}
        except (OSError, SerdeError, BlocktreeError) as error:
            raise self._failed(error) from error
        return {(record.path, record.server): signed for record, signed in claims}

    def resolve(self, target: BlockPath, *, now: int, revocations: Revocations = NO_REVOCATIONS) -> Resolution:
        """What this book says of a path. Raises FsError."""
        by_path: dict[BlockPath, list[SignedRecord]] = {}
        for (path, _), signed in self.records().items():
            by_path.setdefault(path, []).append(signed)
        return resolve(target, by_path, now=now, revocations=revocations)

    def learn(
        self,
        found: Iterable[tuple[BlockPath, SignedRecord]],
        *,
        now: int,
        revocations: Revocations = NO_REVOCATIONS,
    ) -> list[EndpointRecord]:
        """Take in the good ones that are new; they are the answer. `found`: with the path where each stood."""
        with self._lock:
            known = self.records()
            fresh: list[EndpointRecord] = []
            for path, signed in found:
                record = self._good(path, signed, known, now, revocations)
                if record is not None and known.get((path, record.server)) != signed:
                    known[path, record.server] = signed
                    fresh.append(record)
            if fresh:
                self._save(known)
            return fresh

    def _good(
        self,
        path: BlockPath,
        signed: SignedRecord,
        known: dict[Known, SignedRecord],
        now: int,
        revocations: Revocations,
    ) -> EndpointRecord | None:
        try:
            newest = known.get((path, read_record(signed).server))
            return check_record(signed, path=path, now=now, newest=newest, revocations=revocations)
        except BlocktreeError:
            return None

    def _save(self, known: dict[Known, SignedRecord]) -> None:
        newest = sorted(known.values(), key=lambda signed: read_record(signed).issued)[-MAX_KEPT:]
        fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(encode(_Content(root=self._root, records=tuple(newest))))
            fresh.replace(self._file)  # not synced: what a crash takes is learnt again
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> FsError:
        return FsError(
            Kind.IO, f"the endpoint records in {self._file} cannot be used: {error}", f"remove it: rm {self._file}"
        )
