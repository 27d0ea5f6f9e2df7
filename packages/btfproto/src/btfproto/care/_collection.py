"""Garbage: blocks that no directory names, tombstones of long ago, and the dead bytes of segments.

A block that nothing names is left behind by a crash (of a client that had a removed file open), and is found by walking
the *whole* tree and taking what is not there. So the walk must miss nothing: any failure ends it, the root directory
has to be readable, and a tree in which something was committed meanwhile is walked anew. What was written lately is
left alone, since somebody may have it open. Public records are never garbage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec
from btlib.block import Header, decode_header, decode_signed_header
from btlib.identity import Identity
from btlib.kinds import Kind

from ..domain import Draft, Volume, commit_draft
from ..errors import FsError
from ..provider import Entry, FileKind, FsProvider
from ..store import Found, HeadWant, Store
from ._scrub import Meter

PAGE = 256  #: heads of one scan
LISTING = 1024  #: entries asked for at once
TOGETHER = 256  #: blocks removed with one commit
ATTEMPTS = 3  #: to walk the tree while nobody changes it
REQUEST_SIZE = HOLDER_SIZE = 16


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed block that nothing names; `size` is what it takes in the store."""

    header: Header
    size: int


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    block: bytes
    version: int


def find_orphans(store: Store, provider: FsProvider, before: int, meter: Meter) -> list[Orphan]:
    """What nothing names, and was written before a moment. `provider` is attached to the root directory.

    Raises FsError: BUSY where the tree is changed all the time; what a directory that cannot be read raises.
    """
    holder = os.urandom(HOLDER_SIZE)
    for _ in range(ATTEMPTS):
        cursor = store.watch(0, holder, 0.0).cursor
        candidates = list(_sealed(store, before))
        named = _named(provider, meter) if candidates else set()
        events = store.watch(cursor, holder, 0.0)
        if not events.changes and not events.lost:
            return [found for found in candidates if _inode(found.header.block) not in named]
    raise FsError(Kind.BUSY, "the tree is changed while it is walked", "try again when nobody writes")


def remove_orphans(
    store: Store, identity: Identity, volume: Volume, orphans: Sequence[Orphan], now: int, meter: Meter
) -> None:
    """Leave tombstones of them. Raises FsError: FORBIDDEN, CONFLICT; what was committed before stays done."""
    if volume.chain is None:
        raise FsError(
            Kind.FORBIDDEN, f"this machine may not write: {volume.read_only_reason}", "see: bt access explain"
        )
    for at in range(0, len(orphans), TOGETHER):
        draft = Draft(identity.signer, volume.chain, now=now)
        for orphan in orphans[at : at + TOGETHER]:
            meter.item(orphan.header.block.hex())
            meter.bytes(orphan.size)
            draft.remove(orphan.header)
        commit_draft(store, draft, volume.scope, os.urandom(REQUEST_SIZE))


def find_tombstones(store: Store, before: int) -> list[Tombstone]:
    """Tombstones that were written before a moment. Raises StoreError."""
    return [
        Tombstone(block=header.block, version=header.version)
        for header, _ in _headers(store, removed=True)
        if header.written < before
    ]


def _sealed(store: Store, before: int) -> Iterator[Orphan]:
    for header, size in _headers(store, removed=False):
        if not header.public and header.written < before:
            yield Orphan(header=header, size=size)


def _headers(store: Store, *, removed: bool) -> Iterator[tuple[Header, int]]:
    """Headers with the bytes that their blocks store. Raises StoreError, IntegrityError."""
    after: bytes | None = None
    while page := store.scan(after, PAGE):
        after = page[-1].block
        wanted = [summary for summary in page if summary.removed is removed]
        answers = store.read_heads([HeadWant(summary.block) for summary in wanted])
        for summary, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, Found) and answer.head.removed is removed:
                yield decode_header(decode_signed_header(answer.head.signed).header), summary.stored_bytes


def _named(provider: FsProvider, meter: Meter) -> set[int]:
    """The inodes of everything that a directory names, and of the root. Raises FsError for whatever is damaged."""
    named, pending = {provider.root}, [provider.root]
    while pending:
        directory = pending.pop()
        for entry in _entries(provider, directory):
            meter.item(entry.name)
            if entry.kind is FileKind.DIRECTORY and entry.inode not in named:
                pending.append(provider.lookup(directory, entry.name).inode)
            named.add(entry.inode)
        if directory != provider.root:
            provider.forget(directory)
    return named


def _entries(provider: FsProvider, directory: int) -> Iterator[Entry]:
    cookie = 0
    while batch := provider.readdir(directory, cookie, LISTING):
        yield from batch
        cookie = batch[-1].cookie


def _inode(block: bytes) -> int:
    return int.from_bytes(block[:8], "little")
