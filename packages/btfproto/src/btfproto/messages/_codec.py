"""Encoders and decoders of the messages, and which reply answers which request.

What a peer sent is decoded under limits before anything is allocated for it; a message that does not decode, and a
reply that does not answer its request, break the protocol and raise `MessageError`. Nothing here does input or output.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from btlib.kinds import Kind
from btserde import Decoder, Encoder, Limits, SerdeError

from btfproto.errors import FsError, StoreError

from . import _files as files
from . import _store as store
from ._failure import Failed, printable

#: One message of the link is at most this large; a list of small items in it may have this many.
LIMITS = Limits(max_depth=8, max_size=64 * 1024 * 1024, max_count=262_144)

Bytes = bytes | bytearray | memoryview
Parts = list[bytes | memoryview]

_FS_CALL: Encoder[files.FsCall] = Encoder(files.FsCall, LIMITS)
_FS_CALL_DECODER: Decoder[files.FsCall] = Decoder(files.FsCall, LIMITS)
_FS_REPLY: Encoder[Any] = Encoder(files.FsReply, LIMITS)
_FS_REPLY_DECODER: Decoder[Any] = Decoder(files.FsReply, LIMITS)
_STORE_REQUEST: Encoder[Any] = Encoder(store.StoreRequest, LIMITS)
_STORE_REQUEST_DECODER: Decoder[Any] = Decoder(store.StoreRequest, LIMITS)
_STORE_REPLY: Encoder[Any] = Encoder(store.StoreReply, LIMITS)
_STORE_REPLY_DECODER: Decoder[Any] = Decoder(store.StoreReply, LIMITS)

Reply = TypeVar("Reply", bound=msgspec.Struct)


class MessageError(FsError):
    """The peer sent bytes that are no message of ours, or a reply to another question. Nothing of it was used."""

    def __init__(self, text: str) -> None:
        super().__init__(Kind.PROTOCOL, text)


def encode_fs_call(call: files.FsCall) -> Parts:
    return _FS_CALL.encode_parts(call)


def decode_fs_call(body: Bytes) -> files.FsCall:
    """Raises MessageError."""
    try:
        return _FS_CALL_DECODER.decode(body)
    except SerdeError as error:
        raise MessageError(f"this is no file request: {error}") from error


def encode_fs_reply(reply: files.FsReply) -> Parts:
    return _FS_REPLY.encode_parts(reply)


def decode_fs_reply(body: Bytes) -> files.FsReply:
    """The reply; the caller sees to it that it is the right one. Raises FsError (the server's), or MessageError."""
    try:
        reply: files.FsReply = _FS_REPLY_DECODER.decode(body)
    except SerdeError as error:
        raise MessageError(f"the server's answer is no file reply: {error}") from error
    if isinstance(reply, Failed):
        raise FsError(reply.kind, printable(reply.text), _hint(reply))
    return reply


def encode_store_request(request: store.StoreRequest) -> Parts:
    return _STORE_REQUEST.encode_parts(request)


def decode_store_request(body: Bytes) -> store.StoreRequest:
    """Raises MessageError."""
    try:
        request: store.StoreRequest = _STORE_REQUEST_DECODER.decode(body)
    except SerdeError as error:
        raise MessageError(f"this is no store request: {error}") from error
    return request


def encode_store_reply(reply: store.StoreReply) -> Parts:
    """In one part: hundreds of records, copied once, cost less than hundreds of parts on their way to the network."""
    return [_STORE_REPLY.encode(reply)]


def decode_store_reply(body: Bytes, expected: type[Reply]) -> Reply:
    """The reply, if it is of the type that its request calls for. Raises StoreError, or MessageError."""
    try:
        reply: object = _STORE_REPLY_DECODER.decode(body)
    except SerdeError as error:
        raise MessageError(f"the server's answer is no store reply: {error}") from error
    if isinstance(reply, Failed):
        raise StoreError(reply.kind, printable(reply.text), _hint(reply))
    return _expect(reply, expected)


def _hint(failed: Failed) -> str | None:
    return None if failed.hint is None else printable(failed.hint)


def _expect(reply: object, expected: type[Reply]) -> Reply:
    if not isinstance(reply, expected):
        raise MessageError(f"the server answered with {type(reply).__name__} where {expected.__name__} belongs")
    return reply
