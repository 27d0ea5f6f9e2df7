"""Compaction: giving back the space of records that were overwritten, a little with each group.

A full segment with little alive gets its living runs copied to the end, as part of groups that append anyway: at most
as many bytes as the group itself appended, so writes cost at most double. That is done at once below a quarter alive,
and for the emptiest where less than half of the whole store is alive, so a store takes at most about twice its living
bytes; waiting until then moves the fewest. When nothing in the segment is alive any more, its file goes.

Which blocks lie in a segment is read from the segment itself; what only snapshots need of it, from the index. A segment
that cannot be read is left alone: its damage is reported to whoever reads those records, not to whoever happens to
commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import StoreError
from ._group import BEGINNING, Group
from ._segments import Batch, Segments

STEP_BYTES = 8 * 2**20  #: moved with one group at the most: some 20 ms
LOOK_BYTES = 1024  #: what looking at one run counts as: about as long as moving so much
PAUSE_SHARE = 16  #: of a segment must be appended before it is worth looking again for one to empty
WORTHWHILE = 0.25  #: share of living bytes below which a segment is emptied at once: three bytes back for each moved
CROWDED = 0.5  #: share of living bytes in the store below which the emptiest segment is emptied, if below this itself


class Compaction:
    """Chooses segments and moves what lives in them. Used by the writer alone."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._victim: int | None = None
        self._blocks: Iterator[bytes | None] = iter(())
        self._block: bytes | None = None  # the one that was not finished, and where to go on in it
        self._position = BEGINNING
        self._kept_left = True  # it may hold what only snapshots need
        self._left_alone: set[int] = set()  # unreadable, or emptied already
        self._emptied: int | None = None  # by the newest group
        self._pause = 0  # bytes to be appended before it is worth looking again

    def step(self, group: Group, batch: Batch, living: Mapping[int, int]) -> None:
        """Move some bytes along with a group, if it appends to segments and there is something to move."""
        self._emptied = None
        budget = min(batch.appended, STEP_BYTES)
        self._pause -= batch.appended
        if not budget or self._pause > 0:
            return
        try:
            while budget > 0 and self._choose(living):
                budget -= self._move_next(group, budget)
        except (StoreError, FileNotFoundError):
            if self._victim is not None:
                self._left_alone.add(self._victim)
            self._victim = None

    def plan(self, living: Mapping[int, int], share: float) -> set[int]:
        """The segments of which less than `share` is alive, and that can be read."""
        ends = self._segments.ends
        return {number for number, alive in living.items() if alive < share * ends[number]} - self._left_alone

    def sweep(self, group: Group, living: Mapping[int, int], among: set[int]) -> bool:
        """Move what lives in these segments, up to `STEP_BYTES`; whether there may be more."""
        self._emptied = None
        budget = STEP_BYTES
        while budget > 0:
            try:
                if not self._choose(living, among):
                    return False
                budget -= self._move_next(group, budget)
            except (StoreError, FileNotFoundError):
                if self._victim is not None:
                    self._left_alone.add(self._victim)
                self._victim = None
        return True

    def undo(self) -> None:
        """The group came to nothing: what it moved has to be moved again."""
        self._victim = None
        if self._emptied is not None:
            self._left_alone.discard(self._emptied)

    def _choose(self, living: Mapping[int, int], among: set[int] | None = None) -> bool:
        """Whether there is a segment to empty; of those `among` all are, without them those that are worth it."""
        if self._victim is not None and not living.get(self._victim):
            self._victim = None  # nobody has to look through the rest of it
        if self._victim is None:
            candidates = [
                (alive / self._segments.ends[number], number)
                for number, alive in living.items()
                if alive and number != self._segments.active and number not in self._left_alone
                if among is None or number in among
            ]
            share, number = min(candidates, default=(2.0, 0))
            limit = 2.0 if among is not None else CROWDED if self._is_crowded(living) else WORTHWHILE
            if share >= limit:
                self._pause = self._segments.size // PAUSE_SHARE
                return False
            self._victim, self._block, self._position = number, None, BEGINNING
            self._kept_left = True
            self._blocks = self._blocks_of(number)
        return True

    def _is_crowded(self, living: Mapping[int, int]) -> bool:
        """Whether dead bytes take the greater part of the store."""
        return sum(living.values()) < CROWDED * sum(self._segments.ends.values())

    def _blocks_of(self, number: int) -> Iterator[bytes | None]:
        """The blocks in a segment, each once; None for a run of one that was there before."""
        seen: set[bytes] = set()
        for _, run in self._segments.walk(number):
            yield None if run.block in seen else run.block
            seen.add(run.block)

    def _move_next(self, group: Group, budget: int) -> int:
        """Move the next block's runs; returns how many bytes that took."""
        assert self._victim is not None
        try:
            block = self._block or next(self._blocks)
        except StopIteration:
            if self._kept_left:
                moved, self._kept_left = group.move_kept(self._victim, budget, self._segments.read)
                # The rest, if any, comes with the next group: it is read from the index.
                return budget if self._kept_left else moved or 1
            # Its runs are in this group now, while `living` still counts them: with the next group it is told again,
            # and nothing in it is alive, unless a count is wrong, which must not be tried for ever.
            self._left_alone.add(self._victim)
            self._emptied, self._victim = self._victim, None
            return budget
        if block is None:
            return LOOK_BYTES
        moved, rest = group.move(block, self._victim, budget, self._position, self._segments.read)
        self._block, self._position = (None, BEGINNING) if rest is None else (block, rest)
        return moved or 1
