"""What a domain has taken back: serials of writecaps and principals, each from a moment on.

A verifier takes the list as an argument; where it lies, who signs it and which version is the newest is not known here.
Revoking works forward: what was written before the moment stays readable.
"""

from __future__ import annotations

import msgspec
from btserde import I64, U64

from .principals import Principal
from .writecaps import Serial


class Revocations(msgspec.Struct, frozen=True, kw_only=True):
    """The newest list of a domain. A root cannot be revoked: it is the one who signs the list."""

    version: U64 = 0
    serials: dict[Serial, I64] = {}  #: serial of a writecap, and the unix second from which on it counts for nothing
    principals: dict[Principal, I64] = {}  #: the same for all writecaps that a principal issued or holds


NO_REVOCATIONS = Revocations()
