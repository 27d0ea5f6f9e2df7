"""The nodes of a directory's B+tree and their form on disk. Pure.

A node is the content of one sector of the directory. Integers are little-endian:

    node   = u8 format (1) ‖ u8 level ‖ u16 count ‖ body
    leaf   (level 0)  body = count × entry, in order of their keys
    entry  = u8 ordinal ‖ u8 kind ‖ block id(16) ‖ block key(32) ‖ u8 n ‖ name(n bytes of UTF-8)
    inner  (level ≥ 1) body = count × u32 sector of a child ‖ (count - 1) × u64 separator

A separator is a multiple of 32: names of one hash are never parted. Child i of an inner node holds the keys from
separator i - 1 (or the node's own lower bound) up to, not including, separator i (or the node's upper bound). The key
of an entry is not stored: it follows from name and ordinal, so a decoder recomputes it and refuses an entry in the
wrong place, a name that is none, an order that is not strictly ascending, and a child whose level is not one less than
its parent's, which also rules out cycles.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from itertools import pairwise

from btlib.errors import IntegrityError

from ..provider import FileKind
from ._names import MAX_NAME_BYTES, ORDINAL_BITS, ORDINALS, NameHasher

FORMAT = 1
MAX_LEVEL = 6  #: 1365 ^ 6 leaves are more than a directory can name sectors
NODE_HEAD = 4
ENTRY_HEAD = 51
CHILD_SIZE = 12

_HEAD = struct.Struct("<BBH")
_ENTRY = struct.Struct("<BB16s32sB")
_LAST_KIND = max(FileKind)


class Leaf:
    """Entries of a range of keys. Three parallel lists; `records` are the entries as they stand on disk."""

    __slots__ = ("keys", "names", "records", "size")
    level = 0

    def __init__(self, keys: list[int], names: list[str], records: list[bytes], size: int) -> None:
        self.keys = keys
        self.names = names
        self.records = records
        self.size = size  #: encoded

    @classmethod
    def empty(cls) -> Leaf:
        return cls([], [], [], NODE_HEAD)

    def copy(self) -> Leaf:
        return Leaf(self.keys.copy(), self.names.copy(), self.records.copy(), self.size)

    @property
    def weight(self) -> int:
        """How much memory it holds, in entries."""
        return 4 + len(self.keys)

    def encode(self) -> bytes:
        return b"".join((_HEAD.pack(FORMAT, 0, len(self.keys)), *self.records))


class Inner:
    """Children of a range of keys: `seps[i]` is the lower bound of `children[i + 1]`."""

    __slots__ = ("children", "level", "seps")

    def __init__(self, level: int, children: list[int], seps: list[int]) -> None:
        self.level = level
        self.children = children
        self.seps = seps

    def copy(self) -> Inner:
        return Inner(self.level, self.children.copy(), self.seps.copy())

    @property
    def size(self) -> int:
        return NODE_HEAD + CHILD_SIZE * len(self.children) - 8

    @property
    def weight(self) -> int:
        return 4 + len(self.children)

    def encode(self) -> bytes:
        count = len(self.children)
        return _HEAD.pack(FORMAT, self.level, count) + struct.pack(f"<{count}I{count - 1}Q", *self.children, *self.seps)


Node = Leaf | Inner


def pack_entry(ordinal: int, kind: int, block: bytes, key: bytes, raw: bytes) -> bytes:
    return _ENTRY.pack(ordinal, kind, block, key, len(raw)) + raw


def entry_kind(record: bytes) -> int:
    return record[1]


def entry_block(record: bytes) -> bytes:
    return record[2:18]


def entry_key(record: bytes) -> bytes:
    return record[18:50]


def entry_raw_name(record: bytes) -> bytes:
    return record[ENTRY_HEAD:]


def decode_node(data: bytes, level: int, low: int, high: int, hasher: NameHasher) -> Node:
    """The node of `level` with keys in `low` ≤ key < `high`. Raises IntegrityError with what is wrong."""
    if len(data) < NODE_HEAD:
        raise IntegrityError(f"a directory node of {len(data)} bytes is too short")
    form, found, count = _HEAD.unpack_from(data)
    if form != FORMAT:
        raise IntegrityError(f"a directory node has the unknown format {form}")
    if found != level:
        raise IntegrityError(f"a directory node has level {found} where level {level} belongs")
    if level:
        return _decode_inner(data, level, count, low, high)
    return _decode_leaf(data, count, low, high, hasher)


def stored_level(data: bytes) -> int:
    """The level that a root node says it has. Raises IntegrityError where it cannot be one."""
    if len(data) < NODE_HEAD or data[1] > MAX_LEVEL:
        raise IntegrityError("a directory's root node has an impossible level or size")
    return data[1]


def _decode_inner(data: bytes, level: int, count: int, low: int, high: int) -> Inner:
    if not count or len(data) != NODE_HEAD + CHILD_SIZE * count - 8:
        raise IntegrityError(f"an inner directory node of {count} children has {len(data)} bytes")
    numbers = struct.unpack_from(f"<{count}I{count - 1}Q", data, NODE_HEAD)
    children, seps = list(numbers[:count]), list(numbers[count:])
    if 0 in children or len(set(children)) != count:
        raise IntegrityError("an inner directory node names the root or one child twice")
    bounds = [low, *seps, high]
    if any(sep % ORDINALS for sep in seps) or any(a >= b for a, b in pairwise(bounds)):
        raise IntegrityError("an inner directory node has separators out of order or out of its range")
    return Inner(level, children, seps)


def _decode_leaf(data: bytes, count: int, low: int, high: int, hasher: NameHasher) -> Leaf:
    if not count:
        raise IntegrityError("a directory leaf has no entries")
    keys: list[int] = []
    names: list[str] = []
    records: list[bytes] = []
    at, end, before = NODE_HEAD, len(data), low - 1
    for _ in range(count):
        if at + ENTRY_HEAD > end:
            raise IntegrityError("a directory leaf ends within an entry")
        stop = at + ENTRY_HEAD + data[at + 50]
        record = data[at:stop]
        key, name = _checked_entry(record, hasher)
        if stop > end or not before < key < high:
            raise IntegrityError(f"the directory entry {name!a} is cut off, out of order or in the wrong node")
        keys.append(key)
        names.append(name)
        records.append(record)
        at, before = stop, key
    if at != end:
        raise IntegrityError(f"a directory leaf has {end - at} bytes too many")
    _refuse_twins(keys, names)
    return Leaf(keys, names, records, end)


def _checked_entry(record: bytes, hasher: NameHasher) -> tuple[int, str]:
    ordinal, kind, raw = record[0], record[1], record[ENTRY_HEAD:]
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise IntegrityError(f"a directory entry has a name that is not UTF-8: {raw[:40]!r}") from None
    if not raw or len(raw) > MAX_NAME_BYTES or b"/" in raw or b"\0" in raw or raw == b"." or raw == b"..":
        raise IntegrityError(f"a directory entry has the impossible name {name!a}")
    if ordinal >= ORDINALS or kind > _LAST_KIND:
        raise IntegrityError(f"the directory entry {name!a} has an unknown kind or ordinal")
    return hasher(raw) << ORDINAL_BITS | ordinal, name


def _refuse_twins(keys: list[int], names: list[str]) -> None:
    """Equal names have equal hashes, so twins stand side by side (but for others of the same hash between them)."""
    for position in range(1, len(keys)):
        digest = keys[position] >> ORDINAL_BITS
        if keys[position - 1] >> ORDINAL_BITS != digest:
            continue
        first = bisect_left(keys, digest << ORDINAL_BITS)
        if names[position] in names[first:position]:
            raise IntegrityError(f"the directory entry {names[position]!a} stands there twice")
