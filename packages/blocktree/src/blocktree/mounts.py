"""Which trees are mounted on this machine, as the kernel tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TYPE = "fuse.btfuse"
TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_FIELDS = 6  #: of a line before its optional ones; see proc(5)


@dataclass(frozen=True)
class Mount:
    """One mount of ours: what is mounted, and where."""

    source: str
    mountpoint: Path
    options: str


def mounts() -> list[Mount]:
    """All mounts of btfuse on this machine."""
    return list(parse_mounts(TABLE.read_text())) if TABLE.exists() else []


def parse_mounts(table: str) -> Iterator[Mount]:
    """The mounts of btfuse in the text of a `mountinfo` file (see proc(5))."""
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields, described = before.split(" "), after.split(" ")
        if len(fields) >= _FIELDS and len(described) > 1 and described[0] == TYPE:
            yield Mount(source=_plain(described[1]), mountpoint=Path(_plain(fields[4])), options=fields[5])


def _plain(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
