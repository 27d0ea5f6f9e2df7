"""Marks: how far a store has come, so that whoever saw it further on notices that it was put back.

A mark is the store's own word and nobody's signature. It tells of accidents (a disk image put back, a wrong backup
mounted), not of a store that lies; see section 13 of `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec
from btserde import U64, Fixed

STORE_ID_SIZE = 16


class StoreMark(msgspec.Struct, frozen=True):
    """`store` was drawn when the store was made, and copies of it have the same; `cursor` counts its commits.

    `request` is the request id of the commit that was asked about, where the store still knows it.
    """

    store: Fixed[16]
    cursor: U64
    request: Fixed[16] | None = None


@runtime_checkable
class Marked(Protocol):
    """A store that says how far it has come."""

    @property
    def name(self) -> str:
        """Where it is, for people."""
        ...

    def mark(self, at: int = 0) -> StoreMark:
        """As of everything that was answered before; `at`: which commit `request` is about, 0 the newest.

        Raises StoreError.
        """
        ...


Ask = Callable[[int], StoreMark]  #: `Marked.mark`


@runtime_checkable
class Guarded(Protocol):
    """A store behind a link, which may be another one on the next link."""

    def guard(self, check: Callable[[Ask], None]) -> None:
        """Let `check` ask for the store's mark now, and on each new link before anything else goes over it.

        Raises what `check` raises, StoreError; later the caller whose call wanted the link gets it, as a StoreError.
        """
        ...
