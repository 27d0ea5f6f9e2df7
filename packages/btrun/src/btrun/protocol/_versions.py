"""Versions: before its first message each side says which fingerprints it can speak, and both make the same choice."""

from __future__ import annotations

from collections.abc import Sequence

from btserde import U64
from msgspec import Struct

from ._channel import Channel, UnexpectedMessageError
from .errors import VersionError

#: A side speaks a few versions of a protocol at a time.
MAX_VERSIONS = 16


class Versions(Struct, frozen=True, kw_only=True):
    """What a side can speak, the version that it likes best first."""

    fingerprints: tuple[U64, ...]


_ACCEPTS = {"Versions": Versions}


async def agree(channel: Channel, protocol: str, fingerprints: Sequence[int]) -> int:
    """Tell the other side what we speak, and choose. Raises VersionError."""
    await channel.send(Versions(fingerprints=tuple(fingerprints)))
    try:
        theirs = await channel.receive(_ACCEPTS)
    except UnexpectedMessageError as error:
        raise VersionError(
            f"{channel.peer} began a session of {protocol} with {error.label} instead of its versions"
        ) from None
    offered = theirs.fingerprints if isinstance(theirs, Versions) else ()
    chosen = choose(tuple(fingerprints), offered[:MAX_VERSIONS])
    if chosen is None:
        raise VersionError(
            f"{channel.peer} speaks {_listed(offered[:MAX_VERSIONS])} of {protocol}, this side {_listed(fingerprints)}",
            hint="compare the two declarations with: bt protocol diff OLD NEW",
        )
    return chosen


def choose(ours: tuple[int, ...], theirs: tuple[int, ...]) -> int | None:
    """The common version that both together like best (the smaller number of two that they like alike)."""
    common = set(ours) & set(theirs)
    return min(common, key=lambda version: (ours.index(version) + theirs.index(version), version), default=None)


def _listed(fingerprints: Sequence[int]) -> str:
    return "version " + ", ".join(f"{version:016x}" for version in fingerprints) if fingerprints else "no version"
