"""Deadlines against a plain dictionary."""

from __future__ import annotations

from bttp._deadlines import _SLACK, Deadlines
from hypothesis import given
from hypothesis import strategies as st

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 8), st.integers(0, 30)),
        st.tuples(st.just("discard"), st.integers(0, 8), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(steps)
def test_deadlines_agree_with_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    ours, model = Deadlines(), dict[int, float]()
    for what, number, when in steps:
        if what == "add":
            ours.add(number, when)
            model[number] = when
        elif what == "discard":
            ours.discard(number)
            model.pop(number, None)
        else:
            due = {number for number, at in model.items() if at <= when}
            got = ours.expired(when)
            assert set(got) == due
            assert [model[number] for number in got] == sorted(model[number] for number in due)
            model = {number: at for number, at in model.items() if number not in due}
        assert ours.next() == (min(model.values()) if model else None)
        assert len(ours) == len(model)


def test_memory_follows_what_is_pending() -> None:
    deadlines = Deadlines()
    for number in range(10_000):
        deadlines.add(number, 30.0)
        deadlines.discard(number)
    assert len(deadlines.heap) <= _SLACK + 2
