"""What in a store is older than this machine saw it: by its pins, and by the revocation list it remembers.

A store that goes back in time is refused wherever it is met. Here it is asked for all of it at once, so that somebody
who restored a backup can look at what went back, and then let the pins go back too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
from btlib.block import decode_header, decode_signed_header
from btlib.errors import IntegrityError
from btlib.principals import Principal

from ..domain import DomainReader, SeenList
from ..localfs import FilePins, StoreComparison, compare_store
from ..provider import FileKind, FsProvider
from ..store import Absent, Found, Head, HeadWant, Marked, Store
from ._scrub import Meter
from ._tree import walk_tree

PAGE = 256  #: heads asked for at once

Key = TypeVar("Key")


class WentBack(msgspec.Struct, frozen=True, kw_only=True):
    """A block that the store shows in an older version than was seen; `shown` 0: it is not there at all."""

    block: bytes
    seen: int
    shown: int
    written: int | None = None  #: unix seconds, as the head that is shown says

    @property
    def inode(self) -> int:
        """The number under which a file system knows the block."""
        return int.from_bytes(self.block[:8], "little")


class LostRevocations(msgspec.Struct, frozen=True, kw_only=True):
    """The store shows an older revocation list: who is revoked by the newer one alone, since when."""

    seen: int
    shown: int
    principals: dict[Principal, int]
    serials: dict[bytes, int]


def find_rolled_back(store: Store, pins: FilePins, meter: Meter) -> Iterator[WentBack]:
    """All blocks that went back. Raises StoreError, FsError."""
    pinned = pins.all()
    for page in (pinned[at : at + PAGE] for at in range(0, len(pinned), PAGE)):
        answers = store.read_heads([HeadWant(block) for block, _ in page])
        for (block, seen), answer in zip(page, answers, strict=True):
            meter.item(block.hex())
            if isinstance(answer, Absent):
                yield WentBack(block=block, seen=seen, shown=0)
            elif isinstance(answer, Found) and answer.head.version < seen:
                yield WentBack(block=block, seen=seen, shown=answer.head.version, written=_written(answer.head))


def find_store_went_back(store: Store, pins: FilePins) -> StoreComparison | None:
    """What shows that the store as a whole did. Raises StoreError, FsError."""
    if not isinstance(store, Marked):
        return None
    compared = compare_store(pins.seen_stores(), store.mark)
    return compared if compared.went_back else None


def find_lost_revocations(store: Store, root: Principal, seen: SeenList | None) -> LostRevocations | None:
    """What an older revocation list than the remembered one hides. Raises IntegrityError, FsError, StoreError."""
    if seen is None:
        return None
    found = DomainReader(store, root).revocation_list()
    shown = SeenList() if found is None else found
    same_or_newer = shown.record.version > seen.record.version or shown.digest == seen.digest
    if same_or_newer or not seen.record.version:
        return None
    return LostRevocations(
        seen=seen.record.version,
        shown=shown.record.version,
        principals=_missing(seen.record.effective.principals, shown.record.effective.principals),
        serials=_missing(seen.record.effective.serials, shown.record.effective.serials),
    )


def name_blocks(provider: FsProvider, inodes: set[int], meter: Meter) -> dict[int, tuple[str, ...]]:
    """Under which path a tree has these inodes, as far as it can be read."""
    names: dict[int, tuple[str, ...]] = {}
    if provider.root in inodes:
        names[provider.root] = ()
    for path, attributes in walk_tree(provider):
        meter.item("/".join(path))
        if attributes.inode in inodes:
            names[attributes.inode] = path
        if attributes.kind is not FileKind.DIRECTORY:
            provider.forget(attributes.inode)
        if len(names) == len(inodes):
            break
    return names


def accept_rolled_back(pins: FilePins, went_back: Sequence[WentBack], store: StoreComparison | None) -> None:
    """Take what the store shows as the newest that was seen. Raises FsError."""
    pins.accept({found.block: found.shown for found in went_back})
    if store is not None:
        pins.accept_store(store.store, store.shown)


def _written(head: Head) -> int | None:
    try:
        return decode_header(decode_signed_header(head.signed).header).written
    except IntegrityError:
        return None


def _missing(old: dict[Key, int], new: dict[Key, int]) -> dict[Key, int]:
    return {key: since for key, since in old.items() if key not in new}
