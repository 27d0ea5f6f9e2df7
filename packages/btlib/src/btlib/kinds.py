"""The kinds of failure that cross a wire: one shared, append-only table.

Every package's errors carry a `Kind`; a remote failure arrives as its kind and a text, never as a foreign exception.
errno values and exit codes exist only at the edge, in one table each (`btfuse`, `blocktree`). Numbers are part of the
wire format: add at the end, never renumber.
"""

from __future__ import annotations

import enum


class Kind(enum.IntEnum):
    """What went wrong, in terms that a caller can act on."""

    INTERNAL = 0  #: a defect on the answering side; nothing was done, or the text says what
    INVALID = 1  #: the request itself is wrong (EINVAL)
    NOT_FOUND = 2
    EXISTS = 3
    NOT_DIRECTORY = 4
    IS_DIRECTORY = 5
    NOT_EMPTY = 6
    NAME_TOO_LONG = 7
    CROSS_DEVICE = 8  #: a link or rename that would leave its write scope
    TOO_LARGE = 9  #: a file or a request beyond its limit
    NO_SPACE = 10
    READ_ONLY = 11
    BUSY = 12
    NO_ATTRIBUTE = 13  #: no such extended attribute
    RANGE = 14  #: a result that does not fit what the caller offered
    LOOP = 15  #: too many levels of symbolic links, or a directory moved into itself
    TOO_MANY_LINKS = 16
    BAD_HANDLE = 17
    STALE = 18  #: the object is gone, or the session that named it is
    NOT_SUPPORTED = 19
    WOULD_BLOCK = 20  #: a lock or lease is held by another
    UNAUTHENTICATED = 21  #: no proof of identity that this side accepts
    FORBIDDEN = 22  #: identity proven; no capability for this
    EXPIRED = 23  #: the capability was valid once
    INTEGRITY = 24  #: bytes that do not match what was signed
    ROLLBACK = 25  #: an older state than one already seen
    CONFLICT = 26  #: somebody else committed first
    FENCED = 27  #: this holder's lease was taken over
    LIMIT = 28  #: a limit of the answering side; the text names it and its setting
    DEADLINE = 29  #: the deadline passed before an answer
    CANCELLED = 30
    UNREACHABLE = 31  #: no connection to the other side
    NO_SUCH_TARGET = 32  #: nothing listens at this path
    PROTOCOL = 33  #: the peer broke the protocol
    IO = 34  #: a device or file of the answering side failed
