"""`Content`: what was written to a file since the last commit, over what lies in the store.

    live layer      the group that collects            read first, written
    frozen layer    the group that is being committed  read second, never changed
    below           clean cache and store              read last, through `Below`

A layer is a map of whole sectors and what vanished before they were written: everything from `cut` on, and the punched
ranges. Sectors are as short as their content; what is missing at their end, or altogether, is zeros. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from struct import Struct
from typing import Protocol

from ._blocks import SECTOR_MASK, SECTOR_SIZE

SECTOR_SHIFT = SECTOR_SIZE.bit_length() - 1
NO_CUT = 1 << 62
MANY_SECTORS = 4  #: from so many whole ones on they are written in one go
_SECTOR = Struct(f"{SECTOR_SIZE}s")

Buffer = bytes | bytearray


class Below(Protocol):
    """Reads the committed content of the file."""

    def __call__(self, index: int) -> Buffer: ...


class Layer:
    """The changes of one group to one file."""

    __slots__ = ("cut", "punched", "sectors", "size")

    def __init__(self) -> None:
        self.sectors: dict[int, Buffer] = {}
        self.cut = NO_CUT
        self.punched: list[tuple[int, int]] = []
        self.size = 0  #: bytes in memory

    def find(self, index: int) -> Buffer | None:
        """The content that this layer gives a sector; None where it says nothing."""
        found = self.sectors.get(index)
        if found is not None:
            return found
        if index >= self.cut or (self.punched and self.punches(index)):
            return b""
        return None

    def punches(self, index: int) -> bool:
        return any(first <= index < end for first, end in self.punched)

    @property
    def empty(self) -> bool:
        return not self.sectors and self.cut == NO_CUT and not self.punched

    def drop(self, first: int, end: int) -> None:
        """Forget sectors in a range."""
        sectors = self.sectors
        if end - first < len(sectors):
            doomed = [index for index in range(first, end) if index in sectors]
        else:
            doomed = [index for index in sectors if first <= index < end]
        for index in doomed:
            self.size -= len(sectors.pop(index))

    def under(self, later: Layer) -> Layer:
        """This layer and a later one as one: for a group that could not be committed."""
        both = Layer()
        both.sectors = {i: data for i, data in self.sectors.items() if later.find(i) is None} | later.sectors
        both.cut = min(self.cut, later.cut)
        both.punched = self.punched + later.punched
        both.size = sum(map(len, both.sectors.values()))
        return both


class Content:
    """The uncommitted layers of one file."""

    __slots__ = ("frozen", "live")

    def __init__(self) -> None:
        self.live = Layer()
        self.frozen: Layer | None = None

    def freeze(self) -> Layer | None:
        """Hand the live layer to a group; None where it holds nothing."""
        if self.live.empty:
            return None
        self.frozen, self.live = self.live, Layer()
        return self.frozen

    def revert(self) -> None:
        """The group could not be committed."""
        if self.frozen is not None:
            self.live = self.frozen.under(self.live)
            self.frozen = None

    def find(self, index: int) -> Buffer | None:
        """A sector as far as the layers know it; None: read below."""
        live = self.live
        found = live.sectors.get(index)
        if found is not None:
            return found
        if index >= live.cut or (live.punched and live.punches(index)):
            return b""
        return None if self.frozen is None else self.frozen.find(index)

    def written(self, first: int) -> list[int]:
        """The sectors from one on to which the layers give content, in order."""
        layers = [self.live, *([self.frozen] if self.frozen is not None else [])]
        indexes = {index for layer in layers for index in layer.sectors if index >= first}
        return sorted(index for index in indexes if self.find(index))

    def hidden_to(self, index: int) -> int:
        """How far what lies below is hidden from a sector on, of which the layers make a hole."""
        for layer in (self.live, self.frozen):
            if layer is None or index in layer.sectors:
                continue
            if index >= layer.cut:
                return NO_CUT
            for first, end in layer.punched:
                if first <= index < end:
                    return end
        return index + 1

    def next_hidden(self, first: int, end: int) -> int:
        """Where behind a sector of which they say nothing the layers make a hole, before `end`; else `end`."""
        found = end
        for layer in (self.live, self.frozen):
            if layer is not None:
                empty = (index for index, data in layer.sectors.items() if index > first and not data)
                found = min([found, layer.cut, *empty, *(start for start, _ in layer.punched if start > first)])
        return found

    def write(self, offset: int, data: memoryview, size: int, below: Below) -> None:
        """Put `data` at `offset` of a file that was `size` bytes long. Raises what `below` raises, changing nothing
        of the sector that it could not read."""
        at, end = 0, len(data)
        while at < end:
            index, within = (offset + at) >> SECTOR_SHIFT, (offset + at) & SECTOR_MASK
            if not within and end - at >= MANY_SECTORS * SECTOR_SIZE:
                whole = end - at & ~SECTOR_MASK
                self._write_whole(index, data[at : at + whole])
                at += whole
                continue
            count = min(SECTOR_SIZE - within, end - at)
            piece = data if count == end else data[at : at + count]
            self._write_sector(index, within, piece, size - (index << SECTOR_SHIFT), below)
            at += count

    def _write_whole(self, first: int, data: memoryview) -> None:
        """Many whole sectors, without a look at each."""
        layer, sectors = self.live, self.live.sectors
        indexes = range(first, first + (len(data) >> SECTOR_SHIFT))
        replaced = sum(len(sectors[index]) for index in indexes if index in sectors) if sectors else 0
        sectors.update(zip(indexes, map(itemgetter(0), _SECTOR.iter_unpack(data)), strict=True))
        layer.size += len(data) - replaced

    def _write_sector(self, index: int, within: int, piece: memoryview, used: int, below: Below) -> None:
        """`used`: how much of the file lies from the beginning of this sector on."""
        layer = self.live
        old = layer.sectors.get(index)
        length = len(piece)
        if within == 0 and (length == SECTOR_SIZE or length >= used):
            layer.sectors[index] = bytes(piece)
            layer.size += length - (0 if old is None else len(old))
            return
        before = 0 if old is None else len(old)
        if type(old) is bytearray:
            sector = old
        else:
            sector = layer.sectors[index] = bytearray(self._base(index, used, below) if old is None else old)
        if len(sector) < within:
            sector.extend(bytes(within - len(sector)))
        sector[within : within + length] = piece
        layer.size += len(sector) - before

    def _base(self, index: int, used: int, below: Below) -> Buffer:
        if used <= 0:
            return b""
        found = self.find(index)
        return below(index) if found is None else found

    def truncate(self, size: int, below: Below) -> None:
        """Cut the file to fewer bytes; the rest of the last sector must not come back."""
        index, within = size >> SECTOR_SHIFT, size & SECTOR_MASK
        layer = self.live
        first = index
        if within:
            kept = self._base(index, 1, below)
            if len(kept) > within:
                old = layer.sectors.get(index)
                layer.sectors[index] = bytes(kept[:within])
                layer.size += within - (0 if old is None else len(old))
            first += 1
        layer.drop(first, NO_CUT)
        layer.cut = min(layer.cut, first)
        layer.punched = [(a, min(b, layer.cut)) for a, b in layer.punched if a < layer.cut]

    def punch(self, start: int, end: int, size: int, below: Below) -> None:
        """Let a range inside the file read as zeros; whole sectors in it become holes."""
        end = min(end, size)
        first, last = -(-start // SECTOR_SIZE), end >> SECTOR_SHIFT
        if end == size:
            last = -(-size // SECTOR_SIZE)
        for index, low, high in _edges(start, end, first, last):
            held = self._base(index, 1, below)
            if len(held) > low:
                zeros = memoryview(bytes(min(high, len(held)) - low))
                self._write_sector(index, low, zeros, SECTOR_SIZE, below)
        if first < last:
            self.live.drop(first, last)
            self.live.punched.append((first, last))


def _edges(start: int, end: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """The parts of a range that cover no whole sector: (sector, low, high)."""
    if first > last:  # within one sector
        yield last, start & SECTOR_MASK, end & SECTOR_MASK
        return
    if start & SECTOR_MASK:
        yield first - 1, start & SECTOR_MASK, SECTOR_SIZE
    if end > last << SECTOR_SHIFT:
        yield last, 0, end & SECTOR_MASK
