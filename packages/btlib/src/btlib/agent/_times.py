"""How long an agent holds keys."""

from __future__ import annotations

import msgspec
from btserde import U32

from ..errors import CredentialError
from ..kinds import Kind

MAX_SECONDS = 7 * 86_400  #: longer than a session; whoever needs keys for longer has a passphrase file


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Keys are dropped after `idle` seconds without use, and `longest` seconds after the first was unlocked."""

    idle: U32 = 3600
    longest: U32 = 12 * 3600

    def __post_init__(self) -> None:
        if not 0 < self.idle <= MAX_SECONDS or not 0 < self.longest <= MAX_SECONDS:
            raise CredentialError(
                f"an agent holds keys for 1 to {MAX_SECONDS} seconds, not {self.idle} and {self.longest}",
                kind=Kind.INVALID,
            )
