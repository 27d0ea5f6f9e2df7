"""The limits of the file service, each with its reason. A refusal names the limit and its setting."""

from __future__ import annotations

import msgspec
from btlib.kinds import Kind

from btfproto.errors import FsError


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one session may hold at the server. The daemon's settings have the same names."""

    max_sessions: int = 1024  #: sessions at once; each is a client's mount
    max_sessions_per_principal: int = 32  #: so that one client cannot use up the others' share
    max_inodes: int = 1_000_000  #: inodes that a client's kernel still refers to, some 100 bytes each
    max_listed: int = 65_536  #: inodes known from listings only; the oldest are forgotten, and looked up again
    max_handles: int = 4096  #: open files: what a busy machine has open in one mount
    max_locks: int = 1024  #: pairs of open file and lock owner
    kept_replies: int = 2048  #: replies remembered for repetition: twice what a link has under way
    grace_seconds: float = 60.0  #: how long a session outlives its link: a network's hiccup, a laptop's short sleep


def over(what: str, setting: str, limit: int) -> FsError:
    """The refusal of one more."""
    return FsError(
        Kind.LIMIT,
        f"this session has {limit} {what}, which is the limit",
        f"close some, or raise {setting} in btfsd's configuration",
    )
