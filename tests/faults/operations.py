"""The operations of a workload, as values: what a history contains and what the model understands.

Paths are relative to the mount. Written content is not kept: it follows from a tag, so a history stays small and the
checker can still tell every byte. Each operation is one changing request to the file system, so that there is no state
between two of them which the model does not know; `LARGEST_WRITE` keeps a write within one request.
"""

from __future__ import annotations

import hashlib

import msgspec

LARGEST_WRITE = 96 * 1024  #: bytes; the smallest limit of a FUSE request in use is 128 KiB


class Make(msgspec.Struct, frozen=True, tag=True):
    """Create a file that is not there."""

    path: str
    mode: int


class Write(msgspec.Struct, frozen=True, tag=True):
    path: str
    offset: int
    length: int
    tag: int


class Append(msgspec.Struct, frozen=True, tag=True):
    path: str
    length: int
    tag: int


class Truncate(msgspec.Struct, frozen=True, tag=True):
    """Cut or grow to a size."""

    path: str
    size: int


class Allocate(msgspec.Struct, frozen=True, tag=True):
    """Grow by `fallocate`, if it is shorter."""

    path: str
    size: int


class MakeDirectory(msgspec.Struct, frozen=True, tag=True):
    path: str
    mode: int


class RemoveDirectory(msgspec.Struct, frozen=True, tag=True):
    path: str


class Rename(msgspec.Struct, frozen=True, tag=True):
    """Also over a file, or over an empty directory."""

    old: str
    new: str


class Exchange(msgspec.Struct, frozen=True, tag=True):
    """Let two names swap what they name."""

    old: str
    new: str


class Unlink(msgspec.Struct, frozen=True, tag=True):
    """`orphan`: its last name, while it is open; it is written to afterwards."""

    path: str
    orphan: bool


class Link(msgspec.Struct, frozen=True, tag=True):
    old: str
    new: str


class Symlink(msgspec.Struct, frozen=True, tag=True):
    path: str
    target: str


class SetMode(msgspec.Struct, frozen=True, tag=True):
    path: str
    mode: int


class SetXattr(msgspec.Struct, frozen=True, tag=True):
    path: str
    length: int
    tag: int


class Fsync(msgspec.Struct, frozen=True, tag=True):
    """Of a file or of a directory."""

    path: str


class Close(msgspec.Struct, frozen=True, tag=True):
    """Close the descriptor through which the file was written, if there is one."""

    path: str


class Read(msgspec.Struct, frozen=True, tag=True):
    """Read all of it; the workload compares."""

    path: str


Operation = (
    Make
    | Write
    | Append
    | Truncate
    | Allocate
    | MakeDirectory
    | RemoveDirectory
    | Rename
    | Exchange
    | Unlink
    | Link
    | Symlink
    | SetMode
    | SetXattr
    | Fsync
    | Close
    | Read
)


def content(tag: int, length: int) -> bytes:
    """The bytes that a write with this tag writes; two tags have no sector in common."""
    seed = hashlib.blake2b(tag.to_bytes(8, "little"), digest_size=61).digest()  # 61 divides no sector size
    return (seed * (length // len(seed) + 1))[:length]


def parent(path: str) -> str:
    """The directory of a path; "" for what lies at the top."""
    return path.rpartition("/")[0]


def below(path: str, directory: str) -> bool:
    """Whether it is the directory or lies in it."""
    return path == directory or path.startswith(directory + "/")
