"""What a commit must look like before any store considers it: sizes and orders that no version can change.

A commit that fails here is our caller's defect, or a peer's, and is refused with INVALID before anything is touched.
"""

from __future__ import annotations

from btlib.kinds import Kind

from ..errors import StoreError
from ._interface import BlockChange, Commit, RecordRun
from ._limits import ID_SIZE, MAX_NUMBER, MAX_RECORD, MAX_SIGNED


def check_commit_shape(commit: Commit) -> None:
    """Refuse a malformed commit. Raises StoreError (INVALID)."""
    _require(len(commit.request) == ID_SIZE, f"a request id has {ID_SIZE} bytes, not {len(commit.request)}")
    blocks = {change.block for change in commit.changes}
    _require(len(blocks) == len(commit.changes), "a commit changes a block at most once")
    for change in commit.changes:
        _check_change(change)
    for key, fence in commit.fences:
        _require(len(key) == ID_SIZE and fence <= MAX_NUMBER, "a fence has a key of 16 bytes and a number of 63 bits")


def _check_change(change: BlockChange) -> None:
    if len(change.block) != ID_SIZE:
        raise StoreError(Kind.INVALID, f"a block id has {ID_SIZE} bytes, not {len(change.block)}")
    if not change.expected < change.version <= MAX_NUMBER:
        raise _invalid(change, f"version {change.version} does not follow version {change.expected}")
    if not 0 < len(change.signed) <= MAX_SIGNED:
        raise _invalid(change, f"a signed header has 1 to {MAX_SIGNED} bytes, not {len(change.signed)}")
    if change.removed and (change.runs or change.holes):
        raise _invalid(change, "a removed block has no records")
    for hole in change.holes:
        if hole.first + hole.count > MAX_NUMBER:
            raise _invalid(change, f"the hole at {hole.level}/{hole.first} ends beyond the last record number")
    for run in change.runs:
        _check_run(change, run)


def _check_run(change: BlockChange, run: RecordRun) -> None:
    if run.first + len(run.records) > MAX_NUMBER:
        raise _invalid(change, f"the run at {run.level}/{run.first} ends beyond the last record number")
    sizes = list(map(len, run.records))
    if not sizes or not min(sizes) or max(sizes) > MAX_RECORD:
        raise _invalid(change, f"the run at {run.level}/{run.first} needs records of 1 to {MAX_RECORD} bytes")


def _invalid(change: BlockChange, text: str) -> StoreError:
    return StoreError(Kind.INVALID, f"block {change.block.hex()}: {text}")


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise StoreError(Kind.INVALID, text)
