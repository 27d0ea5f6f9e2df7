"""What runtimes say to each other: one request a message, to the actor's path.

    request = verb, incarnation (0: whoever has the name), restarts, class name, schema hash, chain, message
    reply   = Answered(value) or Failed(what, kind, text)          to ASK; Ended(...) to WATCH; nothing to others

    published = class name, schema hash, message                   in a call to a topic, and in what its broker tells

The message is encoded as its class by btserde. Class name and schema hash choose the type among those that the
receiving actor handles; nothing else is ever decoded. The chain is the paths of the actors that wait for this call.
"""

from __future__ import annotations

import enum
import typing
from functools import lru_cache

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btserde import U8, U64, Decoder, Encoder, SerdeError, View, decode, encode, schema_hash
from bttp.errors import RemoteError

from .actor import Actor
from .errors import (
    CallCycleError,
    CallTimeoutError,
    DeclarationError,
    DiedError,
    MailboxFullError,
    NoSuchActorError,
    NotHereError,
    RunError,
    UnhandledMessageError,
)
from .messages import Ask
from .reasons import Crashed, Killed, LinkedExit, NeverLived, Stopped, Unreachable

MAX_CHAIN = 100  #: calls that wait for each other across runtimes; more is a program that calls without end


FROM_NOW = 2**64 - 1  #: as `restarts`: only what ends after this arrived


class Verb(enum.Enum):
    """What a request asks."""

    TELL = 1
    ASK = 2
    WATCH = 3  #: answer when this life, or one of those after `restarts`, has ended
    STOP = 4
    DRAIN = 5
    KILL = 6


class Request(msgspec.Struct, frozen=True):
    """One message to an actor."""

    verb: Verb
    incarnation: U64 = 0
    restarts: U64 = 0
    name: str = ""
    schema: U64 = 0
    chain: tuple[str, ...] = ()
    body: View = memoryview(b"")


class Published(msgspec.Struct, frozen=True):
    """One message to a topic."""

    name: str
    schema: U64
    body: View


class Answered(msgspec.Struct, frozen=True, tag=1):
    body: View


class Failed(msgspec.Struct, frozen=True, tag=2):
    """`what`: place in ERRORS, or OTHER for an error of the handler itself."""

    what: U8
    kind: U8
    text: str


class Ended(msgspec.Struct, frozen=True):
    """A life that was watched ended."""

    reason: Stopped | Killed | Crashed | LinkedExit | Unreachable | NeverLived
    restarting: bool
    restarts: U64


#: Errors of the runtime that arrive as what they are. Append only: the place is on the wire.
ERRORS: tuple[type[RunError], ...] = (
    DiedError,
    NoSuchActorError,
    UnhandledMessageError,
    CallCycleError,
    MailboxFullError,
    CallTimeoutError,
    NotHereError,
)
OTHER = 255

encode_request = Encoder(Request).encode
decode_request = Decoder(Request).decode
_Reply: typing.TypeAlias = Answered | Failed
encode_reply = Encoder(_Reply).encode
decode_reply = Decoder(_Reply).decode
_PUBLISHED = Encoder(Published)
decode_published = Decoder(Published).decode
encode_ended = Encoder(Ended).encode
decode_ended = Decoder(Ended).decode


def failure(error: BlocktreeError) -> Failed:
    """An error on its way out. One that says of another call that nothing happened there must not say so of this."""
    touched = isinstance(error, RunError) and type(error).untouched and not error.untouched
    what = next((place for place, known in enumerate(ERRORS) if type(error) is known and not touched), OTHER)
    return Failed(what, int(error.kind), str(error))


def error_of(failed: Failed) -> BlocktreeError:
    """The same as the caller gets it. Kinds and places that this version does not know count as unknown errors."""
    if failed.what < len(ERRORS):
        return ERRORS[failed.what](failed.text)
    kind = Kind(failed.kind) if failed.kind in Kind._value2member_map_ else Kind.INTERNAL
    return RemoteError(failed.text, kind=kind)


@lru_cache(4096)  # classes are few and live as long as the process
def message_key(message: type) -> tuple[str, int]:
    """Name and schema hash of a class of messages. Raises DeclarationError if it cannot be encoded."""
    try:
        return message.__name__, schema_hash(message)
    except SerdeError as error:
        raise DeclarationError(f"{message.__name__} cannot be sent to another runtime: {error}") from error


def encode_published(message: object) -> bytes:
    """A message to a topic. Raises DeclarationError."""
    cls: type = type(message)
    name, schema = message_key(cls)
    try:
        return _PUBLISHED.encode(Published(name, schema, memoryview(encode(message))))
    except ValueError as error:
        raise DeclarationError(f"this {name} cannot be encoded: {error}") from error


@lru_cache(4096)
def wire_types(actor: type[Actor]) -> dict[tuple[str, int], type]:
    """The types that an actor takes from other runtimes."""
    found = {}
    for message in actor._handlers:
        try:
            found[message_key(message)] = message
        except DeclarationError:
            continue  # it is for this process only
    return found


@lru_cache(4096)
def answer_type(message: type) -> object:
    """R of an `Ask[R]`. Raises DeclarationError for other classes: nothing would say how to read the answer."""
    for base in message.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            if typing.get_origin(generic) is Ask:
                return _readable(message, typing.get_args(generic)[0])
    raise DeclarationError(
        f"{message.__name__} does not say what its answer is, so another runtime cannot be called with it",
        hint="derive it from Ask[...]",
    )


def _readable(message: type, answer: object) -> object:
    """The type, if answers of it can be encoded. Raises DeclarationError: before a call, not after it has acted."""
    try:
        if answer not in (None, type(None)):
            schema_hash(answer)
    except SerdeError as error:
        raise DeclarationError(f"the answer to {message.__name__} cannot be sent between runtimes: {error}") from error
    return answer


def encode_answer(message: type, value: object) -> bytes:
    """What a handler returned, as the type that the message promises."""
    tp = answer_type(message)
    if tp in (None, type(None)):
        return b""
    try:
        return encode(value, tp)
    except SerdeError as error:
        raise DeclarationError(f"the answer to {message.__name__} cannot be encoded: {error}") from error


def decode_answer(message: type, data: memoryview) -> object:
    """The other way. Raises SerdeError."""
    tp = answer_type(message)
    return None if tp in (None, type(None)) else decode(data, tp)
