"""The slow encoder: follows a value along its nodes, and knows at every step where it is.

It defines which values are encoded. The generated code must agree with it byte for byte; after any failure there,
this walk is made to say where and why.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Sequence
from typing import Any

from . import _schema as schema
from ._bytes import flat
from ._length import encode_length
from ._limits import Limits
from ._schema import Node
from .errors import EncodeError


def walk_encode(node: Node, value: object, limits: Limits) -> bytes:
    """Encode a value. Raises EncodeError with a path."""
    walk = _Walk(limits)
    try:
        walk.put(node, value, "")
    except RecursionError as error:
        raise EncodeError("nested too deeply for the stack of the caller") from error
    if len(walk.out) > limits.max_size:
        raise EncodeError(f"takes {len(walk.out)} bytes, more than {limits.max_size}")
    return bytes(walk.out)


# Characters of a value in an error; it may be the sender's choice, and reach a log.
MAX_SHOWN = 40


class _Walk:
    def __init__(self, limits: Limits) -> None:
        self.out = bytearray()
        self._limits = limits
        self._depth = 0

    def put(self, node: Node, value: Any, path: str) -> None:
        """Append the encoding of one value."""
        match node:
            case schema.Optional(item):
                self.out.append(value is not None)
                if value is not None:
                    self.put(item, value, path)
            case schema.List():
                self._list(node, value, path)
            case schema.Set():
                self._set(node, value, path)
            case schema.Dict():
                self._dict(node, value, path)
            case schema.Union():
                self._struct(self._member(node, value, path), value, path)
            case schema.Struct():
                self._struct(node, value, path)
            case schema.Bytes() | schema.Text():
                content = _content(node, value, path)
                self.out += _length(len(content), path) + content
            case _:
                self.out += _fixed(node, value, path)

    def _struct(self, node: schema.Struct, value: Any, path: str) -> None:
        self._enter(node, path)
        if isinstance(node.tag, int):
            self.out.append(node.tag)
        elif node.tag is not None:
            self.out += encode_length(len(node.tag.encode())) + node.tag.encode()
        for field, part in zip(node.fields, _parts(node, value, path), strict=True):
            self.put(field.node, part, path + suffix(path, field))
        self._depth -= node.recursive

    def _enter(self, node: schema.Struct, path: str) -> None:
        self._depth += node.recursive
        if self._depth > self._limits.max_depth:
            raise EncodeError(f"nested deeper than {self._limits.max_depth}", path)

    def _member(self, node: schema.Union, value: object, path: str) -> schema.Struct:
        for member in node.members.values():
            if type(value) is member.cls:
                return member
        raise EncodeError(f"{_kind(value)} is not in the union", path)

    def _count(self, value: Any, build: type[Any], path: str) -> None:
        if not isinstance(value, build):
            raise EncodeError(f"expected {build.__name__}, got {_kind(value)}", path)
        if len(value) > self._limits.max_count:
            raise EncodeError(f"{len(value)} items, more than {self._limits.max_count}", path)
        self.out += _length(len(value), path)

    def _list(self, node: schema.List, value: Any, path: str) -> None:
        self._count(value, node.build, path)
        self._column(node.item, list(value), [f"{path}[{i}]" for i in range(len(value))])

    def _column(self, node: Node, values: Sequence[Any], paths: list[str]) -> None:
        """Append many values of one type: structs by columns, text and bytes with the lengths in front."""
        if not values:
            return
        match node:
            case schema.Struct() if schema.by_columns(node):
                self._enter(node, paths[0])
                rows = [_parts(node, value, path) for value, path in zip(values, paths, strict=True)]
                for number, field in enumerate(node.fields):
                    column = [row[number] for row in rows]
                    self._column(field.node, column, [path + suffix(path, field) for path in paths])
                self._depth -= node.recursive
            case schema.Bytes() | schema.Text():
                contents = [_content(node, value, path) for value, path in zip(values, paths, strict=True)]
                for content, path in zip(contents, paths, strict=True):
                    self.out += _length(len(content), path)
                self.out += b"".join(contents)
            case _:
                for value, path in zip(values, paths, strict=True):
                    self.put(node, value, path)

    def _set(self, node: schema.Set, value: Any, path: str) -> None:
        self._count(value, node.build, path)
        self._sorted([self._apart(node.item, item, f"{path}{{{i}}}") for i, item in enumerate(value)], path)

    def _dict(self, node: schema.Dict, value: Any, path: str) -> None:
        self._count(value, dict, path)
        keys = {self._apart(node.key, key, f"{path}{{{i}}}"): key for i, key in enumerate(value)}
        if len(keys) != len(value):
            raise EncodeError("two keys have the same encoding", path)
        for encoding in sorted(keys):
            self.out += encoding
            self.put(node.value, value[keys[encoding]], path + subscript(keys[encoding]))

    def _apart(self, node: Node, value: object, path: str) -> bytes:
        outer, self.out = self.out, bytearray()
        self.put(node, value, path)
        inner, self.out = bytes(self.out), outer
        return inner

    def _sorted(self, encodings: list[bytes], path: str) -> None:
        if len(set(encodings)) != len(encodings):
            raise EncodeError("two items have the same encoding", path)
        self.out += b"".join(sorted(encodings))


def suffix(path: str, field: schema.Field) -> str:
    """What a field adds to the path of its struct."""
    return field.name if field.name[0] == "[" or not path else f".{field.name}"


def subscript(key: object) -> str:
    """What a key adds to the path of its dict."""
    return f"[{shown(key)}]"


def shown(value: object) -> str:
    """A value for an error."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _parts(node: schema.Struct, value: Any, path: str) -> list[Any]:
    if node.is_tuple:
        if not isinstance(value, tuple):
            raise EncodeError(f"expected tuple, got {_kind(value)}", path)
        if len(value) != len(node.fields):
            raise EncodeError(f"expected {len(node.fields)} items, got {len(value)}", path)
        return list(value)
    if type(value) is not node.cls:
        raise EncodeError(f"expected {node.name}, got {_kind(value)}", path)
    try:
        return [getattr(value, field.name) for field in node.fields]
    except AttributeError as error:
        raise EncodeError(str(error), path) from error


