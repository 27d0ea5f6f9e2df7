"""The compiled encoder by its descriptions; that it encodes as `btserde` does is tested there (`test_compiled.py`)."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from btspeed import make_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = 1 << 40
U8, TEXT, BYTES = (
    ("int", 1, False, b"", (), ()),
    ("text", 0, False, b"", (), ()),
    ("bytes", 0, False, b"", (), ()),
)


@dataclasses.dataclass(slots=True)
class Pair:
    a: object
    b: object


PAIR = (
    ("struct", 0, False, b"", (Pair,), (("a", Pair, 1), ("b", Pair, 2))),
    U8,
    TEXT,
)

#: The same as the second row and its parts.
PAIR_FROM_1 = (("struct", 0, False, b"", (Pair,), (("a", Pair, 2), ("b", Pair, 3))), U8, TEXT)


def reference(_: object) -> bytes:
    return b"by the reference"


def encoder(*rows: Any) -> Callable[[object], bytes]:
    return make_encoder(rows, 32, LIMIT, LIMIT, reference)


def test_a_struct_is_encoded_field_by_field() -> None:
    assert encoder(*PAIR)(Pair(7, "ab")) == b"\7\2ab"


def test_whatever_is_not_plain_goes_to_the_reference_as_it_is() -> None:
    seen: list[object] = []

    def note(value: object) -> bytes:
        seen.append(value)
        return b"noted"

    encode = make_encoder(PAIR, 32, LIMIT, LIMIT, note)
    wrong = [Pair(256, ""), Pair(1, b""), Pair(1, "\ud800"), object.__new__(Pair), None, (1, "")]
    assert [encode(value) for value in wrong] == [b"noted"] * len(wrong)
    assert all(one is other for one, other in zip(seen, wrong, strict=True))


def test_an_error_of_the_reference_is_passed_on() -> None:
    def refuse(_: object) -> bytes:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        make_encoder((U8,), 32, LIMIT, LIMIT, refuse)(-1)
    assert caught.value.__context__ is None


class Unrelated:
    __slots__ = ("a",)


@pytest.mark.parametrize("holder", [Unrelated, int, 5, "Pair", object])
def test_a_slot_is_read_only_of_a_class_that_has_it(holder: object) -> None:
    row = ("struct", 0, False, b"", (Pair,), (("a", holder, 1),))
    assert encoder(row, U8)(Pair(7, "")) == b"\7"


@pytest.mark.parametrize("name", ["c", "", "__class__"])
def test_a_field_that_is_not_there_goes_to_the_reference(name: str) -> None:
    row = ("struct", 0, False, b"", (Pair,), ((name, Pair, 1),))
    assert encoder(row, U8)(Pair(7, "")) == reference(None)


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (5,),
        ((),),
        (U8[:5],),
        (("other", 0, False, b"", (), ()),),
        ((5, 0, False, b"", (), ()),),
        (("int", 0, False, b"", (), ()),),
        (("int", 3, False, b"", (), ()),),
        (("int", -8, False, b"", (), ()),),
        (("int", 16, True, b"", (), ()),),
        (("fixed", -1, False, b"", (), ()),),
        (("int", "1", False, b"", (), ()),),
        (("text", 0, False, "", (), ()),),
        (("text", 0, False, b"", [], ()),),
        (("text", 0, False, b"", (), []),),
        (("text", 0, False, b"", (), ((None, None, 0),)),),
        (("closed", 0, False, b"\0", (), ()),),
        (("closed", 0, False, b"", (True,), ()),),
        (("optional", 0, False, b"", (), ()),),
        (("list", 0, False, b"", (), ((None, None, 0), (None, None, 0))),),
        (("optional", 0, False, b"", (), ((None, None, 1),)),),
        (("optional", 0, False, b"", (), ((None, None, -1),)),),
        (("optional", 0, False, b"", (), ((None, None),)),),
        (("optional", 0, False, b"", (), (5,)),),
        (("optional", 0, False, b"", (), (("a", None, 0),)),),
        (("struct", 0, False, b"", (), ()),),
        (("struct", 0, False, b"", (5,), ()),),
        (("struct", 0, False, b"", (Pair, Pair), ()),),
        (("struct", 0, False, b"", (Pair,), ((None, None, 1),)), U8),
        (("struct", 0, False, b"", (Pair,), ((5, None, 1),)), U8),
        (("struct", 0, False, b"", (Pair,), (("\ud800", None, 1),)), U8),
        (("struct", 0, False, b"", (Pair,), (("a\0b", Pair, 1),)), U8),
        (("struct", 0, False, b"", (tuple,), (("a", None, 1),)), U8),
        (("union", 0, False, b"", (), ((None, None, 1),)), U8),
    ],
    ids=range(34),
)
def test_a_malformed_description_is_refused(rows: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        make_encoder(rows, 32, LIMIT, LIMIT, reference)


def test_limits_are_numbers_that_are_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        make_encoder((U8,), 32, -1, 1, reference)
    with pytest.raises(OverflowError):
        make_encoder((U8,), 32, 1 << 64, 1, reference)


#: Operations that have no parts, with everything else that they want.
PLAIN = [
    *(("int", size, signed, b"", ()) for size in (1, 2, 4, 8) for signed in (False, True)),
    *((op, 0, False, b"", ()) for op in ("float", "bytes", "text")),
    ("fixed", 2, False, b"", ()),
    ("closed", 0, False, b"\0\1", (False, True)),
]
WRONG = ["int", "list", 1, 7, b"", b"\0", (), (Pair,), ((None, None, 0),), (("a", Pair, 9),)]
NAMES, HOLDERS = st.sampled_from(["a", "b"]), st.sampled_from([None, Pair, Unrelated])


@st.composite
def descriptions(draw: st.DrawFn) -> list[Any]:
    """Rows that refer to each other without sense, some of them not well formed."""
    count = draw(st.integers(1, 6))
    index = st.integers(0, count - 1)
    unnamed, named = st.tuples(st.none(), st.none(), index), st.tuples(NAMES, HOLDERS, index)
    flag, tag = st.booleans(), st.sampled_from([b"", b"", b"\1"])
    kinds = st.one_of(
        st.sampled_from(PLAIN).map(lambda row: (*row, ())),
        st.tuples(st.just("optional"), st.just(0), flag, tag, st.just(()), st.tuples(unnamed)),
        st.tuples(st.just("list"), st.just(0), flag, tag, st.just(()), st.tuples(unnamed)),
        st.tuples(st.just("struct"), st.just(0), flag, tag, st.just((Pair,)), st.lists(named, max_size=3).map(tuple)),
        st.tuples(st.just("struct"), st.just(0), flag, tag, st.just((tuple,)), st.tuples(unnamed, unnamed)),
        st.tuples(st.just("union"), st.just(0), flag, tag, st.just(()), st.lists(unnamed, max_size=3).map(tuple)),
    )
    rows: list[Any] = draw(st.lists(kinds, min_size=count, max_size=count))
    if draw(st.integers(0, 3)) == 0:
        row, column = draw(index), draw(st.integers(0, 5))
        wrong = draw(
            st.sampled_from(["int", "list", 1, 7, b"", b"\0", (), (Pair,), ((None, None, 0),), (("a", Pair, 9),)])
        )
        rows[row] = (*rows[row][:column], wrong, *rows[row][column + 1 :])
    return rows


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-300, 300), st.text(max_size=3), st.binary(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner), st.builds(Pair, inner, inner)),
)


@settings(max_examples=2000)
@given(rows=descriptions(), values=st.lists(VALUES, max_size=4))
def test_any_description_is_refused_or_makes_an_encoder_that_holds(rows: Any, values: list[object]) -> None:
    try:
        encode = encoder(*rows)
    except (ValueError, TypeError):
        return
    for value in values:
        assert isinstance(encode(value), bytes)


def test_a_description_without_end_goes_to_the_reference() -> None:
    assert encoder(("optional", 0, False, b"", (), ((None, None, 0),)))(5) == reference(5)
    again = ("struct", 0, False, b"", (Pair,), (("a", Pair, 0),))
    loop = Pair(None, None)
    loop.a = loop
    assert encoder(again)(loop) == reference(loop)
    assert encoder(("list", 0, False, b"", (), ((None, None, 1),)), again)([loop]) == reference(loop)


def test_an_encoder_in_a_cycle_with_its_class_is_collected() -> None:
    cls: Any = type("Short", (), {"__slots__": ("a",)})
    cls.encode = encoder(("struct", 0, False, b"", (cls,), (("a", cls, 1),)), U8)
    value = cls()
    value.a = 3
    assert cls.encode(value) == b"\3"
    dead = weakref.ref(cls)
    del cls, value
    gc.collect()
    assert dead() is None


@pytest.mark.parametrize(
    "rows", [PAIR, (*PAIR, ("int", 3, False, b"", (), ())), (PAIR[0], U8)], ids=["good", "bad", "cut"]
)
def test_making_encoders_loses_no_memory(rows: Any) -> None:
    def make() -> None:
        with contextlib.suppress(ValueError):
            encoder(*rows)

    make()
    tracemalloc.start()
    try:
        make()
        gc.collect()
        before, references = tracemalloc.get_traced_memory()[0], sys.getrefcount(rows)
        for _ in range(1000):
            make()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert sys.getrefcount(rows) == references
    assert after - before < 20_000  # of 1000 encoders, each some 500 bytes


def test_threads_may_share_an_encoder() -> None:
    encode = encoder(("list", 0, False, b"", (), ((None, None, 1),)), *PAIR_FROM_1)
    values = [Pair(number % 256, "x" * number) for number in range(200)]
    expected, wrong = encode(values), list[object]()

    def work() -> None:
        wrong.extend(1 for _ in range(100) if encode(values) != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_bytes_object_that_stands_many_times_is_copied_each_time() -> None:
    body = bytes(range(256)) * 20
    expected = b"\6" + b"\xfd\0\x14" * 6 + body * 6
    assert encoder(("list", 0, False, b"", (), ((None, None, 1),)), BYTES)([body] * 6) == expected
