"""What is said at a runtime's inspection path, `<runtime>/.bt/inspect`. Pure.

    call     Look(below, most)      → Inspection
    call     Halt(name, how)        → Halted(found)
    stream   first words Follow(below); items: an empty one when it begins, then Handled for each message

`below` is a name below the runtime: it and all below it; empty for all. Messages are told by their classes alone: what
is in them does not leave the process.
"""

from __future__ import annotations

import enum

import msgspec
from btlib.paths import BlockPath
from btserde import U32, U64, Decoder, Encoder

PLACE = (".bt", "inspect")
FOLLOWED = b""
MOST = 10_000  #: actors in one answer unless more are asked for: about 1 MB


class How(enum.Enum):
    """How an actor is to end."""

    STOP = 1  #: after the message that it handles
    DRAIN = 2  #: after those that wait
    KILL = 3  #: now


class Look(msgspec.Struct, frozen=True, kw_only=True, tag=1):
    below: str = ""
    most: U32 = MOST


class Halt(msgspec.Struct, frozen=True, kw_only=True, tag=2):
    name: str
    how: How = How.STOP


class Halted(msgspec.Struct, frozen=True, kw_only=True):
    """Whether there was such an actor or service."""

    found: bool


class Follow(msgspec.Struct, frozen=True, kw_only=True):
    below: str = ""


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """One message that an actor handled."""

    path: str
    message: str  #: its class
    seconds: float  #: from the first line of the handler to its end
    error: str | None  #: the class of what it raised
    lost: U64 = 0  #: messages before this one of which the follower was too slow to hear


encode_request = Encoder(Look | Halt).encode
decode_request = Decoder(Look | Halt).decode
encode_halted = Encoder(Halted).encode
decode_halted = Decoder(Halted).decode
encode_follow = Encoder(Follow).encode
decode_follow = Decoder(Follow).decode
encode_handled = Encoder(Handled).encode
decode_handled = Decoder(Handled).decode


def inspection_path(runtime: BlockPath) -> BlockPath:
    """Where a runtime is inspected; EXECUTE there is the right to do so."""
    return BlockPath(runtime.root, (*runtime.names, *PLACE))


def is_below(name: str, below: str) -> bool:
    """Whether a name is meant."""
    return not below or name == below or name.startswith(f"{below}/")
