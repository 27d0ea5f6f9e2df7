"""The pin of a store as a whole: how far it had come when it was seen. One that has not come as far was put back.

Pins of blocks tell of what this client read itself; this one tells also where others wrote. What the numbers show and
what not is said in section 13 of `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import msgspec
from btlib.kinds import Kind

from ..errors import FsError, StoreError
from ..store import Ask, Events, Guarded, Marked, Store
from ._pins import NOT_SEEN, Pins, SeenStore

ANCHOR_STEP = 64  #: commits until the newest becomes the anchor: one more question for so many
ON_PURPOSE = "if a backup was restored on purpose: bt accept-restore; otherwise do not trust this store"


class StoreComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a store shows, beside what was seen of it."""

    store: bytes
    shown: SeenStore
    seen: SeenStore
    same: bool  #: whether the anchor is the commit that was seen, as far as the store still knows

    @property
    def went_back(self) -> bool:
        return self.shown.cursor < self.seen.cursor or not self.same

    def __str__(self) -> str:
        if self.shown.cursor < self.seen.cursor:
            return f"it has {self.shown.cursor} commits, but {self.seen.cursor} were seen before"
        return f"its commit {self.seen.anchor} is another one than was seen, so it was put back and written to since"


def compare_store(before: Mapping[bytes, SeenStore], ask: Ask) -> StoreComparison:
    """`before` is what was seen before asking: what is seen meanwhile, by others too, may be newer."""
    mark = ask(0)
    seen, same = before.get(mark.store, NOT_SEEN), True
    if 0 < seen.anchor <= mark.cursor:
        request = (mark if mark.cursor == seen.anchor else ask(seen.anchor)).request
        same = request is None or request == seen.request
    anchored = SeenStore(mark.cursor, mark.cursor, mark.request) if mark.request else SeenStore(mark.cursor)
    return StoreComparison(store=mark.store, shown=anchored, seen=seen, same=same)


class StorePin:
    """Compares a store with what was seen of it. Thread-safe as its pins are."""

    def __init__(self, store: Store, pins: Pins) -> None:
        self._store = store
        self._pins = pins
        self._identity: bytes | None = None
        self._anchor = 0
        self._name = store.name if isinstance(store, Marked) else "the store"

    def start(self) -> None:
        """Compare now, and wherever the store may have become another one. Raises FsError (ROLLBACK), StoreError."""
        if isinstance(self._store, Guarded):
            self._store.guard(self.check)
        elif isinstance(self._store, Marked):
            self.check(self._store.mark)

    def remember(self) -> None:
        """Compare at the end as well, so that as much as possible is known of it the next time."""
        with suppress(FsError, StoreError):  # it was compared when it mattered
            if isinstance(self._store, Marked):
                self.check(self._store.mark)

    def check(self, ask: Ask) -> None:
        """Raises FsError (ROLLBACK), and what `ask` raises."""
        compared = compare_store(self._pins.seen_stores(), ask)
        if compared.went_back:
            self._pins.flush()  # what is written from here on is the user's word: bt accept-restore
            raise self._refusal(str(compared))
        self._identity, self._anchor = compared.store, compared.shown.anchor
        self._pins.note_store(compared.store, compared.shown)

    def note(self, cursor: int) -> None:
        """The store has come this far."""
        if self._identity is not None:
            self._pins.note_store(self._identity, SeenStore(cursor))

    def check_events(self, asked: int, events: Events) -> bool:
        """What a watch answered that asked for what came after a cursor; whether it is time to `start` again.

        Raises FsError (ROLLBACK).
        """
        if events.cursor < asked:
            raise self._refusal(f"it has {events.cursor} commits, but {asked} were seen before")
        self.note(events.cursor)
        return events.lost or events.cursor >= self._anchor + ANCHOR_STEP

    def _refusal(self, what: str) -> FsError:
        return FsError(Kind.ROLLBACK, f"the store {self._name} went back in time: {what}", ON_PURPOSE)
