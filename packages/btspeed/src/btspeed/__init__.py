"""Compiled twins of Blocktree's hottest loops. Optional: who finds this package uses it, others their own loops.

    open_sectors    compare many stored sectors with their hashes, and open them
    open_joined     the same, as one piece
    open_stretches  read consecutive ones from files, and the same
    open_at         read one from a file, and the same
    seal_sectors    seal many sectors, and hash them
    hash_sectors    hash many stored sectors
    make_encoder    an encoder of the values of one type
    take_plain_frames    take many small frames of a link
    exchange        answer one request of a mount and wait for the next; with a
    ReadTable       of where sectors lie, also answer the reads that these suffice for
    spin_while_counting    keep a processor awake (no twin: Python cannot do it without its lock)

The Python that they stand for is the reference (`btlib.block`, `btserde`, `bttp`, `btfuse`): same arguments, same
bytes, same tests. They find only *that* something is wrong; the reference says what. Nothing here opens a file, and
but for the table nothing changes once it is made.
"""

from __future__ import annotations

from ._encode import make_encoder
from ._frames import take_plain_frames
from ._requests import ReadTable, exchange
from ._sectors import hash_sectors, open_at, open_joined, open_sectors, open_stretches, seal_sectors
from ._waiting import spin_while_counting

__all__ = [
    "ReadTable",
    "exchange",
    "hash_sectors",
    "make_encoder",
    "open_at",
    "open_joined",
    "open_sectors",
    "open_stretches",
    "seal_sectors",
    "spin_while_counting",
    "take_plain_frames",
]
