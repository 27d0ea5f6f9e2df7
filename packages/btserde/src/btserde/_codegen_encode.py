"""Writes the encoder of a type as Python source.

Every stretch of code prepares *pieces*, expressions of bytes-like objects, which are joined at the very end; so a
large body is copied once, or never when the caller takes the pieces. Neighbours of fixed size are packed by one call
of `struct`, together with the length that follows them. For a struct `{id: u64, kind: u8, name: str}`:

    def encode(value):
        try:
            if type(value) is not C1: raise TypeError
            v1 = encode_text(value.name)
            n1 = len(v1)
            return b"".join(((pack_QBB(value.id, value.kind, n1) if n1 < 253 else …), v1))
        except FAULTS:
            pass
        return walk(node, value, limits)

Whatever fails is repeated by the slow walk, which finds the reason. So this code only has to fail, not to explain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import pack
from typing import Any

from . import _columns
from . import _schema as schema
from ._bytes import flat
from ._compiled import with_compiled_twin
from ._length import SHORT, encode_length
from ._limits import Limits
from ._schema import Node
from ._source import Source
from ._stretch import Stretch
from ._walk_encode import walk_encode

Pieces = _columns.Pieces


def make_encoder(node: Node, limits: Limits) -> tuple[Callable[[Any], bytes], Callable[[Any], Pieces]]:
    """Two functions: one encodes a value, one returns its pieces. Both raise EncodeError."""
    functions = encoder_source(node, limits).make("encoder")
    return with_compiled_twin(functions["encode"], node, limits), functions["encode_pieces"]


def encoder_source(node: Node, limits: Limits) -> Source:
    """The source of both functions."""
    writer = _Writer(limits)
    writer.root(node)
    return writer.source


class _Writer:
    """Writes one function for the root, one for each struct that contains itself or is in a union."""

    def __init__(self, limits: Limits) -> None:
        self.source = Source()
        self.source.share(
            SHORT=SHORT,
            encode_length=encode_length,
            encode_text=str.encode,
            flat=flat,
            limits=limits,
            pack=pack,
            put_blobs=_columns.put_blobs,
            put_fixed=_columns.put_fixed,
            put_floats=_columns.put_floats,
            put_texts=_columns.put_texts,
            walk=walk_encode,
        )
        self._limits = limits
        self._functions: dict[tuple[int, str], str] = {}
        self._waiting: list[Callable[[], None]] = []
        self._tables: list[str] = []

    # -- functions

    def root(self, node: Node) -> None:
        self.source.share(node=node)
        for name, result in (("encode", Stretch.bytes), ("encode_pieces", Stretch.tuple)):
            with self.source.block(f"def {name}(value):"):
                with self.source.block("try:"):
                    stretch = self._value_stretch(node, "value", "0")
                    if (schema.fixed_size(node) or self._limits.max_size) < self._limits.max_size:
                        self.source.line(f"return {result(stretch)}")
                    else:
                        self.source.line(f"out = {result(stretch)}")
                        self.source.line(f"if {self._size(name)} <= {self._limits.max_size}: return out")
                with self.source.block("except FAULTS:"):
                    self.source.line("pass")
                walk = "walk(node, value, limits)"
                self.source.line(f"return {walk if name == 'encode' else f'({walk},)'}")
        while self._waiting:
            self._waiting.pop()()
        for table in self._tables:
            self.source.line(table)

    def _size(self, name: str) -> str:
        return "len(out)" if name == "encode" else "sum(map(len, out))"

    def _value_stretch(self, node: Node, value: str, depth: str) -> Stretch:
        stretch = Stretch(self.source)
        self._put(stretch, node, value, depth)
        return stretch

    def _function(self, struct: schema.Struct, kind: str, write: Callable[[str], None]) -> str:
        """The name of a function to be written once, later."""
        key = (id(struct), kind)
        if key not in self._functions:
            name = self._functions[key] = self.source.name(f"{kind}_")
            self._waiting.append(lambda: write(name))
        return self._functions[key]

    def _struct_function(self, struct: schema.Struct) -> str:
        def write(name: str) -> None:
            with self.source.block(f"def {name}(value, depth):"):
                self._enter(struct)
                stretch = Stretch(self.source)
                self._put_fields(stretch, struct, "value", "depth")
                self.source.line(f"return {stretch.tuple()}")

        return self._function(struct, "struct", write)

    def _column_function(self, struct: schema.Struct) -> str:
        def write(name: str) -> None:
            with self.source.block(f"def {name}(column, depth):"):
                self._enter(struct)
                stretch = Stretch(self.source)
                self._put_struct_column(stretch, struct, "column", "depth")
                self.source.line(f"return {stretch.tuple()}")

        return self._function(struct, "column", write)

    def _table(self, members: dict[int | str, schema.Struct]) -> str:
        """The name of a table, written last, of the functions of the classes of a union."""
        table = self.source.name("table")
        entries = (f"{self._cls(member.cls)}: {self._struct_function(member)}" for member in members.values())
        self._tables.append(f"{table} = {{{', '.join(entries)}}}")
        return table

    def _enter(self, struct: schema.Struct) -> None:
        if struct.recursive:
            self.source.line("depth += 1")
            self.source.line(f"if depth > {self._limits.max_depth}: raise ValueError")

    # -- one value

    def _put(self, stretch: Stretch, node: Node, value: str, depth: str) -> None:
        """Write what prepares the pieces of the value of an expression."""
        match node:
            case schema.Int():
                stretch.fixed(node.code, value)
            case schema.Closed(cls, _, None):
                number = self._local(value)
                self._check_type(number, cls)
                stretch.fixed("B", number)
            case schema.Closed(_, _, attribute):
                stretch.fixed("B", f"{value}.{attribute}")
            case schema.Float():
                number = self._local(f"{value} + 0.0")
                self.source.line(f"if {number} != {number}: raise ValueError")
                stretch.fixed(node.code, number)
            case schema.FixedBytes(size):
                content = self._local(value)
                self.source.line(f"if len({content}) != {size}: raise ValueError")
                stretch.fixed(node.code, content)
            case schema.Text():
                self._put_content(stretch, self._local(f"encode_text({value})"))
            case schema.Bytes():
                content = self._local(value)
                self.source.line(f"if type({content}) is not bytes: {content} = flat({content})")
                self._put_content(stretch, content)
            case schema.Optional(item):
                self._put_optional(stretch, item, self._local(value), depth)
            case schema.List():
                items = self._counted(stretch, value, node.build)
                with self._maybe(stretch, items) as inner:
                    self._put_column(inner, node.item, items, "item", depth)
            case schema.Set():
                self._put_set(stretch, node, value, depth)
            case schema.Dict():
                self._put_dict(stretch, node, value, depth)
            case schema.Union(members):
                member = self._local(value)
                stretch.piece(f"*{self._table(members)}[type({member})]({member}, {depth})")
            case schema.Struct() if node.recursive:
                member = self._local(value)
                self._check_type(member, node.cls)
                stretch.piece(f"*{self._struct_function(node)}({member}, {depth})")
            case schema.Struct():
                member = self._local(value)
                self._check_type(member, node.cls)
                self._put_fields(stretch, node, member, depth)

    @contextmanager
    def _maybe(self, stretch: Stretch, condition: str) -> Iterator[Stretch]:
        """A stretch whose pieces only exist under a condition."""
        pieces = self.source.name()
        self.source.line(f"{pieces} = ()")
        with self.source.block(f"if {condition}:"):
            inner = Stretch(self.source)
            yield inner
            self.source.line(f"{pieces} = {inner.tuple()}")
        stretch.piece(f"*{pieces}")

    def _local(self, expression: str) -> str:
        """A plain name for an expression that is used more than once."""
        if expression.isidentifier():
            return expression
        name = self.source.name()
        self.source.line(f"{name} = {expression}")
        return name

    def _cls(self, cls: Any) -> str:
        return self.source.bind(cls, "C")

    def _check_type(self, value: str, cls: Any) -> None:
        if cls is tuple:
            self.source.line(f"if not isinstance({value}, tuple): raise TypeError")
        else:
            self.source.line(f"if type({value}) is not {self._cls(cls)}: raise TypeError")

    def _put_fields(self, stretch: Stretch, struct: schema.Struct, value: str, depth: str) -> None:
        if struct.is_tuple:
            self.source.line(f"if len({value}) != {len(struct.fields)}: raise ValueError")
        if struct.tag is not None:
            code, tag = schema.packed_tag(struct.tag)
            stretch.fixed(code, repr(tag))
        for number, field in enumerate(struct.fields):
            part = f"{value}[{number}]" if struct.is_tuple else f"{value}.{field.name}"
            self._put(stretch, field.node, part, depth)

    def _put_content(self, stretch: Stretch, content: str) -> None:
        n = self._local(f"len({content})")
        stretch.length(n)
        stretch.piece(content)

    def _put_optional(self, stretch: Stretch, item: Node, value: str, depth: str) -> None:
        stretch.fixed("B", f"{value} is not None")
        with self._maybe(stretch, f"{value} is not None") as inner:
            self._put(inner, item, value, depth)

    def _counted(self, stretch: Stretch, value: str, build: type) -> str:
        """Check a collection and write its count; returns its local name."""
        items = self._local(value)
        self.source.line(f"if not isinstance({items}, {build.__name__}): raise TypeError")
        n = self._local(f"len({items})")
        self.source.line(f"if {n} > {self._limits.max_count}: raise ValueError")
        stretch.length(n)
        return items

    def _put_set(self, stretch: Stretch, node: schema.Set, value: str, depth: str) -> None:
        items = self._counted(stretch, value, node.build)
        encodings, item = self.source.name(), self.source.name()
        self.source.line(f"{encodings} = []")
        with self.source.block(f"for {item} in {items}:"):
            self.source.line(f"{encodings}.append({self._value_stretch(node.item, item, depth).bytes()})")
        self.source.line(f"if len(set({encodings})) != len({encodings}): raise ValueError")
        stretch.piece(f"*sorted({encodings})")

    def _put_dict(self, stretch: Stretch, node: schema.Dict, value: str, depth: str) -> None:
        items = self._counted(stretch, value, dict)
        rows, key, item = (self.source.name() for _ in range(3))
        self.source.line(f"{rows} = {{}}")
        with self.source.block(f"for {key}, {item} in {items}.items():"):
            encoding = self._local(self._value_stretch(node.key, key, depth).bytes())
            inner = self._value_stretch(node.value, item, depth)
            self.source.line(f"{rows}[{encoding}] = {inner.tuple()}")
        self.source.line(f"if len({rows}) != len({items}): raise ValueError")
        pieces, row = self.source.name(), self.source.name()
        self.source.line(f"{pieces} = []")
        with self.source.block(f"for {row} in sorted({rows}):"):
            self.source.line(f"{pieces} += ({row}, *{rows}[{row}])")
        stretch.piece(f"*{pieces}")

    # -- a column: `part`, an expression in `item`, of each item of a sequence

    def _put_column(self, stretch: Stretch, node: Node, items: str, part: str, depth: str) -> None:
        """Write what prepares the pieces of a column."""
        if isinstance(node, schema.Closed) and node.attribute is not None:
            stretch.piece(f"bytes([{part}.{node.attribute} for item in {items}])")
            return
        column = items if part == "item" else self._local(f"[{part} for item in {items}]")
        match node:
            case schema.Int():
                stretch.piece(f'pack(f"<{{len({column})}}{node.code}", *{column})')
            case schema.Closed():
                self._check_types(column, node.cls)
                stretch.piece(f"bytes({column})")
            case schema.Float():
                stretch.piece(f"put_floats({column})")
            case schema.FixedBytes(size):
                stretch.piece(f"put_fixed({column}, {size})")
            case schema.Text():
                stretch.piece(f"*put_texts({column})")
            case schema.Bytes():
                stretch.piece(f"*put_blobs({column})")
            case schema.Struct() if schema.by_columns(node) and node.recursive:
                function = self._column_function(node)
                stretch.piece(f"*{function}({column}, {depth})")
            case schema.Struct() if schema.by_columns(node):
                self._put_struct_column(stretch, node, column, depth)
            case _:
                self._put_rows(stretch, node, column, depth)

    def _check_types(self, column: str, cls: Any) -> None:
        self.source.line(f"if list(map(type, {column})).count({self._cls(cls)}) != len({column}): raise TypeError")

    def _put_struct_column(self, stretch: Stretch, struct: schema.Struct, items: str, depth: str) -> None:
        self._check_types(items, struct.cls)
        if struct.is_tuple:
            count = len(struct.fields)
            self.source.line(f"if list(map(len, {items})).count({count}) != len({items}): raise ValueError")
        for number, field in enumerate(struct.fields):
            part = f"item[{number}]" if struct.is_tuple else f"item.{field.name}"
            self._put_column(stretch, field.node, items, part, depth)

    def _put_rows(self, stretch: Stretch, node: Node, column: str, depth: str) -> None:
        pieces, item = self.source.name(), self.source.name()
        self.source.line(f"{pieces} = []")
        with self.source.block(f"for {item} in {column}:"):
            self.source.line(f"{pieces} += {self._value_stretch(node, item, depth).tuple()}")
        stretch.piece(f"*{pieces}")
