"""Snapshots in the index: tables and statements. Pure.

    snapshots   a row a snapshot: name, the cursor that it shows, when it was taken
    old_heads   heads that were replaced although a snapshot has them: `born` ≤ snapshot < `died`; with the small record
    old_runs    where their records lie: the same, a row a run; what a row names counts as alive in its segment

Heads and runs have a `born`: the cursor of the group that wrote them. A snapshot at cursor C has of each block the one
head with `born` ≤ C and, if it is an old one, C < `died`; and the runs of which the same is true. Moving a run (a
compaction) changes neither.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ._placement import Run

PAST_SCHEMA = """
CREATE TABLE snapshots (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, taken INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE old_heads (
    block BLOB NOT NULL, died INTEGER NOT NULL, version INTEGER NOT NULL, removed INTEGER NOT NULL,
    stored INTEGER NOT NULL, inline INTEGER NOT NULL, signed BLOB NOT NULL, born INTEGER NOT NULL, record BLOB,
    PRIMARY KEY (block, died));
CREATE TABLE old_runs (
    block BLOB NOT NULL, level INTEGER NOT NULL, died INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
    segment INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, last INTEGER NOT NULL,
    born INTEGER NOT NULL, PRIMARY KEY (block, level, first, died)) WITHOUT ROWID;
CREATE INDEX old_runs_of_segment ON old_runs (segment);
"""


#: From format 1, which had none of this: everything counts as born before all snapshots.
UPGRADE = [
    "ALTER TABLE heads ADD COLUMN born INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN born INTEGER NOT NULL DEFAULT 0",
    *filter(str.strip, PAST_SCHEMA.split(";")),
    "UPDATE state SET format=2",
]

KEEP_HEAD = """
    INSERT INTO old_heads SELECT block, ?, version, removed, stored, inline, signed, born, record
    FROM heads h LEFT JOIN smalls s ON s.id = h.id WHERE h.id=?"""
KEEP_RUN = "INSERT INTO old_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
FORGET_RUN = "DELETE FROM old_runs WHERE block=? AND level=? AND first=? AND died=?"
KEPT_RUNS = """
    SELECT block, level, died, first, count, segment, offset, size, last, born
    FROM old_runs WHERE segment=? LIMIT ?"""
RUN_BYTES = "coalesce(sum((count - 1) * size + last), 0)"
_NEEDED = "SELECT 1 FROM snapshots s WHERE s.cursor >= born AND s.cursor < died"

#: Bytes by segment that a snapshot (:name at :cursor) has, and no other.
FREED = f"""
    SELECT segment, {RUN_BYTES} FROM old_runs
    WHERE born <= :cursor AND :cursor < died AND NOT EXISTS ({_NEEDED} AND s.name != :name) GROUP BY segment"""
FORGET_UNNEEDED = [
    f"DELETE FROM {table} WHERE born <= :cursor AND :cursor < died AND NOT EXISTS ({_NEEDED})"
    for table in ("old_heads", "old_runs")
]
NEWEST_SNAPSHOT = "SELECT coalesce(max(cursor), -1) FROM snapshots"
SNAPSHOTS = "SELECT name, cursor, taken FROM snapshots ORDER BY cursor, taken, name"
ONE_SNAPSHOT = "SELECT name, cursor, taken FROM snapshots WHERE name=?"
KEPT_SPANS = f"""
    SELECT born, died, {RUN_BYTES} FROM old_runs GROUP BY born, died
    UNION ALL SELECT born, died, sum(length(record)) FROM old_heads WHERE record IS NOT NULL GROUP BY born, died"""

#: All that snapshots keep from going.
KEPT_BYTES = f"""
    SELECT (SELECT {RUN_BYTES} FROM old_runs) + (SELECT coalesce(sum(length(record)), 0) FROM old_heads)"""

PAST_HEAD = """
    SELECT id, version, removed, stored, inline, h.signed, h.born, record
    FROM heads h LEFT JOIN smalls USING (id) WHERE block=:block AND h.born <= :cursor
    UNION ALL SELECT 0, version, removed, stored, inline, signed, born, record
    FROM old_heads WHERE block=:block AND born <= :cursor AND :cursor < died"""
PAST_RUNS = """
    SELECT level, first, count, segment, offset, size, last, born
    FROM runs WHERE id=:id AND born <= :cursor
    UNION ALL SELECT level, first, count, segment, offset, size, last, born
    FROM old_runs WHERE block=:block AND born <= :cursor AND :cursor < died ORDER BY 1, 2"""
LIVE_ID = "SELECT id FROM heads WHERE block=?"
PAST_SCAN = """
    SELECT block, version, removed, stored, signed FROM heads WHERE block > :after AND born <= :cursor
    UNION ALL SELECT block, version, removed, stored, signed
    FROM old_heads WHERE block > :after AND born <= :cursor AND :cursor < died ORDER BY 1 LIMIT :limit"""
PAST_COUNTS = """
    SELECT count(*), coalesce(sum(stored), 0) FROM (
        SELECT stored, removed FROM heads WHERE born <= :cursor
        UNION ALL SELECT stored, removed FROM old_heads WHERE born <= :cursor AND :cursor < died)
    WHERE NOT removed"""
IS_KEPT = "SELECT count(*) FROM snapshots WHERE cursor=?"


def kept_alone(cursors: Sequence[int], spans: Iterable[tuple[int, int, int]]) -> list[int]:
    """Of each of some cursors, in order: how many bytes no other one needs. `spans`: born, died, bytes."""
    kept = [0] * len(cursors)
    for born, died, size in spans:
        first = bisect_left(cursors, born)
        if bisect_left(cursors, died) == first + 1:
            kept[first] += size
    return kept


class KeptRun(NamedTuple):
    """A row of `old_runs`."""

    block: bytes
    level: int
    died: int
    run: Run

    @property
    def row(self) -> tuple[object, ...]:
        return (self.block, self.level, self.died, *self.run)
