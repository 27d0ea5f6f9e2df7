"""Writes the decoder of a type as Python source.

Neighbours of fixed size are unpacked by one call of `struct`, together with the length that follows them. For a
struct `{id: u64, kind: u8, name: str}`:

    def decode(data):
        try:
            v1, v2, n1 = unpack_from_QBB(data, 0)
            pos = 10
            if n1 > 252: n1, pos = decode_long(data, n1, pos)
            start = pos
            pos += n1
            v3 = str(data[start:pos], "utf-8")
            out = C1(v1, v2, v3)
            if pos == len(data):
                return out
        except FAULTS:
            pass
        return walk(node, data, limits)

`pos` never decreases. A slice beyond the end is shorter than it should be, but leaves `pos` beyond the end too, and
the one comparison at the very end finds out; nothing is allocated by a length, and a count is compared with the bytes
that are left before anything is. Whatever fails is repeated by the slow walk, which finds the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import unpack
from typing import Any

from . import _columns
from . import _schema as schema
from ._bytes import flat
from ._length import MAX_SHORT, decode_long
from ._limits import Limits
from ._run import Run
from ._schema import Node
from ._source import Source
from ._walk_decode import walk_decode
from .errors import DecodeError


def make_decoder(node: Node, limits: Limits) -> Callable[[Any], Any]:
    """A function that decodes a bytes-like object. It raises DecodeError."""

    @cache
    def of_view() -> Callable[[Any], Any]:
        return decoder_source(node, limits, of_view=True).make("decoder")["decode"]

    def other(data: Any) -> Any:
        try:
            plain = flat(data)
        except TypeError as error:
            raise DecodeError(str(error)) from error
        return of_view()(memoryview(plain)) if in_place else of_bytes(bytes(plain))

    in_place = schema.in_place(node)
    source = decoder_source(node, limits, of_view=False)
    source.share(other=other)
    of_bytes = source.make("decoder")["decode"]
    return of_bytes


def decoder_source(node: Node, limits: Limits, of_view: bool) -> Source:
    """The source of that function."""
    writer = _Writer(limits, of_view)
    writer.root(node)
    return writer.source


class _Writer:
    """Writes one function for the root, one for each struct that contains itself or is in a union."""

    def __init__(self, limits: Limits, of_view: bool) -> None:
        self.source = Source()
        self.source.share(
            decode_long=decode_long,
            get_blobs=_columns.get_blobs,
            get_fixed=_columns.get_fixed,
            get_floats=_columns.get_floats,
            get_texts=_columns.get_texts,
            get_views=_columns.get_views,
            limits=limits,
            unpack=unpack,
            refused_float=_columns.refused_float,
            walk=walk_decode,
        )
        self._limits = limits
        self._of_view = of_view
        self._functions: dict[tuple[int, str], str] = {}
        self._waiting: list[Callable[[], None]] = []
        self._tables: list[str] = []

    # -- functions

    def root(self, node: Node) -> None:
        self.source.share(node=node)
        with self.source.block("def decode(data):"):
            if not self._of_view:
                self.source.line("if type(data) is not bytes: return other(data)")
            with self.source.block("try:"):
                run = Run(self.source, at_start=True)
                if (schema.fixed_size(node) or 0) in range(1, self._limits.max_size + 1):
                    value = self._get(run, node, "0")
                    run.unpack_all()
                    self.source.line(f"return {value}")
                else:
                    self._get_all(run, node)
            with self.source.block("except FAULTS:"):
                self.source.line("pass")
            self.source.line("return walk(node, data, limits)")
        while self._waiting:
            self._waiting.pop()()
        for table in self._tables:
            self.source.line(table)

    def _get_all(self, run: Run, node: Node) -> None:
        """Write what reads the value and compares the end with that of the input."""
        self.source.line("size = len(data)")
        self.source.line(f"if size > {self._limits.max_size}: raise ValueError")
        value = self._get(run, node, "0")
        run.unpack()
        self.source.line(f"out = {value}")
        self.source.line("if pos == size: return out")

    def _function(self, struct: schema.Struct, kind: str, write: Callable[[str], None]) -> str:
        """The name of a function to be written once, later."""
        key = (id(struct), kind)
        if key not in self._functions:
            name = self._functions[key] = self.source.name(f"{kind}_")
            self._waiting.append(lambda: write(name))
        return self._functions[key]

    def _struct_function(self, struct: schema.Struct) -> str:
        """Reads the fields of a struct, but not its tag."""

        def write(name: str) -> None:
            with self.source.block(f"def {name}(data, pos, depth):"):
                self._enter(struct)
                run = Run(self.source, at_start=False)
                value = self._get_fields(run, struct, "depth")
                run.unpack()
                self.source.line(f"return {value}, pos")

        return self._function(struct, "struct", write)

    def _column_function(self, struct: schema.Struct) -> str:
        def write(name: str) -> None:
            with self.source.block(f"def {name}(data, n, pos, depth):"):
                self._enter(struct)
                value = self._get_struct_column(struct, "n", "depth")
                self.source.line(f"return list({value}), pos")

        return self._function(struct, "column", write)

    def _enter(self, struct: schema.Struct) -> None:
        if struct.recursive:
            self.source.line("depth += 1")
            self.source.line(f"if depth > {self._limits.max_depth}: raise ValueError")

    # -- one value

    def _get(self, run: Run, node: Node, depth: str) -> str:
        """Write what reads a value; returns its expression, good as soon as the run is unpacked."""
        match node:
            case schema.Int() | schema.FixedBytes():
                return run.fixed(node.code)
            case schema.Closed():
                return f"{self.source.bind(node.members, 'members')}[{run.fixed('B')}]"
            case schema.Float():
                number = run.fixed(node.code)
                run.check(f"if refused_float({number}): raise ValueError")
                return number
            case schema.Text():
                return self._get_text(run)
            case schema.Bytes(in_place):
                return self._get_bytes(run, in_place)
            case schema.Optional(item):
                return self._get_optional(run, item, depth)
            case schema.List():
                n = self._get_count(run, schema.min_size(node.item))
                items = self._local(f"{node.build.__name__}()")
                with self.source.block(f"if {n}:"):
                    self.source.line(f"{items} = {node.build.__name__}({self._get_column(node.item, n, depth)})")
                return items
            case schema.Set():
                return self._get_set(run, node, depth)
            case schema.Dict():
                return self._get_dict(run, node, depth)
            case schema.Union():
                return self._get_union(run, node, depth)
            case schema.Struct():
                return self._get_struct(run, node, depth)

    def _local(self, expression: str) -> str:
        name = self.source.name()
        self.source.line(f"{name} = {expression}")
        return name

    def _get_length(self, run: Run) -> str:
        n = run.fixed("B")
        run.unpack()
        self.source.line(f"if {n} > {MAX_SHORT}: {n}, pos = decode_long(data, {n}, pos)")
        return n

    def _get_count(self, run: Run, item_size: int) -> str:
        n = self._get_length(run)
        least = n if item_size == 1 else f"{n} * {item_size}"
        self.source.line(f"if {n} > {self._limits.max_count} or {least} > len(data) - pos: raise ValueError")
        return n

    def _get_slice(self, run: Run) -> str:
        n = self._get_length(run)
        self.source.line("start = pos")
        self.source.line(f"pos += {n}")
        return "data[start:pos]"

    def _get_text(self, run: Run) -> str:
        return self._local(f'str({self._get_slice(run)}, "utf-8")')

    def _get_bytes(self, run: Run, in_place: bool) -> str:
        content = self._get_slice(run)
        if in_place and not self._of_view:
            return self._local(f"memoryview(data){content.removeprefix('data')}")
        return self._local(content if in_place == self._of_view else f"bytes({content})")

    def _get_optional(self, run: Run, item: Node, depth: str) -> str:
        flag = run.fixed("B")
        run.unpack()
        value = self._local("None")
        with self.source.block(f"if {flag}:"):
            self.source.line(f"if {flag} != 1: raise ValueError")
            inner = Run(self.source, at_start=False)
            found = self._get(inner, item, depth)
            inner.unpack()
            self.source.line(f"{value} = {found}")
        return value

    def _get_struct(self, run: Run, struct: schema.Struct, depth: str) -> str:
        if struct.tag is not None:
            code, tag = schema.packed_tag(struct.tag)
            run.check(f"if {run.fixed(code)} != {tag!r}: raise ValueError")
        if not struct.recursive:
            return self._get_fields(run, struct, depth)
        run.unpack()
        value = self.source.name()
        self.source.line(f"{value}, pos = {self._struct_function(struct)}(data, pos, {depth})")
        return value

    def _get_fields(self, run: Run, struct: schema.Struct, depth: str) -> str:
        return self._construct(struct, [self._get(run, field.node, depth) for field in struct.fields])

    def _construct(self, struct: schema.Struct, values: list[str]) -> str:
        if struct.is_tuple:
            return "(" + "".join(f"{value}, " for value in values) + ")"
        pairs = list(zip(struct.fields, values, strict=True))
        positional = [value for field, value in pairs if not field.by_keyword]
        keywords = [f"{field.name}={value}" for field, value in pairs if field.by_keyword]
        return f"{self.source.bind(struct.cls, 'C')}({', '.join([*positional, *keywords])})"

    def _get_union(self, run: Run, node: schema.Union, depth: str) -> str:
        if node.int_tags:
            tag = run.fixed("B")
            run.unpack()
        else:
            tag = self._get_text(run)
        table, value = self.source.name("table"), self.source.name()
        entries = (f"{key!r}: {self._struct_function(member)}" for key, member in node.members.items())
        self._tables.append(f"{table} = {{{', '.join(entries)}}}")
        self.source.line(f"{value}, pos = {table}[{tag}](data, pos, {depth})")
        return value

    def _get_alone(self, node: Node, depth: str) -> str:
        run = Run(self.source, at_start=False)
        value = self._get(run, node, depth)
        run.unpack()
        return value

    def _get_ascending(self, node: Node, before: str, depth: str) -> str:
        """Read a value whose encoding must be greater than the one before, and keep its encoding there."""
        start = self._local("pos")
        value = self._get_alone(node, depth)
        encoding = self._local(f"bytes(data[{start}:pos])" if self._of_view else f"data[{start}:pos]")
        self.source.line(f"if {encoding} <= {before}: raise ValueError")
        self.source.line(f"{before} = {encoding}")
        return value

    def _get_set(self, run: Run, node: schema.Set, depth: str) -> str:
        n = self._get_count(run, schema.min_size(node.item))
        items, before = self._local("[]"), self._local('b""')
        with self.source.block(f"for _ in range({n}):"):
            self.source.line(f"{items}.append({self._get_ascending(node.item, before, depth)})")
        found = self._local(f"{node.build.__name__}({items})")
        self.source.line(f"if len({found}) != {n}: raise ValueError")
        return found

    def _get_dict(self, run: Run, node: schema.Dict, depth: str) -> str:
        n = self._get_count(run, schema.min_size(node.key) + schema.min_size(node.value))
        found, before = self._local("{}"), self._local('b""')
        with self.source.block(f"for _ in range({n}):"):
            key = self._local(self._get_ascending(node.key, before, depth))
            self.source.line(f"{found}[{key}] = {self._get_alone(node.value, depth)}")
        self.source.line(f"if len({found}) != {n}: raise ValueError")
        return found

    # -- a column: many values of one type

    def _get_column(self, node: Node, n: str, depth: str) -> str:
        """Write what reads `n` values; returns the expression of an iterable of them."""
        match node:
            case schema.Int():
                return self._get_numbers(node, n)
            case schema.Float():
                return f"get_floats({self._get_numbers(node, n)})"
            case schema.Closed():
                members = self.source.bind(node.members, "members")
                return self._local(f"[{members}[item] for item in {self._get_block(n)}]")
            case schema.FixedBytes(size):
                return self._local(f"get_fixed({self._get_block(f'{n} * {size}')}, {size})")
            case schema.Text():
                return self._get_called(f"get_texts(data, {n}, pos)")
            case schema.Bytes(in_place):
                return self._get_called(
                    f"get_views(memoryview(data), {n}, pos)" if in_place else f"get_blobs(data, {n}, pos)"
                )
            case schema.Struct() if schema.by_columns(node) and node.recursive:
                function = self._column_function(node)
                return self._get_called(f"{function}(data, {n}, pos, {depth})")
            case schema.Struct() if schema.by_columns(node):
                return self._get_struct_column(node, n, depth)
            case _:
                return self._get_rows(node, n, depth)

    def _get_called(self, call: str) -> str:
        column = self.source.name()
        self.source.line(f"{column}, pos = {call}")
        return column

    def _get_block(self, size: str) -> str:
        self.source.line("start = pos")
        self.source.line(f"pos += {size}")
        return "data[start:pos]"

    def _get_numbers(self, node: schema.Int | schema.Float, n: str) -> str:
        block = self._get_block(f"{n} * {schema.min_size(node)}")
        return self._local(f'unpack(f"<{{{n}}}{node.code}", {block})')

    def _get_struct_column(self, struct: schema.Struct, n: str, depth: str) -> str:
        if not struct.fields:
            return f"[{self._construct(struct, [])} for _ in range({n})]"
        columns = [self._get_column(field.node, n, depth) for field in struct.fields]
        if struct.is_tuple:
            return f"zip({', '.join(columns)})"
        if not any(field.by_keyword for field in struct.fields):
            return f"map({self.source.bind(struct.cls, 'C')}, {', '.join(columns)})"
        names = [self.source.name() for _ in columns]
        row = "".join(f"{name}, " for name in names)
        return f"[{self._construct(struct, names)} for {row}in zip({', '.join(columns)})]"

    def _get_rows(self, node: Node, n: str, depth: str) -> str:
        items = self._local("[]")
        with self.source.block(f"for _ in range({n}):"):
            self.source.line(f"{items}.append({self._get_alone(node, depth)})")
        return items
