"""The walk over all tables together, on tables that no projection would give."""

from __future__ import annotations

import pytest
from btrun.protocol._queues import explore
from btrun.protocol._table import Row, Step, Table
from btrun.protocol.examples.two_phase import TwoPhase
from msgspec import Struct


class Go(Struct, frozen=True): ...


class Stop(Struct, frozen=True): ...


MESSAGES = {"Go": Go, "Stop": Stop}


def tables(**roles: str) -> dict[str, Table]:
    """Tables from lines such as `0 !b Go 1; 1 ?b Stop 2`: row, direction and peer, label, next row."""
    return {role: _table(role, [line.split() for line in text.split(";")]) for role, text in roles.items()}


def _table(role: str, lines: list[list[str]]) -> Table:
    count = 1 + max(int(number) for line in lines for number in (line[0], line[3]))
    rows = tuple(Row(name=f"s{index}", meaning="", index=index, timeout=None) for index in range(count))
    for number, peer, label, then in lines:
        row, message = rows[int(number)], MESSAGES[label]
        step = Step(message=message, peer=peer[1:], then=rows[int(then)])
        if peer.startswith("!"):
            row.sends[message] = step
        else:
            row.receives[message] = step
            row.accepts[label] = message
            row.source = step.peer
    return Table(protocol="Hand", role=role, rows=rows)


@pytest.mark.parametrize(
    ("roles", "fault"),
    [
        pytest.param({"a": "0 !b Go 1", "b": "0 ?a Go 1"}, None, id="sound"),
        pytest.param(
            {"a": "0 ?b Go 1", "b": "0 ?a Go 1"},
            "a deadlock: all wait for each other (the a in s0, the b in s0)",
            id="both wait",
        ),
        pytest.param(
            {"a": "0 ?c Go 1; 1 !b Go 2", "b": "0 ?a Go 1; 1 !c Go 2", "c": "0 ?b Go 1; 1 !a Go 2"},
            "a deadlock: all wait for each other (the a in s0, the b in s0, the c in s0)",
            id="a ring of three",
        ),
        pytest.param(
            {"a": "0 !b Go 1; 0 !b Stop 1", "b": "0 ?a Go 1"},
            "Stop from the a can come to the b in its state s0, unexpected",
            id="unexpected",
        ),
        pytest.param(
            {"a": "0 !b Go 1; 1 !c Go 2", "b": "0 ?a Go 1", "c": "0 !b Stop 1; 1 ?a Go 2"},
            "Stop from the c to the b can be left over when the session is over",
            id="left over",
        ),
        pytest.param(
            {"a": "0 !b Go 1; 0 !b Stop 2; 2 ?b Go 1", "b": "0 ?a Go 1; 0 ?a Stop 2; 2 !a Go 1; 3 !a Go 1"},
            "the b never comes to s3",
            id="never reached",
        ),
    ],
)
def test_the_walk_names_what_goes_wrong(roles: dict[str, str], fault: str | None) -> None:
    assert list(explore(tables(**roles))) == ([] if fault is None else [fault])


def test_a_full_queue_is_no_deadlock() -> None:
    sender = "; ".join(f"{n} !b Go {n + 1}" for n in range(5))
    receiver = "; ".join(f"{n} ?a Go {n + 1}" for n in range(5))
    assert list(explore(tables(a=sender, b=receiver))) == []


def test_two_phase_commit_has_no_fault() -> None:
    assert list(explore(TwoPhase.tables)) == []
