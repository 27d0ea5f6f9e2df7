"""The heap of deadlines against an obvious list."""

from __future__ import annotations

import pytest
from btrun._deadlines import Deadlines
from hypothesis import given
from hypothesis import strategies as st


class Entry:
    def __init__(self, when: float) -> None:
        self.when = when
        self.done = False


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 50)),
        st.tuples(st.just("finish"), st.integers(0, 200)),
        st.tuples(st.just("sweep"), st.integers(0, 60)),
    ),
    max_size=300,
)


@given(steps=steps)
def test_it_gives_what_a_list_would_give(steps: list[tuple[str, int]]) -> None:
    heap: Deadlines[Entry] = Deadlines()
    model: list[Entry] = []
    for step, number in steps:
        if step == "add":
            model.append(entry := Entry(number))
            heap.add(number, entry)
        elif step == "finish" and model:
            entry = model.pop(number % len(model))
            entry.done = True
        elif step == "sweep":
            due = sorted((entry for entry in model if entry.when <= number), key=lambda entry: entry.when)
            assert [heap.pop_expired(number) for _ in due] == due
            assert heap.pop_expired(number) is None
            model = [entry for entry in model if entry not in due]
        assert len(heap) == len(model)
        assert heap.next() == min((entry.when for entry in model), default=None)


@pytest.mark.parametrize("pending", [0, 1, 500])
def test_memory_stays_in_proportion_to_what_is_pending(pending: int) -> None:
    heap: Deadlines[Entry] = Deadlines()
    for number in range(pending):
        heap.add(number, Entry(number))
    for number in range(10_000):
        heap.add(1000 + number, entry := Entry(number))
        entry.done = True
        assert len(heap._heap) <= 2 * pending + 2 * 64
    assert len(heap) == pending
