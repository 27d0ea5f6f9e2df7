"""btserde against other ways to encode the same three messages.

Each contender turns our objects into bytes and bytes into our objects; a peer that has objects of its own (protobuf)
or only maps and lists (cbor2) is charged for the conversion, since a user would pay for it.
"""

from __future__ import annotations

import enum
import pickle
from collections.abc import Callable
from typing import Annotated, Any

import btserde
import cbor2
import msgspec
from btserde import U8, U16, U32, U64, Fixed, View
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.bench.harness import Measurement, Result, compare, timed

NAME = "serde"

Id = Annotated[bytes, Fixed[16]]
FieldType = descriptor_pb2.FieldDescriptorProto


class Kind(enum.IntEnum):
    FILE = 0
    DIRECTORY = 1
    LINK = 2


class Header(msgspec.Struct, frozen=True, array_like=True):
    kind: U8
    flags: U16
    stream: U32
    sender: Id


class ReadReply(msgspec.Struct, frozen=True, array_like=True):
    request: U32
    epoch: U32
    offset: U64
    body: bytes


class ReadReplyView(msgspec.Struct, frozen=True, array_like=True):
    request: U32
    epoch: U32
    offset: U64
    body: View


class Entry(msgspec.Struct, frozen=True, array_like=True):
    name: str
    kind: Kind
    id: Id


class Directory(msgspec.Struct, frozen=True, array_like=True):
    inode: U64
    version: U64
    entries: list[Entry]


HEADER = Header(3, 0x1234, 70_001, bytes(range(16)))
BODY = bytes(range(256)) * 256
READ_REPLY = ReadReply(77, 300_000, 1 << 33, BODY)
READ_REPLY_VIEW = ReadReplyView(77, 300_000, 1 << 33, BODY)
DIRECTORY = Directory(
    1 << 60, 1 << 50, [Entry(f"photo-{i:04}", Kind(i % 3), (i * 0x9E3779B97F4A7C15).to_bytes(16)) for i in range(1000)]
)
MESSAGES: dict[str, msgspec.Struct] = {"header": HEADER, "read reply": READ_REPLY, "directory": DIRECTORY}


class Codec(msgspec.Struct, frozen=True):
    """One contender for one message."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def run(rounds: int) -> list[Result]:
    """Compare time and size of every message with every peer."""
    results: list[Result] = []
    for title, message in MESSAGES.items():
        tp = type(message)
        ours = Codec(btserde.Encoder(tp).encode, btserde.Decoder(tp).decode)
        peers = {name: make(tp) for name, make in PEERS.items()}
        for codec in (ours, *peers.values()):
            assert codec.decode(codec.encode(message)) == message
        results += _rows(f"serde {title}", message, ours, peers, rounds)
    return results + _view_rows(rounds)


def _rows(title: str, message: msgspec.Struct, ours: Codec, peers: dict[str, Codec], rounds: int) -> list[Result]:
    encode = {name: _encoding(codec, message) for name, codec in peers.items()}
    decode = {name: _decoding(codec, message) for name, codec in peers.items()}
    size = {name: _size(codec, message) for name, codec in peers.items()}
    return [
        *compare(f"{title} encode", "us", _encoding(ours, message), encode, rounds),
        *compare(f"{title} decode", "us", _decoding(ours, message), decode, rounds),
        *compare(f"{title} size", "B", _size(ours, message), size, 1),
    ]


def _view_rows(rounds: int) -> list[Result]:
    """The body handed on in place: parts when encoding, a view when decoding."""
    ours, peer = btserde.Encoder(ReadReplyView), _msgpack(ReadReply)
    parts = timed(ours.encode_parts, READ_REPLY_VIEW)
    view = Codec(ours.encode, btserde.Decoder(ReadReplyView).decode)
    return [
        *compare("serde read reply encode in parts", "us", parts, {"msgpack": _encoding(peer, READ_REPLY)}, rounds),
        *compare(
            "serde read reply decode in place",
            "us",
            _decoding(view, READ_REPLY_VIEW),
            {"msgpack": _decoding(peer, READ_REPLY)},
            rounds,
        ),
    ]


def _encoding(codec: Codec, message: msgspec.Struct) -> Measurement:
    return timed(codec.encode, message)


def _decoding(codec: Codec, message: msgspec.Struct) -> Measurement:
    return timed(codec.decode, codec.encode(message))


def _size(codec: Codec, message: msgspec.Struct) -> Measurement:
    return lambda: float(len(codec.encode(message)))


def _msgpack(tp: type[msgspec.Struct]) -> Codec:
    return Codec(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(tp).decode)


def _pickle(_: type[msgspec.Struct]) -> Codec:
    return Codec(lambda message: pickle.dumps(message, 5), pickle.loads)


def _cbor(tp: type[msgspec.Struct]) -> Codec:
    rows: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        Header: (
            lambda m: [m.kind, m.flags, m.stream, m.sender],
            lambda row: Header(*row),
        ),
        ReadReply: (
            lambda m: [m.request, m.epoch, m.offset, m.body],
            lambda row: ReadReply(*row),
        ),
        Directory: (
            lambda m: [m.inode, m.version, [[e.name, int(e.kind), e.id] for e in m.entries]],
            lambda row: Directory(row[0], row[1], [Entry(name, Kind(kind), id) for name, kind, id in row[2]]),
        ),
    }
    to_row, from_row = rows[tp]
    return Codec(lambda message: cbor2.dumps(to_row(message)), lambda data: from_row(cbor2.loads(data)))


def _protobuf(tp: type[msgspec.Struct]) -> Codec:
    message_class = _PROTOBUF_CLASSES[tp.__name__]
    entry_class = _PROTOBUF_CLASSES["Entry"]

    def encode(message: Any) -> bytes:
        if tp is Directory:
            entries = [entry_class(name=e.name, kind=int(e.kind), id=e.id) for e in message.entries]
            made = message_class(inode=message.inode, version=message.version, entries=entries)
        else:
            made = message_class(**{name: getattr(message, name) for name in tp.__struct_fields__})
        data: bytes = made.SerializeToString()
        return data

    def decode(data: bytes) -> Any:
        found = message_class.FromString(data)
        if tp is Directory:
            return Directory(found.inode, found.version, [Entry(e.name, Kind(e.kind), e.id) for e in found.entries])
        return tp(*[getattr(found, name) for name in tp.__struct_fields__])

    return Codec(encode, decode)


def _protobuf_classes() -> dict[str, Any]:
    """Message classes made at run time, so that no generated file is kept."""
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    fields = {
        "Header": ("kind uint32", "flags uint32", "stream uint32", "sender bytes"),
        "ReadReply": ("request uint32", "epoch uint32", "offset uint64", "body bytes"),
        "Entry": ("name string", "kind uint32", "id bytes"),
        "Directory": ("inode uint64", "version uint64", "entries message"),
    }
    for message, lines in fields.items():
        proto = file.message_type.add(name=message)
        for number, line in enumerate(lines, 1):
            name, kind = line.split()
            field = proto.field.add(name=name, number=number, label=FieldType.LABEL_OPTIONAL)
            field.type = FieldType.Type.Value(f"TYPE_{kind.upper()}")
            if kind == "message":
                field.label = FieldType.LABEL_REPEATED
                field.type_name = ".bench.Entry"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bench.{name}")) for name in fields}


_PROTOBUF_CLASSES = _protobuf_classes()

PEERS: dict[str, Callable[[type[msgspec.Struct]], Codec]] = {
    "msgpack": _msgpack,
    "pickle 5": _pickle,
    "protobuf": _protobuf,
    "cbor2": _cbor,
}
