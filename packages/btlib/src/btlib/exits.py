"""Exit codes: what a shell script learns from `bt`, `btfsd` and `btfuse` when one of them fails.

One table for the three programs, documented in `docs/bt.md`. A code says what kind of step helps, not what exactly went
wrong: that is the sentence on standard error. Codes are part of the interface: never renumbered.
"""

from __future__ import annotations

import enum

from btlib.kinds import Kind


class ExitCode(enum.IntEnum):
    OK = 0
    FAILURE = 1  #: the operation failed: no such file, disk full, …
    USAGE = 2  #: the command line or a configuration file is wrong
    CREDENTIALS = 3  #: a passphrase or an identity was not accepted
    UNREACHABLE = 4  #: no answer from the server
    REFUSED = 5  #: identity proven, but no capability allows this, or it has expired
    INTEGRITY = 6  #: bytes that do not match what was signed, or an older state than one already seen
    BUSY = 7  #: held by another program or holder; try again later


_BY_KIND = {
    Kind.INVALID: ExitCode.USAGE,
    Kind.UNAUTHENTICATED: ExitCode.CREDENTIALS,
    Kind.UNREACHABLE: ExitCode.UNREACHABLE,
    Kind.DEADLINE: ExitCode.UNREACHABLE,
    Kind.NO_SUCH_TARGET: ExitCode.UNREACHABLE,
    Kind.FORBIDDEN: ExitCode.REFUSED,
    Kind.EXPIRED: ExitCode.REFUSED,
    Kind.INTEGRITY: ExitCode.INTEGRITY,
    Kind.ROLLBACK: ExitCode.INTEGRITY,
    Kind.BUSY: ExitCode.BUSY,
    Kind.WOULD_BLOCK: ExitCode.BUSY,
    Kind.CONFLICT: ExitCode.BUSY,
    Kind.FENCED: ExitCode.BUSY,
}


def exit_code(kind: Kind) -> ExitCode:
    """The exit code of a program that ends because of an error of this kind."""
    return _BY_KIND.get(kind, ExitCode.FAILURE)
