"""Targets of the messages of stores and file systems, and of what each end refuses to believe of the other."""

from __future__ import annotations

from btfproto._revocation_memory import Remembered
from btfproto.domain import LIST_LIMITS
from btfproto.errors import FsError, StoreError
from btfproto.messages import (
    MessageError,
    decode_fs_call,
    decode_fs_reply,
    decode_store_reply,
    decode_store_request,
    encode_fs_call,
    encode_fs_reply,
    encode_store_reply,
    encode_store_request,
    files,
)
from btfproto.remote._checks import check_attributes, check_entries
from btlib.errors import CapabilityError
from btserde import SerdeError, decode, encode
from msgspec import Struct

from .target import target


@target("file-call", "requests of the file service", refuses=MessageError)
def file_call(data: bytes) -> None:
    assert b"".join(encode_fs_call(decode_fs_call(data))) == data


@target("file-reply", "replies of the file service, and what a client believes of them", refuses=FsError)
def file_reply(data: bytes) -> None:
    reply = decode_fs_reply(data)
    assert b"".join(encode_fs_reply(reply)) == data
    if isinstance(reply, files.Attributed):
        check_attributes(reply.attributes)
    elif isinstance(reply, files.Listed):
        check_entries(reply.entries, 0, 1000, plus=True)


@target("store-request", "requests to a store", refuses=MessageError)
def store_request(data: bytes) -> None:
    assert b"".join(encode_store_request(decode_store_request(data))) == data


@target("store-reply", "replies of a store", refuses=(StoreError, FsError))
def store_reply(data: bytes) -> None:
    reply = decode_store_reply(data, Struct)
    assert b"".join(encode_store_reply(reply)) == data  # type: ignore[arg-type]


@target("revocation-memory", "the file of what was revoked", refuses=(SerdeError, CapabilityError))
def revocation_memory(data: bytes) -> None:
    assert encode(decode(data, Remembered, LIST_LIMITS)) == data
