"""What is remembered of a domain's revocation list from one process to the next: in a file, or not at all.

Without a memory, a store could show a fresh process a list from before somebody was revoked.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Protocol

import msgspec
from btlib.errors import CapabilityError
from btlib.kinds import Kind
from btserde import I64, U8, Fixed, SerdeError, decode, encode

from .domain import LIST_LIMITS, SeenList
from .errors import FsError

FORMAT = 1


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What a memory keeps. `confirmed`: the unix second at which the store last said that there is nothing newer."""

    format: U8 = FORMAT
    root: Fixed[32]
    seen: SeenList
    confirmed: I64


class RevocationMemory(Protocol):
    """Keeps one domain's newest list. Thread-safe."""

    def load(self) -> Remembered | None:
        """What was saved last. Raises FsError where it cannot be read."""
        ...

    def save(self, remembered: Remembered) -> None:
        """Durable on return. Raises FsError."""
        ...


class MemoryOfProcess:
    """Forgets with the process."""

    def __init__(self) -> None:
        self._remembered: Remembered | None = None

    def load(self) -> Remembered | None:
        return self._remembered

    def save(self, remembered: Remembered) -> None:
        self._remembered = remembered


class FileMemory:
    """In a file, replaced atomically. Several processes may share it: what it says only grows newer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def load(self) -> Remembered | None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error
        try:
            return decode(content, Remembered, LIST_LIMITS)
        except (SerdeError, CapabilityError) as error:
            raise self._failed(error) from error

    def save(self, remembered: Remembered) -> None:
        with self._lock:
            known = self.load()
            if known is not None and known.seen.record.version > remembered.seen.record.version:
                return
            fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                    stream.write(encode(remembered))
                    stream.flush()
                    os.fsync(stream.fileno())
                fresh.replace(self._path)
            except OSError as error:
                with contextlib.suppress(OSError):
                    fresh.unlink()
                raise self._failed(error) from error

    def forget(self) -> None:
        """Believe again whatever the store shows: the user accepted a restored backup. Raises FsError."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> FsError:
        return FsError(
            Kind.IO,
            f"what is known of revocations cannot be kept in {self._path}: {error}",
            "move the file away; a store could then show a list from before without being noticed",
        )
