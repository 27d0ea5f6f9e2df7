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
from btserde import U8, U64, Decoder, Encoder, SerdeError, View, schema_hash
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


MAX_HEADS = 4  #: looking through more costs as much as decoding
MAX_HEAD = 1024  #: bytes of one that is kept; nobody else decides how much memory they take
SMALL = 2048  #: bytes of a request that are copied, since decoding bytes costs less than decoding a view
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


class Head:
    """What a request begins with, decoded; and what it means to actors of the class that it reached last."""

    __slots__ = ("actor", "answer", "message", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.actor: type[Actor] | None = None
        self.message: MessageType  #: set with `actor`
        self.answer: AnswerType | None = None  #: that to `message`, once somebody wanted to know


class Heads:
    """The beginnings of the last requests, decoded: those of one caller mostly differ in their bodies alone."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def decode(self, data: memoryview | bytes) -> tuple[Head, memoryview | bytes]:
        """What a request begins with, and its body. Raises SerdeError."""
        if (size := len(data)) <= SMALL:
            data = bytes(data)  # to compare, cut and decode it costs less than a view of it
            for start, head in self._known.items():
                if data.startswith(start):
                    at = len(start) + 1
                    if at <= size < at + SHORT and data[at - 1] == size - at:  # as `_body_at`, for nearly all
                        return head, data[at:]
                    if at := _body_at(data, at - 1):
                        return head, data[at:]
        else:
            for start, head in self._known.items():
                if data[: len(start)] == start and (at := _body_at(data, len(start))):
                    return head, data[at:]
        full = decode_request(data)
        body = memoryview(full.body)
        head = Head(msgspec.structs.replace(full, body=memoryview(b"")))
        start = bytes(data[: len(data) - len(body) - len(_length(len(body)))])
        if len(start) <= MAX_HEAD:
            if len(self._known) == MAX_HEADS:
                del self._known[next(iter(self._known))]
            self._known[start] = head
        return head, bytes(body) if len(body) <= SMALL else body


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


class MessageType:
    """A class of messages as it is on the wire; made once for each class."""

    __slots__ = ("cls", "decode", "encode", "name", "schema")

    def __init__(self, cls: type) -> None:
        """Raises DeclarationError if it cannot be encoded."""
        self.cls = cls
        self.name = cls.__name__
        try:
            self.schema = schema_hash(cls)
            self.encode = Encoder[typing.Any](cls).encode
            self.decode = Decoder[typing.Any](cls).decode
        except SerdeError as error:
            raise DeclarationError(f"{self.name} cannot be sent to another runtime: {error}") from error

    def body(self, message: object) -> bytes:
        """Raises DeclarationError for a value that its type does not allow."""
        try:
            return self.encode(message)
        except ValueError as error:
            raise DeclarationError(f"this {self.name} cannot be encoded: {error}") from error


@lru_cache(4096)  # classes are few and live as long as the process
def message_type(cls: type) -> MessageType:
    """Raises DeclarationError."""
    return MessageType(cls)


@lru_cache(4096)
def wire_types(actor: type[Actor]) -> dict[tuple[str, int], MessageType]:
    """The messages that an actor takes from other runtimes, by class name and schema hash."""
    found = {}
    for message in actor._handlers:
        try:
            known = message_type(message)
        except DeclarationError:
            continue  # it is for this process only
        found[known.name, known.schema] = known
    return found


class AnswerType:
    """The answers to a class of messages; made once for each class."""

    __slots__ = ("_decode", "_encode", "_message")

    def __init__(self, message: type) -> None:
        """Raises DeclarationError where nothing says how to read the answer, or it cannot be encoded: before a call,
        not after it has acted."""
        self._message = message
        answer = _declared_answer(message)
        nothing = answer in (None, type(None))
        try:
            self._encode = None if nothing else Encoder[typing.Any](answer).encode
            self._decode = None if nothing else Decoder[typing.Any](answer).decode
        except SerdeError as error:
            name = message.__name__
            raise DeclarationError(f"the answer to {name} cannot be sent between runtimes: {error}") from error

    def reply(self, value: object) -> bytes:
        """What a handler returned, as the type that the message promises. Raises DeclarationError."""
        if self._encode is None:
            return _NO_ANSWER
        try:
            body = self._encode(value)
        except SerdeError as error:
            raise DeclarationError(f"the answer to {self._message.__name__} cannot be encoded: {error}") from error
        size = len(body)
        return _SHORT_ANSWERS[size] + body if size < SHORT else _ANSWERED + body_of(body)

    def read(self, reply: memoryview) -> object:
        """The answer in a reply. Raises what the handler raised, and SerdeError."""
        data = bytes(reply) if len(reply) <= SMALL else reply
        if data[:1] == _ANSWERED:  # as nearly all are
            at = 2 if 1 < len(data) < SHORT and data[1] == len(data) - 2 else _body_at(data, 1)
            if at:
                return None if self._decode is None else self._decode(data[at:])
        answered = decode_reply(reply)
        if isinstance(answered, Failed):
            raise error_of(answered)
        return None if self._decode is None else self._decode(answered.body)


@lru_cache(4096)
def answer_type(message: type) -> AnswerType:
    """Raises DeclarationError."""
    return AnswerType(message)


def _declared_answer(message: type) -> object:
    """R of an `Ask[R]`."""
    for base in message.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            if typing.get_origin(generic) is Ask:
                return typing.get_args(generic)[0]
    raise DeclarationError(
        f"{message.__name__} does not say what its answer is, so another runtime cannot be called with it",
        hint="derive it from Ask[...]",
    )


def request_head(verb: Verb, incarnation: int, message: MessageType, chain: tuple[str, ...] = ()) -> bytes:
    """A request but for its body, which is its last field: `request_head(…) + body_of(message.body(…))`."""
    request = Request(verb, incarnation=incarnation, name=message.name, schema=message.schema, chain=chain)
    return encode_request(request)[:-1]  # without the length of no body


def body_of(body: bytes) -> bytes:
    """A body as a field."""
    size = len(body)
    return LENGTHS[size] + body if size < SHORT else _length(size) + body


def _length(size: int) -> bytes:
    """The length of a field, as btserde writes it."""
    if size < SHORT:
        return LENGTHS[size]
    return b"\xfd" + size.to_bytes(2, "little") if size < 2**16 else b"\xfe" + size.to_bytes(4, "little")


def _body_at(data: memoryview | bytes, start: int) -> int:
    """Where the content of the last field begins, whose length stands at `start`; 0 if that is not its length."""
    left = len(data) - start
    if left <= SHORT:
        return start + 1 if left > 0 and data[start] == left - 1 else 0
    width = 3 if left < 2**16 + 3 else 5
    return start + width if data[start : start + width] == _length(left - width) else 0


def encode_published(message: object) -> bytes:
    """A message to a topic. Raises DeclarationError."""
    cls: type = type(message)
    known = message_type(cls)
    return _PUBLISHED.encode(Published(known.name, known.schema, memoryview(known.body(message))))


SHORT = 253  # below it a length is one byte
LENGTHS = tuple(bytes([size]) for size in range(SHORT))
_NO_ANSWER = encode_reply(Answered(memoryview(b"")))
_ANSWERED = _NO_ANSWER[:1]  # the tag; the body is the last field
_SHORT_ANSWERS = tuple(_ANSWERED + length for length in LENGTHS)
