"""Which records serve a path: the longest prefix that has a good one wins. Pure.

    /<root>/hosts/nas/btfsd/fs      asks at itself, …/btfsd, …/nas, …/hosts and /<root>, in this order

Of one prefix all good records count: several servers may serve it. A record that is no good is kept with its reason, so
that people can be told why nothing, or something else, was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.revocations import NO_REVOCATIONS, Revocations

from ..errors import FsError
from ._records import EndpointRecord, SignedRecord, check_record, read_record

Known = tuple[BlockPath, BlockPath]  # path and server


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A good record."""

    signed: SignedRecord
    record: EndpointRecord


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One that is not, and why. `server` is what it claims, if that can be read."""

    path: BlockPath
    server: BlockPath | None
    kind: Kind
    reason: str


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one path."""

    target: BlockPath
    found: tuple[Found, ...]  #: all of the same prefix; those that were issued last come first
    refused: tuple[Refused, ...]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where to dial, in this order; what `bttp.reconnecting` takes."""
        return tuple(dict.fromkeys(endpoint for found in self.found for endpoint in found.record.endpoints))

    def require(self) -> Resolution:
        """Itself, if anything was found. Raises FsError with what stands in the way."""
        if self.found:
            return self
        if self.refused:
            first = self.refused[0]
            raise FsError(first.kind, f"no endpoint record for {self.target} is good: {first.reason}")
        raise FsError(
            Kind.NOT_FOUND,
            f"no endpoint record is known for {self.target} or above",
            "its server writes one when it starts; or name an endpoint",
        )


def prefixes(path: BlockPath) -> Iterator[BlockPath]:
    """The path and all above it, the longest first."""
    place: BlockPath | None = path
    while place is not None:
        yield place
        place = place.parent


def resolve(
    target: BlockPath,
    records: Mapping[BlockPath, Iterable[SignedRecord]],
    *,
    now: int,
    newest: Mapping[Known, SignedRecord] | None = None,
    revocations: Revocations = NO_REVOCATIONS,
) -> Resolution:
    """`records` by the path at which they were found; `newest`: the newest known of each path and server."""
    refused: list[Refused] = []
    for prefix in prefixes(target):
        found: dict[BlockPath, Found] = {}
        for signed in records.get(prefix, ()):
            try:
                claimed = read_record(signed)
                seen = (newest or {}).get((prefix, claimed.server))
                record = check_record(signed, path=prefix, now=now, newest=seen, revocations=revocations)
            except BlocktreeError as error:
                refused.append(_refused(prefix, signed, error))
                continue
            other = found.get(record.server)
            if other is None or other.record.issued < record.issued:
                found[record.server] = Found(signed=signed, record=record)
        if found:
            newest_first = sorted(found.values(), key=lambda each: -each.record.issued)
            return Resolution(target=target, found=tuple(newest_first), refused=tuple(refused))
    return Resolution(target=target, found=(), refused=tuple(refused))


def _refused(path: BlockPath, signed: SignedRecord, error: BlocktreeError) -> Refused:
    try:
        server = read_record(signed).server
    except FsError:
        server = None
    return Refused(path=path, server=server, kind=error.kind, reason=error.message)
