"""The second implementation: slow, obvious, written from the specification and from Python types alone.

It shares nothing with btserde but the markers of the types. It refuses by ValueError and knows no limits.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, NewType, get_args, get_origin

import msgspec
from btserde._types import FixedSize, InPlace, IntWidth


def encode(hint: Any, value: Any) -> bytes:
    tp, mark = unwrap(hint)
    origin, args = get_origin(tp), get_args(tp)
    if isinstance(mark, IntWidth):
        number: int = value
        return number.to_bytes(mark.bits // 8, "little", signed=mark.signed)
    if isinstance(mark, FixedSize):
        return bytes(value)
    if tp is bool:
        return b"\1" if value else b"\0"
    if tp is float:
        return struct.pack("<d", 0.0 if value == 0 else value)
    if tp is bytes or isinstance(mark, InPlace):
        return length(len(bytes(value))) + bytes(value)
    if tp is str:
        return encode(bytes, str(value).encode())
    if is_enum(tp):
        return bytes([numbers(tp)[value.name]])
    if type(None) in args:
        return b"\0" if value is None else b"\1" + encode(without_none(args), value)
    if is_union(origin):
        return encode(type(value), value)
    if origin is list or args[1:] == (Ellipsis,):
        return length(len(value)) + column(args[0], list(value))
    if origin in (set, frozenset):
        return length(len(value)) + b"".join(sorted(encode(args[0], item) for item in value))
    if origin is dict:
        rows = sorted((encode(args[0], key), encode(args[1], item)) for key, item in value.items())
        return length(len(value)) + b"".join(key + item for key, item in rows)
    names = field_types(tp)
    return tag_bytes(tp) + b"".join(encode(hint, part(value, name)) for name, hint in names.items())


def column(tp: Any, values: list[Any]) -> bytes:
    plain, mark = unwrap(tp)
    if (plain in (str, bytes) and not isinstance(mark, FixedSize)) or isinstance(mark, InPlace):
        contents = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
        return b"".join(length(len(content)) for content in contents) + b"".join(contents)
    if is_struct(plain) and not tag_bytes(plain):
        fields = field_types(plain).items()
        return b"".join(column(hint, [part(value, name) for value in values]) for name, hint in fields)
    return b"".join(encode(tp, value) for value in values)


def decode(tp: Any, data: bytes) -> Any:
    reader = Reader(data)
    value = reader.get(tp)
    if reader.data:
        raise ValueError("trailing bytes")
    if encode(tp, value) != data:
        raise ValueError("not the canonical encoding")
    return value


class Reader:
    """Reads a value without asking whether it is canonical; `decode` finds out by encoding it again."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        if size > len(self.data):
            raise ValueError("too short")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def length(self) -> int:
        first = self.number(1)
        if first == 255:
            raise ValueError("255")
        return first if first < 253 else self.number(2 if first == 253 else 4)

    def count(self) -> int:
        n = self.length()
        if n > len(self.data):
            raise ValueError("more items than bytes")
        return n

    def get(self, tp: Any) -> Any:
        tp, mark = unwrap(tp)
        origin, args = get_origin(tp), get_args(tp)
        if isinstance(mark, IntWidth):
            return int.from_bytes(self.take(mark.bits // 8), "little", signed=mark.signed)
        if isinstance(mark, FixedSize):
            return self.take(mark.size)
        if tp is bool:
            return bool(self.number(1))
        if tp is float:
            (number,) = struct.unpack("<d", self.take(8))
            if number != number:
                raise ValueError("NaN")
            return number
        if tp is bytes or isinstance(mark, InPlace):
            return self.take(self.length())
        if tp is str:
            return self.take(self.length()).decode()
        if is_enum(tp):
            return tp[{number: name for name, number in numbers(tp).items()}[self.number(1)]]
        if type(None) in args:
            return self.get(without_none(args)) if self.number(1) else None
        if is_union(origin):
            (found,) = [arg for arg in args if self.data.startswith(tag_bytes(arg))] or [None]
            if found is None:
                raise ValueError("unknown tag")
            return self.get(found)
        if origin is list or args[1:] == (Ellipsis,):
            return origin(self.column(args[0], self.count()))
        if origin in (set, frozenset):
            return origin([self.get(args[0]) for _ in range(self.count())])
        if origin is dict:
            return {self.get(args[0]): self.get(args[1]) for _ in range(self.count())}
        self.take(len(tag_bytes(tp)))
        return make(tp, [self.get(hint) for hint in field_types(tp).values()])

    def column(self, tp: Any, n: int) -> list[Any]:
        plain, mark = unwrap(tp)
        if (plain in (str, bytes) and not isinstance(mark, FixedSize)) or isinstance(mark, InPlace):
            contents = [self.take(size) for size in [self.length() for _ in range(n)]]
            return [content.decode() for content in contents] if plain is str else contents
        if is_struct(plain) and not tag_bytes(plain):
            columns = [self.column(hint, n) for hint in field_types(plain).values()]
            return [make(plain, [column[i] for column in columns]) for i in range(n)]
        return [self.get(tp) for _ in range(n)]


def length(n: int) -> bytes:
    if n < 253:
        return bytes([n])
    return b"\xfd" + n.to_bytes(2, "little") if n < 65536 else b"\xfe" + n.to_bytes(4, "little")


def unwrap(tp: Any) -> tuple[Any, Any]:
    """A type without NewType and Annotated, and the marker found on the way."""
    mark = None
    while isinstance(tp, NewType) or get_origin(tp) is Annotated:
        if isinstance(tp, NewType):
            tp = tp.__supertype__
        else:
            tp, mark = get_args(tp)[0], get_args(tp)[1]
            mark = get_args(mark)[1] if get_origin(mark) is Annotated else mark
    return tp, mark


def is_enum(tp: Any) -> bool:
    return isinstance(tp, type) and issubclass(tp, enum.Enum)


def numbers(tp: Any) -> dict[str, int]:
    by_value = all(type(member.value) is int and 0 <= member.value <= 255 for member in tp)
    return {member.name: member.value if by_value else index for index, member in enumerate(tp)}


def is_union(origin: Any) -> bool:
    return origin in (typing.Union, types.UnionType)


def without_none(args: tuple[Any, ...]) -> Any:
    return typing.Union.__getitem__(tuple(arg for arg in args if arg is not type(None)))


def is_struct(tp: Any) -> bool:
    if get_origin(tp) is tuple:
        return get_args(tp)[1:] != (Ellipsis,)
    cls = get_origin(tp) or tp
    return isinstance(cls, type) and (issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls))


def field_types(tp: Any) -> dict[Any, Any]:
    if get_origin(tp) is tuple:
        return dict(enumerate(get_args(tp)))
    if dataclasses.is_dataclass(tp):
        hints = typing.get_type_hints(tp, include_extras=True)
        return {field.name: hints[field.name] for field in dataclasses.fields(tp)}
    return {field.name: field.type for field in msgspec.structs.fields(tp)}


def part(value: Any, name: str | int) -> Any:
    return value[name] if isinstance(name, int) else getattr(value, name)


def make(tp: Any, values: list[Any]) -> Any:
    if get_origin(tp) is tuple:
        return tuple(values)
    cls: Callable[..., Any] = get_origin(tp) or tp
    return cls(**dict(zip(field_types(tp), values, strict=True)))


def tag_bytes(tp: Any) -> bytes:
    config = getattr(tp, "__struct_config__", None)
    tag = None if config is None else config.tag
    if tag is None:
        return b""
    return bytes([tag]) if isinstance(tag, int) else length(len(tag.encode())) + tag.encode()
