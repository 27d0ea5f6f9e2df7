"""The compiled twin against the encoder that it stands for, and what happens where it is not installed."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import inspect
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from btserde import I16, U8, U64, EncodeError, Encoder, Fixed, Limits, View
from btserde import _compiled as compiled
from btserde._api import _node
from btserde._codegen_encode import encoder_source
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from . import make_vectors, reference
from .samples import TYPES, Chain, Colour, Directory, Entry, Header, Kind, Open, Page, Point, Request, Shape, Tree
from .strategies import typed_values
from .test_encode import WRONG, chain, entry

LIMITS = Limits()
ENTRIES = Directory(1, [entry(name=f"é{i}") for i in range(300)], 5)

many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
needs_twin = pytest.mark.skipif(not compiled.COMPILED, reason="btspeed is not installed")


class FellBackError(Exception):
    """The twin left the value to the reference."""


def fall_back(_: object) -> bytes:
    raise FellBackError


def generated(tp: object, limits: Limits = LIMITS) -> Callable[[Any], bytes]:
    return encoder_source(_node(tp), limits).make("encoder")["encode"]


def alone(tp: object, limits: Limits = LIMITS) -> Callable[[Any], bytes]:
    """The twin with nothing to fall back on."""
    return compiled.with_compiled_twin(fall_back, _node(tp), limits)


def both(tp: object, limits: Limits = LIMITS) -> Callable[[Any], bytes]:
    return compiled.with_compiled_twin(generated(tp, limits), _node(tp), limits)


def described(tp: object) -> bool:
    try:
        compiled.describe(_node(tp))
    except compiled.NotDescribedError:
        return False
    return True


def outcome(encode: Callable[[Any], bytes], value: object) -> object:
    try:
        return encode(value)
    except EncodeError as error:
        return error.args


# -- the same bytes


@needs_twin
@many
@given(typed_values())
def test_it_encodes_every_plain_value_by_itself(case: tuple[Any, Any]) -> None:
    tp, value = case
    assume(described(tp))
    assert alone(tp)(value) == reference.encode(tp, value)


@needs_twin
@pytest.mark.parametrize("path", sorted(make_vectors.VECTORS.glob("accept-*.json")), ids=lambda path: path.stem)
def test_both_encode_every_vector(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    tp, data = TYPES[vector["type"]], bytes.fromhex(vector["encoding"])
    value = reference.decode(tp, data)
    assert generated(tp)(value) == data
    assert (alone(tp) if described(tp) else both(tp))(value) == data


@pytest.mark.parametrize("tp", [set[U8], dict[str, U8], list[frozenset[U8]], tuple[U8, dict[str, U8]]])
def test_what_must_be_sorted_is_left_to_the_reference(tp: object) -> None:
    assert compiled.with_compiled_twin(fall_back, _node(tp), LIMITS) is fall_back


@needs_twin
@pytest.mark.parametrize("size", [0, 252, 253, 4095, 4096, 8192, 65_535, 65_536])
def test_bodies_of_any_size_are_encoded_wherever_they_stand(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    bodies = [body, bytearray(body), memoryview(b"x" + body)[1:], b"", body, body, body[:-1]]
    for tp in (list[View], tuple[U8, View, View, list[bytes], U64]):
        value: Any = bodies if tp == list[View] else (1, bodies[1], bodies[2], [body] * 9, 2)
        assert alone(tp)(value) == generated(tp)(value)


@needs_twin
@pytest.mark.parametrize("size", [1, 510, 511, 512, 513, 8191, 8192, 8193, 100_000])
def test_a_buffer_may_grow_before_any_kind_of_value(size: int) -> None:
    tail: dict[object, Any] = {
        U8: 1, U64: 2, float: 0.5, bool: True, str: "é" * 300, bytes: b"b" * 300, Fixed[5000]: bytes(5000),
        list[U64]: [*range(1100)], list[Colour]: [*Colour] * 300, I16 | None: -2,
        Page[Point]: Page([Point(1)] * 99, True),
    }  # fmt: skip
    for tp, value in tail.items():
        whole = tuple[list[U8], tp]  # type: ignore[valid-type]
        assert alone(whole)(([7] * size, value)) == generated(whole)(([7] * size, value))


# -- the same errors


@needs_twin
@pytest.mark.parametrize(("tp", "value", "path", "reason"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_value_is_refused_with_the_same_error(tp: Any, value: Any, path: str, reason: str) -> None:
    if described(tp):
        with pytest.raises(FellBackError):
            alone(tp)(value)
    with pytest.raises(EncodeError) as expected:
        generated(tp)(value)
    with pytest.raises(EncodeError) as caught:
        both(tp)(value)
    assert caught.value.args == expected.value.args


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, "", "\ud800", b"", [], (), 0.5, float("nan"), 1j, Colour.RED, Kind.LINK, Chain(1)]),
    st.sampled_from([-1, 255, 256, 1 << 63, 1 << 64, -(1 << 63) - 1, memoryview(b"abcdef")[::2], range(3), "a" * 300]),
    st.lists(st.integers(-300, 300), max_size=3),
)


def spoiled(value: Any, data: st.DataObject) -> Any:
    """The value with one part of it, at any depth, replaced by something else."""
    inside = data.draw(st.booleans())
    if inside and isinstance(value, list | tuple) and value:
        items = list(value)
        at = data.draw(st.integers(0, len(items) - 1))
        items[at] = spoiled(items[at], data)
        return type(value)(items)
    if inside and isinstance(value, msgspec.Struct) and value.__struct_fields__:
        name = data.draw(st.sampled_from(value.__struct_fields__))
        return msgspec.structs.replace(value, **{name: spoiled(getattr(value, name), data)})
    if inside and dataclasses.is_dataclass(value) and dataclasses.fields(value):
        name = data.draw(st.sampled_from([field.name for field in dataclasses.fields(value)]))
        return dataclasses.replace(value, **{name: spoiled(getattr(value, name), data)})  # type: ignore[type-var]
    return data.draw(JUNK)


@needs_twin
@many
@given(typed_values(), st.data())
def test_a_spoiled_value_has_the_same_outcome(case: tuple[Any, Any], data: st.DataObject) -> None:
    tp, value = case
    bad = spoiled(value, data)
    assert outcome(both(tp), bad) == outcome(generated(tp), bad)


@needs_twin
@many
@given(typed_values(), st.integers(1, 20), st.integers(1, 4), st.integers(1, 2))
def test_limits_are_the_same(case: tuple[Any, Any], size: int, count: int, depth: int) -> None:
    tp, value = case
    limits = Limits(max_size=size, max_count=count, max_depth=depth)
    assert outcome(both(tp, limits), value) == outcome(generated(tp, limits), value)


@needs_twin
def test_what_just_fits_the_limits_is_not_left_to_the_reference() -> None:
    size = len(generated(Directory)(ENTRIES))
    assert len(alone(Directory, Limits(max_size=size, max_count=300))(ENTRIES)) == size
    for limits in (Limits(max_size=size - 1), Limits(max_count=299)):
        with pytest.raises(FellBackError):
            alone(Directory, limits)(ENTRIES)
    assert alone(bytes, Limits(max_size=5003))(bytes(5000)) == generated(bytes)(bytes(5000))
    with pytest.raises(FellBackError):
        alone(bytes, Limits(max_size=5002))(bytes(5000))
    assert alone(Chain)(chain(32)) == generated(Chain)(chain(32))
    with pytest.raises(FellBackError):
        alone(Chain)(chain(33))


@needs_twin
def test_limits_of_any_size_are_taken() -> None:
    limits = Limits(max_size=1 << 100, max_count=1 << 100, max_depth=1 << 100)
    assert alone(Directory, limits)(ENTRIES) == generated(Directory)(ENTRIES)


@needs_twin
def test_what_nests_deeper_than_its_frames_is_the_reference_s() -> None:
    limits = Limits(max_depth=10_000)
    long = chain(150)
    assert both(Chain, limits)(long) == generated(Chain, limits)(long)
    with pytest.raises(FellBackError):
        alone(Chain, limits)(chain(5_000))
    deep: Tree = Tree(1)
    for _ in range(250):
        deep = Tree(1, [deep])
    with pytest.raises(FellBackError):
        alone(Tree, limits)(deep)


# -- what is unusual


class Text(str):
    __slots__ = ()


class Content(bytes):
    pass


class Items(list[Any]):
    pass


@needs_twin
@pytest.mark.parametrize(
    ("tp", "value"),
    [
        (str, Text("a")),
        (bytes, Content(b"a")),
        (list[U8], Items([1])),
        (list[str], [Text("a"), "b"]),
        (list[bytes], [Content(b"a"), b"b"]),
        (float, 3),
        (View, memoryview(b"abcd")[4::2]),
    ],
)
def test_what_is_not_of_the_plain_class_is_left_to_the_reference(tp: object, value: object) -> None:
    with pytest.raises(FellBackError):
        alone(tp)(value)
    assert both(tp)(value) == generated(tp)(value)


@needs_twin
def test_ints_may_be_bools_and_members() -> None:
    assert alone(list[U8])([True, Kind.FILE]) == b"\2\1\1"


@needs_twin
def test_a_forged_member_is_refused() -> None:
    forged = int.__new__(Kind, 9)
    with pytest.raises(FellBackError):
        alone(Kind)(forged)


@dataclasses.dataclass(slots=True)
class Slotted:
    a: U8
    b: str


@dataclasses.dataclass(slots=True)
class Wider(Slotted):
    c: U8


@needs_twin
def test_slots_of_a_base_class_are_read_too() -> None:
    assert alone(Wider)(Wider(1, "b", 2)) == generated(Wider)(Wider(1, "b", 2))
    assert [part[1] for part in compiled.describe(_node(Wider))[0][5]] == [Slotted, Slotted, Wider]


@needs_twin
def test_an_empty_slot_gives_the_same_error() -> None:
    value = object.__new__(Slotted)
    assert outcome(both(Slotted), value) == outcome(generated(Slotted), value)
    assert isinstance(outcome(both(Slotted), value), tuple)


class Getter(msgspec.Struct):
    a: U8

    def __getattribute__(self, name: str) -> object:
        return 7 if name == "a" else super().__getattribute__(name)


class Missing(msgspec.Struct):
    a: U8

    def __getattr__(self, name: str) -> object:
        raise AttributeError(name)


@needs_twin
def test_a_class_that_answers_for_its_attributes_is_asked() -> None:
    assert alone(Getter)(Getter(1)) == generated(Getter)(Getter(1)) == b"\7"
    assert alone(Missing)(Missing(1)) == b"\1"


class Meddler:
    """A descriptor that does something when its field is read."""

    def __init__(self) -> None:
        self.act: Callable[[], object] = lambda: 5

    def __get__(self, owner: object, _: type | None = None) -> object:
        return self if owner is None else self.act()

    def __set__(self, owner: object, value: object) -> None:
        pass


MEDDLER = Meddler()


@dataclasses.dataclass
class Meddled:
    items: list[str]
    number: U8
    tail: list[str]


Meddled.number = MEDDLER  # type: ignore[assignment]


@needs_twin
@pytest.mark.parametrize("act", ["clear", "grow", "drop"])
def test_a_list_may_change_while_it_is_encoded(act: str) -> None:
    values: list[Meddled] = []

    def clear() -> int:
        values[0].tail.clear()
        values[0].items.clear()
        return 5

    def grow() -> int:
        values.extend([values[0]] * 1000)
        return 5

    def drop() -> int:
        values.clear()
        gc.collect()
        return 5

    texts = ["a" * 50 + str(number) for number in range(4)]
    for tp in (list[Meddled], list[tuple[Meddled, U8]]):
        MEDDLER.act = lambda: 5
        values[:] = [Meddled(list(texts), 5, list(texts)) for _ in range(3)]
        MEDDLER.act = {"clear": clear, "grow": grow, "drop": drop}[act]
        value: Any = values if tp == list[Meddled] else [(row, 1) for row in values]
        assert isinstance(outcome(both(tp), value), bytes)


class Interrupt(BaseException):
    pass


@needs_twin
def test_an_error_of_an_attribute_is_the_reference_s_to_tell_and_an_interrupt_passes() -> None:
    def stop() -> None:
        raise Interrupt

    def fail() -> None:
        raise AttributeError("gone")

    value = Meddled(["a"], 5, ["b"])
    MEDDLER.act = fail
    with pytest.raises(EncodeError, match="gone"):
        both(Meddled)(value)
    MEDDLER.act = stop
    with pytest.raises(Interrupt):
        alone(Meddled)(value)
    with pytest.raises(Interrupt):
        alone(list[Meddled])([value])
    MEDDLER.act = lambda: 5
    assert alone(Meddled)(value) == b"\1\1a\5\1\1b"


# -- memory

OFTEN: list[tuple[Any, Any]] = [
    (Directory, ENTRIES),
    (Directory, Directory(1, [*ENTRIES.entries, entry(size=-1)])),
    (Directory, Directory(1, [*ENTRIES.entries, entry(name="\ud800")])),
    (list[bytes], [bytes(5000), bytearray(5000), memoryview(bytes(9)), *[bytes(6000)] * 5]),
    (list[bytes], [bytes(5000), bytearray(5000), bytes(100_000), 5]),
    (Shape, Shape(colour=Colour.RED, points=(Point(1), Point(2)), label="é")),
    (Shape, Shape(colour=Colour.RED, points=(Point(1), Point("x")))),  # type: ignore[arg-type]
    (Request, Open(path="p" * 1000)),
    (Chain, chain(32)),
    (Chain, chain(33)),
    (U64, 1 << 64),
    (list[tuple[str, Kind]], [("a", Kind.FILE)] * 20 + [("a",)]),
]


@needs_twin
@pytest.mark.parametrize(("tp", "value"), OFTEN, ids=range(len(OFTEN)))
def test_no_memory_is_lost(tp: Any, value: Any) -> None:
    def quiet(_: object) -> bytes:
        return b""

    encode = compiled.with_compiled_twin(quiet, _node(tp), LIMITS)
    parts = [part for part in (value, *gc.get_referents(value)) if not isinstance(part, int)]
    encode(value)
    references = [sys.getrefcount(part) for part in parts]
    tracemalloc.start()
    try:
        encode(value)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            encode(value)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(part) for part in parts] == references
    assert after - before < 100


# -- without it


def without_btspeed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module as it is loaded where btspeed cannot be imported."""
    monkeypatch.setitem(sys.modules, "btspeed", None)
    spec = importlib.util.find_spec("btserde._compiled")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_btspeed_the_reference_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = without_btspeed(monkeypatch)
    assert not module.COMPILED
    assert module.with_compiled_twin(fall_back, _node(Header), LIMITS) is fall_back


@needs_twin
def test_an_encoder_has_a_twin_where_its_type_can_be_described() -> None:
    assert inspect.isbuiltin(Encoder(Entry).encode)
    assert inspect.isfunction(Encoder(set[U8]).encode)
