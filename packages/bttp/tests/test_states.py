"""The transition table: every state and step, and what the documents show of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from bttp import LocalProtocolError
from bttp._frames import FrameKind
from bttp._states import FRAMES, TRANSITIONS, State, Step, diagram, step

SPEC = Path(__file__).resolve().parents[3] / "docs" / "spec" / "bttp.md"


@pytest.mark.parametrize(("state", "what"), list(itertools.product(State, Step)))
def test_every_step_leads_where_the_table_says_or_raises(state: State, what: Step) -> None:
    if (state, what) in TRANSITIONS:
        assert step(state, what) is TRANSITIONS[state, what]
    else:
        with pytest.raises(LocalProtocolError, match=f"{state.name}.*{what.name}"):
            step(state, what)


def test_a_closed_link_stays_closed() -> None:
    assert {after for (before, _), after in TRANSITIONS.items() if before is State.CLOSED} == {State.CLOSED}


def test_nothing_is_taken_before_its_time() -> None:
    for state in (State.PREFACE, State.HANDSHAKE, State.DECISION, State.CLOSED):
        assert state not in FRAMES
    for state, kinds in FRAMES.items():
        assert (FrameKind.CALL in kinds) == (state in (State.OPEN, State.DRAINING))
        assert (FrameKind.ACCEPT in kinds) == (state in (State.ACCEPTANCE, State.OPEN, State.DRAINING))
        assert (FrameKind.HELLO in kinds) == (state is State.HELLO)


def test_the_specification_shows_the_table() -> None:
    assert diagram() in SPEC.read_text(encoding="utf-8")