def _content(node: schema.Bytes | schema.Text, value: Any, path: str) -> bytes | memoryview:
    try:
        if isinstance(node, schema.Bytes):
            return flat(value)
        if not isinstance(value, str):
            raise EncodeError(f"expected str, got {_kind(value)}", path)
        return value.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"has a surrogate at character {error.start}", path) from error
    except TypeError as error:
        raise EncodeError(str(error), path) from error


def _length(n: int, path: str) -> bytes:
    try:
        return encode_length(n)
    except ValueError as error:
        raise EncodeError(str(error), path) from error


def _fixed(node: Node, value: Any, path: str) -> bytes:
    match node:
        case schema.Int():
            return _int(node, value, path)
        case schema.Float():
            return _float(value, path)
        case schema.Closed():
            number = node.number(value)
            if number is None:
                raise EncodeError(f"expected {node.cls.__name__}, got {_kind(value)}", path)
            return bytes([number])
        case schema.FixedBytes(size):
            content = _content(schema.Bytes(in_place=False), value, path)
            if len(content) != size:
                raise EncodeError(f"expected {size} bytes, got {len(content)}", path)
            return bytes(content)
        case _:
            raise AssertionError(node)


def _int(node: schema.Int, value: object, path: str) -> bytes:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
        return struct.pack(f"<{node.code}", number)
    except TypeError as error:
        raise EncodeError(f"expected int, got {_kind(value)}", path) from error
    except (struct.error, OverflowError) as error:
        raise EncodeError(f"out of range for {'I' if node.signed else 'U'}{node.bits}", path) from error


def _float(value: Any, path: str) -> bytes:
    try:
        number = value + 0.0  # makes zero of negative zero, and a float of an int
        if math.isnan(number):
            raise EncodeError("NaN has no encoding", path)
        return struct.pack("<d", number)
    except (TypeError, OverflowError, struct.error) as error:
        raise EncodeError(f"expected float, got {_kind(value)}", path) from error


def _kind(value: object) -> str:
    return type(value).__name__
