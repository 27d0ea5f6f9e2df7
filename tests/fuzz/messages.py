"""Targets of the messages of stores and file systems, and of what each end refuses to believe of the other."""

from __future__ import annotations

from btfproto._revocation_memory import Remembered
from btfproto.domain import LIST_LIMITS
from btfproto.endpoints import RecordSet, SignedRecord, check_record, read_record, read_set
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
from btlib import Principal
from btlib.errors import BlocktreeError, CapabilityError
from btserde import SerdeError, decode, encode
from msgspec import Struct

from .target import target

ROOT = Principal.parse("bt1zykynfv4sawy5qt7j749v7q4dddw8hnczqjf686k8rnqs69aqp8szxzz08")  #: of the vectors
NOW = 1_800_000_000


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


@target("endpoint-record", "records of endpoints, and what is believed of them", refuses=(SerdeError, BlocktreeError))
def endpoint_record(data: bytes) -> None:
    signed = decode(data, SignedRecord)
    assert encode(signed) == data
    record = read_record(signed)
    assert record.endpoints
    if record.path.root == ROOT:  # anybody can make records of a domain of his own
        assert check_record(signed, path=record.path, now=NOW) == record


@target("endpoint-set", "what stands where endpoints of a path do", refuses=())
def endpoint_set(data: bytes) -> None:
    found = read_set(data)
    assert found == RecordSet() or encode(found) == data


@target("revocation-memory", "the file of what was revoked", refuses=(SerdeError, CapabilityError))
def revocation_memory(data: bytes) -> None:
    assert encode(decode(data, Remembered, LIST_LIMITS)) == data
