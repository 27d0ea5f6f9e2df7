"""Kinds of failure as errno values: the one table of this edge."""

from __future__ import annotations

import errno
from typing import Final

from btlib.kinds import Kind

ERRNO: Final[dict[Kind, int]] = {
    Kind.INTERNAL: errno.EIO,
    Kind.INVALID: errno.EINVAL,
    Kind.NOT_FOUND: errno.ENOENT,
    Kind.EXISTS: errno.EEXIST,
    Kind.NOT_DIRECTORY: errno.ENOTDIR,
    Kind.IS_DIRECTORY: errno.EISDIR,
    Kind.NOT_EMPTY: errno.ENOTEMPTY,
    Kind.NAME_TOO_LONG: errno.ENAMETOOLONG,
    Kind.CROSS_DEVICE: errno.EXDEV,
    Kind.TOO_LARGE: errno.EFBIG,
    Kind.NO_SPACE: errno.ENOSPC,
    Kind.READ_ONLY: errno.EROFS,
    Kind.BUSY: errno.EBUSY,
    Kind.NO_ATTRIBUTE: errno.ENODATA,
    Kind.RANGE: errno.ERANGE,
    Kind.LOOP: errno.ELOOP,
    Kind.TOO_MANY_LINKS: errno.EMLINK,
    Kind.BAD_HANDLE: errno.EBADF,
    Kind.STALE: errno.ESTALE,
    Kind.NOT_SUPPORTED: errno.EOPNOTSUPP,
    Kind.WOULD_BLOCK: errno.EAGAIN,
    Kind.UNAUTHENTICATED: errno.EACCES,
    Kind.FORBIDDEN: errno.EACCES,
    Kind.EXPIRED: errno.EKEYEXPIRED,
    # As ext4 and btrfs answer for bytes whose checksum is wrong; so it is not taken for a failing disk.
    Kind.INTEGRITY: errno.EBADMSG,
    Kind.ROLLBACK: errno.EBADMSG,
    Kind.CONFLICT: errno.ESTALE,
    Kind.FENCED: errno.ESTALE,
    Kind.LIMIT: errno.EDQUOT,
    Kind.DEADLINE: errno.ETIMEDOUT,
    Kind.CANCELLED: errno.EINTR,
    Kind.UNREACHABLE: errno.EHOSTUNREACH,
    Kind.NO_SUCH_TARGET: errno.EHOSTUNREACH,
    Kind.PROTOCOL: errno.EPROTO,
    Kind.IO: errno.EIO,
}

#: Kinds that are an everyday answer to a program: not worth a line in the log.
QUIET: Final = frozenset(
    {
        Kind.INVALID,
        Kind.NOT_FOUND,
        Kind.EXISTS,
        Kind.NOT_DIRECTORY,
        Kind.IS_DIRECTORY,
        Kind.NOT_EMPTY,
        Kind.NAME_TOO_LONG,
        Kind.CROSS_DEVICE,
        Kind.TOO_LARGE,
        Kind.READ_ONLY,
        Kind.NO_ATTRIBUTE,
        Kind.RANGE,
        Kind.LOOP,
        Kind.TOO_MANY_LINKS,
        Kind.BAD_HANDLE,
        Kind.NOT_SUPPORTED,
        Kind.WOULD_BLOCK,
        Kind.CANCELLED,
    }
)


def errno_of(kind: Kind) -> int:
    """The errno value that the kernel gets for a failure of this kind."""
    return ERRNO.get(kind, errno.EIO)
