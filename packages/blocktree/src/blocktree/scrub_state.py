"""How far a scrub came, and what it found: in a file, so that it can be gone on with.

Written at most once a second, whole and atomically; a scrub that ends removes it. It is a note for oneself: what it
says is taken for true, so it lies where only its user may write.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
from btfproto.care import Damage, Position, Unreadable
from btlib.paths import BlockPath

from .files.local import local_errors
from .output import remark

STATE_NAME = "scrub-state"  #: beside the pins
FORMAT = 1
SAVE_SECONDS = 1.0  #: of work that is done again after an interruption, at most


class Findings(msgspec.Struct):
    """What a scrub found, and how much it read."""

    files: list[str] = []
    blocks: list[Damage] = []
    paths: list[Unreadable] = []
    checked: int = 0
    bytes: int = 0
    keys: str = ""  #: why the tree was not opened; empty where it was

    @property
    def count(self) -> int:
        """How many files, blocks and paths are concerned; a block and its path are one."""
        return len(self.files) + len({found.inode for found in self.blocks} | {found.inode for found in self.paths})


class _State(msgspec.Struct):
    format: int
    place: str
    keys: bool
    findings: Findings
    after: bytes | None = None
    blocks_done: bool = False
    position: Position = Position()


class ScrubRun:
    """One scrub, perhaps in several goes."""

    def __init__(self, path: Path, state: _State) -> None:
        self._path = path
        self._state = state
        self._saved = time.monotonic()

    @classmethod
    def begin(cls, path: Path, place: BlockPath, *, keys: bool, resume: bool) -> Self:
        """A new scrub, or the one that was interrupted. Raises FsError where the file cannot be read."""
        fresh = _State(format=FORMAT, place=str(place), keys=keys, findings=Findings())
        if not resume:
            return cls(path, fresh)
        found = _load(path)
        if found is None or (found.format, found.place, found.keys) != (FORMAT, fresh.place, keys):
            remark("there is no interrupted scrub of this path: it begins anew")
            return cls(path, fresh)
        return cls(path, found)

    @property
    def findings(self) -> Findings:
        return self._state.findings

    @property
    def after(self) -> bytes | None:
        """The last block that is done with."""
        return self._state.after

    @property
    def blocks_done(self) -> bool:
        return self._state.blocks_done

    @property
    def position(self) -> Position:
        """How far the tree was opened."""
        return self._state.position

    def reached_block(self, block: bytes) -> None:
        self._state.after = block
        self._save_sometimes()

    def all_blocks(self) -> None:
        self._state.blocks_done = True
        self._save()

    def reached_entry(self, position: Position) -> None:
        self._state.position = position
        self._save_sometimes()

    def end(self) -> None:
        """It is whole: there is nothing to go on with."""
        with local_errors(self._path):
            self._path.unlink(missing_ok=True)

    def _save_sometimes(self) -> None:
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        with local_errors(fresh):
            fresh.touch(mode=0o600)
            fresh.write_bytes(msgspec.json.encode(self._state))
            fresh.replace(self._path)
        self._saved = time.monotonic()


def _load(path: Path) -> _State | None:
    """What was saved; None where nothing was, or nothing that can be used."""
    with suppress(FileNotFoundError, msgspec.DecodeError), local_errors(path):
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=_State)
    return None
