"""Snapshots of a store: a name for a moment, and the store as it was then.

A snapshot is a *cursor*: it has of each block the head and the records of the newest commit up to it. As all blocks of
a commit appear together, that is a state that really was. Taking one writes a line; from then on the store keeps what
it would drop, as long as a snapshot has it. What did not change is there once, for now and for all snapshots.

`Snapshots` is a part of a store that not every store has, as `Places` is. What a store says about the past is as little
to be believed as what it says about now, and pins cannot help: whoever reads compares it with what the snapshot's
maker signed (`btfproto.domain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol, runtime_checkable

import msgspec
from btlib.kinds import Kind
from btserde import U64, Fixed

from ..errors import StoreError
from ._interface import BlockKey, Commit, CommitAnswer, Events, LeaseAnswer, LeaseRequest, Store

NAME_BYTES = 255  #: of a snapshot, which is also the name of a directory
MAX_SNAPSHOTS = 4096  #: of a store: each costs a look at what is dropped, and one a line of `.snapshots`

Digest = Annotated[bytes, Fixed[32]]


class Snapshot(msgspec.Struct, frozen=True):
    """`taken`: seconds since the epoch, as its maker says. `kept`: bytes that no other needs."""

    name: str
    cursor: U64
    taken: U64
    kept: U64 = 0


class HeadDigest(msgspec.Struct, frozen=True):
    """Which head a block had: its version, and the SHA-256 of the signed header."""

    block: BlockKey
    version: U64
    digest: Digest


class Past(Store, Protocol):
    """A store as of a snapshot. It never changes; commits and leases are refused (READ_ONLY)."""

    @property
    def snapshot(self) -> Snapshot:
        """Which one; what only it needs is not counted."""
        ...

    def digests(self, after: bytes | None, limit: int) -> list[HeadDigest]:
        """Up to `limit` heads with block id > `after` in order of id, tombstones included."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """A store that can be asked for what it was. Raises StoreError, as a store does."""

    def create_snapshot(self, name: str, taken: int) -> Snapshot:
        """Of what is committed. Atomic and durable. Raises StoreError (EXISTS, INVALID name, LIMIT)."""
        ...

    def delete_snapshot(self, name: str) -> None:
        """Forget it, and what only it needs: atomic and durable. Raises StoreError (NOT_FOUND)."""
        ...

    def snapshots(self) -> Sequence[Snapshot]:
        """All, the oldest first."""
        ...

    def at(self, name: str) -> Past:
        """The store as it was. Raises StoreError (NOT_FOUND), then or, once it is deleted, when it is read."""
        ...


class ReadOnlyStore:
    """What all stores of the past refuse."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def commit(self, commit: Commit) -> CommitAnswer:
        raise self._refusal()

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        raise self._refusal()

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        return Events(self.snapshot.cursor, [])

    def _refusal(self) -> StoreError:
        return StoreError(Kind.READ_ONLY, f"the snapshot {self.snapshot.name!r} cannot be changed")


def is_snapshot_name(name: str) -> bool:
    """Whether a directory can have this name, and a terminal show it."""
    size = len(name.encode(errors="replace"))
    return 0 < size <= NAME_BYTES and name not in (".", "..") and "/" not in name and name.isprintable()


def check_snapshot_name(name: str) -> None:
    """Raises StoreError (INVALID)."""
    if not is_snapshot_name(name):
        raise StoreError(
            Kind.INVALID,
            f"{name!r} is no name of a snapshot",
            f"use 1 to {NAME_BYTES} bytes that can be printed, without a slash",
        )


def unknown_snapshot(name: str) -> StoreError:
    return StoreError(Kind.NOT_FOUND, f"there is no snapshot {name!r}", "see: bt snapshot list")


def existing_snapshot(name: str) -> StoreError:
    return StoreError(Kind.EXISTS, f"there is a snapshot {name!r} already", "choose another name, or delete it")


def too_many_snapshots() -> StoreError:
    return StoreError(Kind.LIMIT, f"a store has at most {MAX_SNAPSHOTS} snapshots", "delete some")
