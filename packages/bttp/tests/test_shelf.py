"""Memory of bodies is used again only when nobody can see it any more."""

from __future__ import annotations

import threading

import pytest
from bttp._bodies import Bodies
from bttp._shelf import KEPT, LARGEST, UNIT, Shelf
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("size", [1, UNIT, UNIT + 1, LARGEST, LARGEST + 1])
def test_it_gives_at_least_what_is_asked_for(size: int) -> None:
    assert size <= len(Shelf().take(size)) < size + UNIT


def test_what_nobody_has_any_more_is_lent_again() -> None:
    shelf = Shelf()
    memory = shelf.take(UNIT)
    memory[:4] = b"mark"
    del memory
    assert shelf.take(UNIT)[:4] == b"mark"


def test_a_view_of_a_view_keeps_it() -> None:
    shelf = Shelf()
    view = memoryview(shelf.take(UNIT)).cast("I")[3:5]
    view[0] = 7
    others = [shelf.take(UNIT) for _ in range(2 * KEPT)]
    for other in others:
        other[:] = b"\xff" * UNIT
    assert view[0] == 7


def test_nearly_the_same_size_is_the_same_memory_and_another_size_is_not() -> None:
    shelf = Shelf()
    shelf.take(UNIT - 5)[:4] = b"mark"
    assert shelf.take(2 * UNIT)[:4] == bytes(4)
    assert shelf.take(UNIT)[:4] == b"mark"


def test_large_ones_and_old_ones_are_forgotten() -> None:
    shelf = Shelf()
    shelf.take(LARGEST + 1)[:4] = b"mark"
    assert shelf.take(LARGEST + 1)[:4] == bytes(4)
    shelf.take(UNIT)[:4] = b"mark"
    held = [shelf.take(2 * UNIT) for _ in range(KEPT)]
    assert shelf.take(UNIT)[:4] == bytes(4)
    assert len(held) == KEPT


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
def test_no_two_who_hold_some_hold_the_same(steps: list[tuple[int, bool]]) -> None:
    shelf, held = Shelf(), dict[int, tuple[bytes, memoryview]]()
    for number, (place, keep) in enumerate(steps):
        held.pop(place, None)
        mark = number.to_bytes(8, "little")
        view = memoryview(shelf.take(UNIT * (1 + place % 2)))
        view[:8] = mark
        if keep:
            held[place] = mark, view
        del view
        assert all(view[:8] == mark for mark, view in held.values())


def test_threads_that_share_one_never_share_memory() -> None:
    shelf, wrong = Shelf(), list[int]()

    def use(mark: int) -> None:
        for _ in range(2000):
            memory = shelf.take(UNIT)
            memory[0] = mark
            if memory[0] != mark or any(memory[0] != mark for _ in range(5)):
                wrong.append(mark)
            del memory

    threads = [threading.Thread(target=use, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_body_that_is_held_is_not_overwritten_by_the_next() -> None:
    bodies, whole = Bodies(10 * UNIT), list[memoryview]()
    for number in range(3):
        bodies.begin(1, UNIT + 5, whole.append)
        for length in (UNIT, 5):
            place = bodies.place(1, length)
            assert place is not None
            place[:] = bytes([number]) * length
            bodies.finish(1)
    assert [bytes(body) for body in whole] == [bytes([number]) * (UNIT + 5) for number in range(3)]
