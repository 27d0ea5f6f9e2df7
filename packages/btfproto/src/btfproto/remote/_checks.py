"""What a client refuses to believe of a server: replies that cannot be true, whatever the files contain.

A server that holds the keys can lie about contents; it must not be able to break its client: no name that leaves the
directory, no listing that never ends, no number that overflows. Each check raises FsError (PROTOCOL).
"""

from __future__ import annotations

from collections.abc import Sequence

from btlib.errors import PathError
from btlib.kinds import Kind
from btlib.paths import check_name

from btfproto.errors import FsError
from btfproto.messages import files
from btfproto.provider import Attributes, Entry, FileKind, Inode

MAX_SIZE = (1 << 63) - 1
MODE_BITS = 0o7777


def check_attributes(attributes: Attributes, *, inode: Inode | None = None, kind: FileKind | None = None) -> Attributes:
    """The attributes, if they can be those of the object asked for."""
    if not attributes.inode or (inode is not None and attributes.inode != inode):
        raise lie(f"the attributes of inode {attributes.inode} where {inode} was asked for")
    if kind is not None and attributes.kind is not kind:
        raise lie(f"a {attributes.kind.name.lower()} where a {kind.name.lower()} was made")
    if attributes.size > MAX_SIZE or attributes.mode & ~MODE_BITS:
        raise lie(f"a size of {attributes.size} or a mode of {attributes.mode:#o}, which no file has")
    return attributes


def check_entries(entries: Sequence[Entry], cookie: int, limit: int, plus: bool) -> None:
    """A listing: at most `limit` proper, different names, whose cookies ascend."""
    if len(entries) > limit:
        raise lie(f"{len(entries)} entries where {limit} were asked for")
    for entry in entries:
        checked_name(entry.name)
        if not cookie < entry.cookie <= MAX_SIZE:
            raise lie("a listing whose cookies do not advance")
        cookie = entry.cookie
        if not entry.inode:
            raise lie(f"the name {entry.name!a} without an inode")
        if entry.attributes is not None and not plus:  # with `plus`, a damaged object has a name and no attributes
            raise lie("a listing of the other kind")
        if entry.attributes is not None:
            check_attributes(entry.attributes, inode=entry.inode, kind=entry.kind)
    if len({entry.name for entry in entries}) < len(entries):
        raise lie("the same name twice in a listing")


def checked_name(name: str) -> str:
    """A name that stays in its directory."""
    try:
        return check_name(name)
    except PathError as error:
        raise lie(f"an impossible name: {error.message}") from error


def check_target(target: str) -> str:
    """A symlink's target as POSIX takes it. Where it leads is the mount's concern."""
    if not 1 <= len(target.encode()) <= files.MAX_TARGET or "\0" in target:
        raise lie("a symlink without a proper target")
    return target


def check_xattr_names(names: Sequence[str]) -> list[str]:
    if len(names) > files.MAX_XATTRS or any(not 1 <= len(name.encode()) <= 255 or "\0" in name for name in names):
        raise lie("extended attributes with impossible names")
    return list(names)


def lie(what: str) -> FsError:
    """The error for a reply that cannot be true."""
    return FsError(Kind.PROTOCOL, f"the server answered with {what}")
