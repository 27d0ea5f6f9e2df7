"""Versions: before its first message each side says which fingerprints it can speak, and both make the same choice."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from btserde import U64
from msgspec import Struct

from ._channel import Channel, UnexpectedMessageError
from .errors import StateTimeoutError, VersionError

#: A side speaks a few versions of a protocol at a time.
MAX_VERSIONS = 16


#: How long the other side may take to say which versions it speaks, or which session it joins: it costs a round trip
#: and no thought, so one that opens sessions and is silent does not hold them for ever.
AGREE_SECONDS = 10.0


class Versions(Struct, frozen=True, kw_only=True):
    """What a side can speak, the version that it likes best first."""

    fingerprints: tuple[U64, ...]


_ACCEPTS = {"Versions": Versions}


async def agree(channel: Channel, protocol: str, fingerprints: Sequence[int]) -> int:
    """Tell the other side what we speak, and choose. Raises VersionError, and StateTimeoutError where it says none."""
    await channel.send(Versions(fingerprints=tuple(fingerprints)))
    with anyio.move_on_after(AGREE_SECONDS):
        try:
            theirs = await channel.receive(_ACCEPTS)
        except UnexpectedMessageError as error:
            raise VersionError(
                f"{channel.peer} began a session of {protocol} with {error.label} instead of its versions"
            ) from None
        return _chosen(channel, protocol, tuple(fingerprints), theirs)
    raise silent(channel, f"which version of {protocol} it speaks")


def silent(channel: Channel, what: str) -> StateTimeoutError:
    """The error for a side that does not say how it begins."""
    return StateTimeoutError(
        f"{channel.peer} did not say within {AGREE_SECONDS:g} seconds {what}",
        hint="look whether a program serves sessions there",
    )


def _chosen(channel: Channel, protocol: str, fingerprints: tuple[int, ...], theirs: Struct) -> int:
    offered = theirs.fingerprints[:MAX_VERSIONS] if isinstance(theirs, Versions) else ()
    chosen = choose(fingerprints, offered)
    if chosen is None:
        raise VersionError(
            f"{channel.peer} speaks {_listed(offered)} of {protocol}, this side {_listed(fingerprints)}",
            hint="compare the two declarations with: bt protocol diff OLD NEW",
        )
    return chosen


def choose(ours: tuple[int, ...], theirs: tuple[int, ...]) -> int | None:
    """The common version that both together like best (the smaller number of two that they like alike)."""
    common = set(ours) & set(theirs)
    return min(common, key=lambda version: (ours.index(version) + theirs.index(version), version), default=None)


def _listed(fingerprints: Sequence[int]) -> str:
    return "version " + ", ".join(f"{version:016x}" for version in fingerprints) if fingerprints else "no version"
