"""Reading for somebody else: no request makes the server hold more than one reply in memory.

What is asked for is read in slices, and refused with LIMIT as soon as it would not fit a reply. The client then asks in
smaller parts.
"""

from __future__ import annotations

from collections.abc import Sequence

from btlib.kinds import Kind

from btfproto.errors import StoreError
from btfproto.messages import stores
from btfproto.store import Found, HeadAnswer, HeadWant, RecordRef, Records, Store

HEAD_SLICE = 64  #: at the most 18 MiB, where every head has the largest attributes and a small body
RECORD_SLICE = 32  #: at the most 64 MiB, where every record is of the largest size
ATTEMPTS = 3  #: readings of a block that is written all the time


def read_heads(store: Store, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
    """Raises StoreError (LIMIT)."""
    check_limit("heads of a request", len(wants), stores.MAX_HEADS)
    answers: list[HeadAnswer] = []
    size = 0
    for start in range(0, len(wants), HEAD_SLICE):
        part = store.read_heads(wants[start : start + HEAD_SLICE])
        size += sum(len(a.head.signed) + len(a.head.small or b"") for a in part if isinstance(a, Found))
        check_limit("bytes of heads", size, stores.MAX_REPLY_BYTES)
        answers += part
    return answers


def read_records(store: Store, block: bytes, refs: Sequence[RecordRef]) -> Records:
    """All of one version. Raises StoreError: LIMIT, or CONFLICT where the block does not hold still."""
    check_limit("records of a request", len(refs), stores.MAX_RECORDS)
    if len(refs) <= RECORD_SLICE:
        return store.read_records(block, refs)
    for _ in range(ATTEMPTS):
        parts = _read_slices(store, block, refs)
        if len({part.version for part in parts}) == 1:
            return Records(parts[0].version, [record for part in parts for record in part.records])
    raise StoreError(Kind.CONFLICT, f"block {block.hex()} changed while it was read", "ask again")


def check_limit(what: str, count: int, limit: int) -> None:
    """Raises StoreError (LIMIT)."""
    if count > limit:
        raise StoreError(Kind.LIMIT, f"{count} {what} are more than the limit of {limit}", "ask in smaller parts")


def _read_slices(store: Store, block: bytes, refs: Sequence[RecordRef]) -> list[Records]:
    parts: list[Records] = []
    size = 0
    for start in range(0, len(refs), RECORD_SLICE):
        part = store.read_records(block, refs[start : start + RECORD_SLICE])
        size += sum(len(record) for record in part.records if record is not None)
        check_limit("bytes of records", size, stores.MAX_REPLY_BYTES)
        parts.append(part)
        if part.version != parts[0].version:
            break
    return parts
