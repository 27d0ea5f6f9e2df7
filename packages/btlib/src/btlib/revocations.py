"""What a domain has taken back: principals and serials of writecaps, each from a moment on.

    RevocationList   what is signed and stored: every entry with the moment, when it was made and by whom
    Revocations      what a verifier needs of it: the moments alone

A verifier takes the revocations as an argument. Revoking works forward: what was written before the moment stays
readable. A list only grows (`growth_fault`); who may sign it and where it lies is for `btfproto.domain`. No I/O here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from typing import TypeVar

import msgspec
from btserde import I64, U8, U64

from ._dates import date_text
from .errors import CapabilityError
from .principals import Principal
from .writecaps import Serial

FORMAT = 1
MAX_REVOKED = 25_000  #: entries of each of the two tables; full, they take 3.6 MB of the 4 MiB of a public record

Key = TypeVar("Key", bytes, Principal)


class Revocations(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The newest list of a domain. A root cannot be revoked: it is the one whose word all others rest on."""

    version: U64 = 0
    serials: dict[Serial, I64] = {}  #: serial of a writecap, and the unix second from which on it counts for nothing
    principals: dict[Principal, I64] = {}  #: the same for all writecaps that a principal issued or holds

    def standing(self, now: int) -> tuple[int, int]:
        """A value that changes whenever something more, or less, is revoked: what was decided under another is old."""
        return self.version, bisect_right(self._moments, now)

    def revoked(self, principal: Principal, now: int) -> str | None:
        """The sentence that refuses a principal; None where it is not revoked."""
        since = self.principals.get(principal)
        return None if since is None or since > now else f"{principal} was revoked on {date_text(since)}"

    @cached_property
    def _moments(self) -> list[int]:
        return sorted((*self.serials.values(), *self.principals.values()))


NO_REVOCATIONS = Revocations()


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """One entry."""

    since: I64  #: from when on it counts, in unix seconds
    recorded: I64  #: when it was entered, by the clock of who did
    by: Principal  #: who entered it


class RevocationList(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The record. `version` is that of its block's header, so that neither can be taken for another."""

    format: U8 = FORMAT
    version: U64
    principals: dict[Principal, Revoked] = {}
    serials: dict[Serial, Revoked] = {}

    def __post_init__(self) -> None:
        if len(self.principals) > MAX_REVOKED or len(self.serials) > MAX_REVOKED:
            raise CapabilityError(f"a revocation list has at most {MAX_REVOKED} principals and {MAX_REVOKED} serials")

    @cached_property
    def effective(self) -> Revocations:
        """What verifiers take."""
        return Revocations(
            version=self.version,
            serials={serial: entry.since for serial, entry in self.serials.items()},
            principals={principal: entry.since for principal, entry in self.principals.items()},
        )

    def extended(self, principals: Mapping[Principal, Revoked], serials: Mapping[bytes, Revoked]) -> RevocationList:
        """The next version. An entry that is there already is replaced only by an earlier moment."""
        return RevocationList(
            version=self.version + 1,
            principals=_merged(self.principals, principals),
            serials=_merged(self.serials, serials),
        )


NO_LIST = RevocationList(version=0)


def new_entries(old: RevocationList, new: RevocationList) -> list[Revoked]:
    """The entries of `new` that `old` does not have."""
    found = [entry for principal, entry in new.principals.items() if old.principals.get(principal) != entry]
    return found + [entry for serial, entry in new.serials.items() if old.serials.get(serial) != entry]


def growth_fault(old: RevocationList, new: RevocationList) -> str | None:
    """Why `new` may not follow `old` (None: it may), in a sentence. Not even the root takes back: new keys are cheap,
    and a reader who saw only some versions could not tell who did."""
    for principal, entry in old.principals.items():
        fault = _taken_back(str(principal), entry, new.principals.get(principal))
        if fault is not None:
            return fault
    for serial, entry in old.serials.items():
        fault = _taken_back(f"writecap {serial.hex()}", entry, new.serials.get(serial))
        if fault is not None:
            return fault
    return None


def _taken_back(what: str, old: Revoked, new: Revoked | None) -> str | None:
    if new is None:
        return f"it takes back the revocation of {what}, and a list only grows"
    if new.since > old.since:
        return f"it revokes {what} later ({date_text(new.since)}) than before ({date_text(old.since)})"
    return None


def _merged(old: Mapping[Key, Revoked], new: Mapping[Key, Revoked]) -> dict[Key, Revoked]:
    later = {key: entry for key, entry in new.items() if key not in old or entry.since < old[key].since}
    return {**old, **later}
