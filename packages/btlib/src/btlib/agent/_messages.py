"""What is said to an agent: one request and one reply a connection. Pure.

    frame = length of body U32 (little-endian) ‖ body          body = a Request, or a Reply, encoded by btserde

Both ends are of one installation as a rule; tags are still only ever added.
"""

from __future__ import annotations

import msgspec
from btserde import U8, U32, Decoder, Encoder, Limits, SerdeError

from ..errors import CredentialError
from ..kinds import Kind
from ..principals import Principal
from ..public_keys import PublicKeys
from ..writecaps import Chain
from ._times import Times

LENGTH_SIZE = 4
MAX_BODY = 2 * 1024 * 1024  #: beyond the chains of the largest credential file, which has 1 MiB

_LIMITS = Limits(max_size=MAX_BODY, max_count=4096)


class GetStatus(msgspec.Struct, frozen=True, tag=1):
    """Whose keys are held, and until when. Does not count as use."""


class Unlock(msgspec.Struct, frozen=True, tag=2):
    """Hold the keys of this machine in a domain of the agent's home. Prints without the passphrase."""

    petname: str
    passphrase: str

    def __repr__(self) -> str:
        return f"Unlock({self.petname!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        # msgspec's own would show every field.
        return [("petname", self.petname)]


class Identify(msgspec.Struct, frozen=True, tag=3):
    """The public keys and the chains of a principal, if its keys are held."""

    principal: Principal


class Sign(msgspec.Struct, frozen=True, tag=4):
    principal: Principal
    label: bytes
    message: bytes


class Open(msgspec.Struct, frozen=True, tag=5):
    principal: Principal
    label: bytes
    info: bytes
    sealed: bytes


class Lock(msgspec.Struct, frozen=True, tag=6):
    """Forget all keys, and go on."""


class Stop(msgspec.Struct, frozen=True, tag=7):
    """Forget all keys, and end."""


Request = GetStatus | Unlock | Identify | Sign | Open | Lock | Stop


class Failed(msgspec.Struct, frozen=True, tag=0):
    kind: U8
    message: str
    hint: str | None = None


class Held(msgspec.Struct, frozen=True):
    """Keys that are held."""

    petname: str
    principal: Principal


class Status(msgspec.Struct, frozen=True, kw_only=True, tag=1):
    pid: U32
    times: Times
    held: list[Held]
    left: U32 | None  #: seconds until the keys are dropped, if nobody uses them
    memory_locked: bool  #: whether no part of the process can be swapped out


class Identified(msgspec.Struct, frozen=True, tag=2):
    public: PublicKeys
    chains: list[Chain]


class Signed(msgspec.Struct, frozen=True, tag=3):
    signature: bytes


class Opened(msgspec.Struct, frozen=True, tag=4):
    """A plaintext, which may be a block's key. Prints without it."""

    plain: bytes

    def __repr__(self) -> str:
        return f"Opened({len(self.plain)} bytes)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("size", len(self.plain))]


class Done(msgspec.Struct, frozen=True, tag=5):
    pass


Reply = Failed | Status | Identified | Signed | Opened | Done

_REQUEST: Encoder[Request] = Encoder(Request, _LIMITS)
_REQUEST_DECODER: Decoder[Request] = Decoder(Request, _LIMITS)
_REPLY: Encoder[Reply] = Encoder(Reply, _LIMITS)
_REPLY_DECODER: Decoder[Reply] = Decoder(Reply, _LIMITS)


def encode_request(request: Request) -> bytes:
    """A frame."""
    return _frame(_REQUEST.encode(request))


def decode_request(body: bytes) -> Request:
    """Raises CredentialError."""
    try:
        return _REQUEST_DECODER.decode(body)
    except SerdeError:
        raise _unreadable("a request") from None  # its message could quote a passphrase


def encode_reply(reply: Reply) -> bytes:
    """A frame."""
    return _frame(_REPLY.encode(reply))


def decode_reply(body: bytes) -> Reply:
    """Raises CredentialError."""
    try:
        return _REPLY_DECODER.decode(body)
    except SerdeError:
        raise _unreadable("an answer") from None  # its message could quote a plaintext


def body_size(head: bytes) -> int:
    """From the first bytes of a frame. Raises CredentialError for a frame that is too large."""
    size = int.from_bytes(head, "little")
    if len(head) != LENGTH_SIZE or size > MAX_BODY:
        raise _unreadable("a frame")
    return size


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(LENGTH_SIZE, "little") + body


def _unreadable(what: str) -> CredentialError:
    return CredentialError(
        f"agent and client do not understand each other: {what} cannot be read",
        kind=Kind.PROTOCOL,
        hint="after an update: bt agent stop, then bt agent start",
    )
