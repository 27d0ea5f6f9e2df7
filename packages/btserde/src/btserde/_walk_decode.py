"""The slow decoder: follows the bytes along the nodes, and knows at every step where it is.

It defines which bytes are refused. The generated code must agree with it; after any failure there, this walk is
made to say where and why.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from . import _schema as schema
from ._length import decode_length
from ._limits import Limits
from ._schema import Node
from ._walk_encode import shown, subscript, suffix
from .errors import DecodeError

# Values looked at before the search for a fault is given up. It takes microseconds a value where generated code takes
# nanoseconds, and a sender of bad bytes shall not make us work much harder than a sender of good ones.
MAX_STEPS = 50_000

# What the constructor of a struct may raise to refuse its fields.
REFUSALS = (ValueError, TypeError)


def walk_decode(node: Node, data: bytes | memoryview, limits: Limits) -> Any:
    """Decode a value from all of `data`. Raises DecodeError with a path and an offset."""
    if len(data) > limits.max_size:
        raise DecodeError(f"{len(data)} bytes, more than {limits.max_size}", "", limits.max_size)
    walk = _Walk(data, limits)
    try:
        value = walk.get(node, "")
    except RecursionError as error:
        raise DecodeError("nested too deeply for the stack of the caller", "", walk.pos) from error
    if walk.pos != len(data):
        raise DecodeError(f"{len(data) - walk.pos} bytes follow the value", "", walk.pos)
    return value


class _Walk:
    def __init__(self, data: bytes | memoryview, limits: Limits) -> None:
        self.pos = 0
        self._view = memoryview(data)
        self._limits = limits
        self._depth = 0
        self._steps = 0

    def get(self, node: Node, path: str) -> Any:
        """Read one value."""
        self._step(1, path)
        match node:
            case schema.Optional(item):
                flag = self._take(1, path)[0]
                if flag > 1:
                    raise self._error(f"expected 0 or 1 before an optional value, got {flag}", path, 1)
                return self.get(item, path) if flag else None
            case schema.List():
                count = self._count(schema.min_size(node.item), path)
                self._step(count, path)
                return node.build(self._column(node.item, [f"{path}[{i}]" for i in range(count)]))
            case schema.Set():
                return self._set(node, path)
            case schema.Dict():
                return self._dict(node, path)
            case schema.Union():
                return self._union(node, path)
            case schema.Struct():
                if node.tag is not None and self._tag(isinstance(node.tag, int), path) != node.tag:
                    raise self._error(f"expected the tag {node.tag!r}", path)
                return self._fields(node, path)
            case schema.Bytes() | schema.Text():
                return self._content(node, self._length(path), path)
            case _:
                return self._fixed(node, path)

    def _step(self, count: int, path: str) -> None:
        self._steps += count
        if self._steps > MAX_STEPS:
            raise self._error(f"bad from here on; not searched beyond {MAX_STEPS} values", path)

    def _error(self, reason: str, path: str, back: int = 0) -> DecodeError:
        return DecodeError(reason, path, self.pos - back)

    def _take(self, size: int, path: str) -> memoryview:
        end = self.pos + size
        if end > len(self._view):
            raise self._error(f"needs {size} bytes, {len(self._view) - self.pos} are left", path)
        taken = self._view[self.pos : end]
        self.pos = end
        return taken

    def _length(self, path: str) -> int:
        try:
            n, self.pos = decode_length(self._view, self.pos)
        except ValueError as error:
            raise self._error(str(error), path) from error
        except (IndexError, struct.error) as error:
            raise self._error("the input ends in a length", path) from error
        return n

    def _count(self, item_size: int, path: str) -> int:
        count = self._length(path)
        if count > self._limits.max_count:
            raise self._error(f"{count} items, more than {self._limits.max_count}", path)
        if count * item_size > len(self._view) - self.pos:
            raise self._error(f"{count} items do not fit in the bytes that are left", path)
        return count

    def _tag(self, is_int: bool, path: str) -> int | str:
        if is_int:
            return self._take(1, path)[0]
        return str(self._content(schema.Text(), self._length(path), path))

    def _union(self, node: schema.Union, path: str) -> Any:
        start = self.pos
        tag = self._tag(node.int_tags, path)
        if tag not in node.members:
            raise DecodeError(f"unknown tag {shown(tag)}", path, start)
        return self._fields(node.members[tag], path)

    def _fields(self, node: schema.Struct, path: str) -> Any:
        self._enter(node, path)
        values = [self.get(field.node, path + suffix(path, field)) for field in node.fields]
        self._depth -= node.recursive
        return self._rebuild(node, values, path)

    def _enter(self, node: schema.Struct, path: str) -> None:
        self._depth += node.recursive
        if self._depth > self._limits.max_depth:
            raise self._error(f"nested deeper than {self._limits.max_depth}", path)

    def _rebuild(self, node: schema.Struct, values: list[Any], path: str) -> Any:
        try:
            return node.rebuild(values)
        except REFUSALS as error:
            raise self._error(f"{node.name} refuses it: {error}", path) from error

    def _column(self, node: Node, paths: list[str]) -> list[Any]:
        """Read one value for each path: structs by columns, text and bytes with the lengths in front."""
        if not paths:
            return []
        self._step(len(paths), paths[0])
        match node:
            case schema.Struct() if schema.by_columns(node):
                self._enter(node, paths[0])
                columns = [self._column(f.node, [p + suffix(p, f) for p in paths]) for f in node.fields]
                self._depth -= node.recursive
                return [self._rebuild(node, [column[i] for column in columns], path) for i, path in enumerate(paths)]
            case schema.Bytes() | schema.Text():
                lengths = [self._length(path) for path in paths]
                return [self._content(node, n, path) for n, path in zip(lengths, paths, strict=True)]
            case _:
                return [self.get(node, path) for path in paths]

    def _set(self, node: schema.Set, path: str) -> Any:
        found, before = [], b""
        for i in range(self._count(schema.min_size(node.item), path)):
            value, before = self._next(node.item, before, i, path)
            found.append(value)
        return self._distinct(node.build(found), len(found), path)

    def _dict(self, node: schema.Dict, path: str) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        before, count = b"", self._count(schema.min_size(node.key) + schema.min_size(node.value), path)
        for i in range(count):
            key, before = self._next(node.key, before, i, path)
            found[key] = self.get(node.value, path + subscript(key))
        self._distinct(found, count, path)
        return found

    def _next(self, node: Node, before: bytes, number: int, path: str) -> tuple[Any, bytes]:
        """The next item and its encoding, which must be greater than the one before."""
        start, path = self.pos, f"{path}{{{number}}}"
        value = self.get(node, path)
        encoding = bytes(self._view[start : self.pos])
        if encoding <= before:
            raise DecodeError("items are not in strictly ascending order", path, start)
        return value, encoding

    def _distinct(self, found: Any, count: int, path: str) -> Any:
        if len(found) != count:
            raise self._error("two items are equal", path)
        return found

    def _content(self, node: schema.Bytes | schema.Text, size: int, path: str) -> bytes | memoryview | str:
        taken = self._take(size, path)
        if isinstance(node, schema.Bytes):
            return taken if node.in_place else bytes(taken)
        try:
            return str(taken, "utf-8")
        except UnicodeDecodeError as error:
            raise self._error(f"invalid UTF-8: {error.reason}", path, size - error.start) from error

    def _fixed(self, node: Node, path: str) -> Any:
        match node:
            case schema.Closed():
                number = self._take(1, path)[0]
                if number not in node.members:
                    raise self._error(f"{number} is no {node.cls.__name__}", path, 1)
                return node.members[number]
            case schema.FixedBytes(size):
                return bytes(self._take(size, path))
            case schema.Int() | schema.Float():
                size = schema.min_size(node)
                (number,) = struct.unpack(f"<{node.code}", self._take(size, path))
                if isinstance(number, float) and (math.isnan(number) or str(number) == "-0.0"):
                    raise self._error(f"{number} has no encoding", path, size)
                return number
            case _:
                raise AssertionError(node)
