"""Hypothesis strategies of types that have an encoding, and of values of such a type."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Annotated, Any, Union

import msgspec
from btserde import I8, I16, I32, I64, U8, U16, U32, U64, Fixed, View
from hypothesis import strategies as st

from .samples import Colour, Kind


@dataclasses.dataclass(frozen=True)
class Case:
    """A type and the strategy of its values."""

    tp: Any
    values: st.SearchStrategy[Any]
    hashable: bool = True
    empty: bool = False  # whether it takes no byte


def _ints(tp: Any, bits: int, signed: bool) -> Case:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return Case(tp, st.one_of(st.sampled_from([low, high]), st.integers(low, high)))


TEXTS = st.one_of(st.text(max_size=8), st.text("ab", min_size=250, max_size=260))
BLOBS = st.one_of(st.binary(max_size=8), st.binary(min_size=250, max_size=260))

LEAVES = [
    *(_ints(tp, bits, False) for tp, bits in ((U8, 8), (U16, 16), (U32, 32), (U64, 64))),
    *(_ints(tp, bits, True) for tp, bits in ((I8, 8), (I16, 16), (I32, 32), (I64, 64))),
    Case(bool, st.booleans()),
    Case(float, st.floats(allow_nan=False)),
    Case(bytes, BLOBS),
    Case(str, TEXTS),
    Case(View, BLOBS.flatmap(lambda b: st.sampled_from([b, bytearray(b), memoryview(b)])), hashable=False),
    Case(Annotated[bytes, Fixed[5]], st.binary(min_size=5, max_size=5)),
    Case(Kind, st.sampled_from(Kind)),
    Case(Colour, st.sampled_from(Colour)),
]


@st.composite
def _enums(draw: st.DrawFn) -> Case:
    values = draw(st.lists(st.one_of(st.integers(-5, 300), st.text("xyz", max_size=3)), min_size=1, unique=True))
    make: Any = enum.Enum
    cls = make("Generated", {f"M{i}": value for i, value in enumerate(values)})
    return Case(cls, st.sampled_from(cls))


def _optional(case: Case) -> Case:
    return Case(case.tp | None, st.none() | case.values, case.hashable)


def _list(case: Case) -> Case:
    return Case(list[case.tp], st.lists(case.values, max_size=5), hashable=False)  # type: ignore[name-defined]


def _row(case: Case) -> Case:
    return Case(tuple[case.tp, ...], st.lists(case.values, max_size=5).map(tuple), case.hashable)  # type: ignore[name-defined]


def _set(case: Case) -> Case:
    return Case(frozenset[case.tp], st.frozensets(case.values, max_size=4))  # type: ignore[name-defined]


def _dict(key: Case, value: Case) -> Case:
    return Case(dict[key.tp, value.tp], st.dictionaries(key.values, value.values, max_size=4), hashable=False)  # type: ignore[name-defined]


def _tuple(cases: list[Case]) -> Case:
    tp: Any = tuple.__class_getitem__(tuple(case.tp for case in cases))
    values = st.tuples(*(case.values for case in cases))
    return Case(tp, values, all(case.hashable for case in cases), all(case.empty for case in cases))


def _struct(cases: list[Case], tag: int | str | None = None, keywords: bool = False, frozen: bool = True) -> Case:
    names = [f"f{i}" for i in range(len(cases))]
    fields = [(name, case.tp) for name, case in zip(names, cases, strict=True)]
    cls = msgspec.defstruct("Generated", fields, tag=tag, kw_only=keywords, frozen=frozen)
    return _made_by(cls, names, cases, frozen and all(case.hashable for case in cases), tag is None)


def _dataclass(cases: list[Case], keywords: bool) -> Case:
    names = [f"f{i}" for i in range(len(cases))]
    fields = [(name, case.tp) for name, case in zip(names, cases, strict=True)]
    cls = dataclasses.make_dataclass("Generated", fields, kw_only=keywords, frozen=True)
    return _made_by(cls, names, cases, all(case.hashable for case in cases), True)


def _made_by(cls: Callable[..., Any], names: list[str], cases: list[Case], hashable: bool, untagged: bool) -> Case:
    parts = {name: case.values for name, case in zip(names, cases, strict=True)}
    values = st.fixed_dictionaries(parts).map(lambda found: cls(**found))
    return Case(cls, values, hashable, untagged and all(case.empty for case in cases))


def _union(members: list[Case]) -> Case:
    tp: Any = Union.__getitem__(tuple(member.tp for member in members))
    hashable = all(member.hashable for member in members)
    return Case(tp, st.one_of(*(member.values for member in members)), hashable)


@st.composite
def cases(draw: st.DrawFn, depth: int) -> Case:
    """A type that nests at most this deep."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.one_of(st.sampled_from(LEAVES), _enums()))
    return draw(st.sampled_from(COMPOSERS))(draw, depth - 1)


def _item(draw: st.DrawFn, depth: int) -> Case:
    """A type that can be in a list."""
    case = draw(cases(depth))
    return LEAVES[0] if case.empty else case


def _key(draw: st.DrawFn, depth: int) -> Case:
    """A type that can be in a set."""
    case = _item(draw, depth)
    return case if case.hashable else LEAVES[1]


def _fields(draw: st.DrawFn, depth: int) -> list[Case]:
    return [draw(cases(depth)) for _ in range(draw(st.integers(0, 4)))]


def _draw_union(draw: st.DrawFn, depth: int) -> Case:
    kind: st.SearchStrategy[Any] = draw(st.sampled_from([st.integers(0, 255), st.text("äbc", max_size=3)]))
    tags = draw(st.lists(kind, min_size=2, max_size=4, unique=True))
    return _union([_struct(_fields(draw, depth), tag) for tag in tags])


TAGS: list[int | str] = [0, 9, 255, "", "tag"]

COMPOSERS: list[Callable[[st.DrawFn, int], Case]] = [
    lambda draw, depth: _optional(draw(cases(depth))),
    lambda draw, depth: _list(_item(draw, depth)),
    lambda draw, depth: _row(_item(draw, depth)),
    lambda draw, depth: _set(_key(draw, depth)),
    lambda draw, depth: _dict(_key(draw, depth), draw(cases(depth))),
    lambda draw, depth: _tuple(_fields(draw, depth)),
    lambda draw, depth: _struct(_fields(draw, depth), None, draw(st.booleans()), draw(st.booleans())),
    lambda draw, depth: _struct(_fields(draw, depth), draw(st.sampled_from(TAGS))),
    lambda draw, depth: _dataclass(_fields(draw, depth), draw(st.booleans())),
    _draw_union,
]


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Any, Any]:
    """A type and a value of it."""
    case = draw(cases(3))
    return case.tp, draw(case.values)
