"""Random walks: whatever the roles do within their tables, all monitors agree, and nothing is left in a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import pairwise

import pytest
from btlib import Principal
from btrun.protocol import END, Protocol, Role, State
from btrun.protocol._monitor import Monitor
from btrun.protocol._table import Step, Table
from btrun.protocol.errors import DeclarationError, ViolationError
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from msgspec import Struct

PEER = Principal(b"p" * 32)


class A(Struct, frozen=True): ...


class B(Struct, frozen=True): ...


class C(Struct, frozen=True): ...


MESSAGES = (A, B, C)


@st.composite
def declarations(draw: st.DrawFn, most_roles: int) -> dict[str, object]:
    """Members of a protocol class: rounds in which a role chooses, the others hear of it, and the last one answers.

    Now and then somebody is not told, or does not answer. Some of those protocols are refused, and some are sound: they
    are the interesting ones.
    """
    roles = [Role("") for _ in range(draw(st.integers(2, most_roles)))]
    rounds = [State("") for _ in range(draw(st.integers(1, 4)))]
    states = list(rounds)
    for number, state in enumerate(rounds):
        order = draw(st.permutations(roles))
        following = rounds[number + 1] if number + 1 < len(rounds) else END
        labels = draw(st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=3, unique=True))
        targets = [following, *(draw(st.sampled_from([*rounds, END])) for _ in labels[1:])]
        steps: dict[type[Struct], State] = {}
        for label, target in zip(labels, targets, strict=True):
            hops = [*pairwise(order[1:]), (order[-1], order[0])]
            hops = [hop for hop in hops if draw(st.integers(0, 7)) > 0]
            path = [State("") for _ in hops]
            for (sender, receiver), hop, then in zip(hops, path, [*path, target][1:], strict=True):
                hop.lets(sender, {label: then}, to=receiver)
            states += path
            steps[label] = path[0] if path else target
        state.lets(order[0], steps, to=order[1])
    names = {f"r{number}": role for number, role in enumerate(roles)}
    return {**names, **{f"s{number}": state for number, state in enumerate(states)}}


class Walk:
    """All monitors of a protocol with a queue between each two."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.monitors = {role: Monitor(table, dict.fromkeys(table.peers, PEER)) for role, table in tables.items()}
        self.queues: dict[tuple[str, str], deque[Struct]] = {}

    def choices(self) -> list[tuple[str, Step | None]]:
        """What can happen next: a role sends a step, or (None) takes the message that waits for it."""
        found: list[tuple[str, Step | None]] = []
        for role, monitor in self.monitors.items():
            found += [(role, step) for step in monitor.row.sends.values()]
            if self.queues.get((monitor.row.source, role)):
                found.append((role, None))
        return found

    def do(self, role: str, step: Step | None) -> None:
        monitor = self.monitors[role]
        if step is None:
            monitor.received(self.queues[monitor.row.source, role].popleft())
        else:
            message = step.message()
            monitor.sending(message)
            self.queues.setdefault((role, step.peer), deque()).append(message)

    @property
    def over(self) -> bool:
        return all(monitor.row.is_end for monitor in self.monitors.values())


def declared(members: dict[str, object]) -> type[Protocol]:
    try:
        return type("Random", (Protocol,), members)
    except DeclarationError:
        reject()


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(members=declarations(most_roles=4), data=st.data())
def test_no_walk_through_an_accepted_protocol_breaks_it_or_gets_stuck(
    members: dict[str, object], data: st.DataObject
) -> None:
    protocol = declared(members)
    walk = Walk(protocol.tables)
    for _ in range(40):
        choices = walk.choices()
        assert choices or walk.over
        if not choices:
            assert not any(walk.queues.values())
            break
        walk.do(*data.draw(st.sampled_from(choices)))
        assert max((len(queue) for queue in walk.queues.values()), default=0) <= len(protocol.graph.nodes) + 1


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(members=declarations(most_roles=2), data=st.data())
def test_between_two_roles_both_monitors_are_in_the_same_state_whenever_nothing_is_under_way(
    members: dict[str, object], data: st.DataObject
) -> None:
    protocol = declared(members)
    walk = Walk(protocol.tables)
    for _ in range(30):
        if not (choices := walk.choices()):
            break
        walk.do(*data.draw(st.sampled_from(choices)))
        if not any(walk.queues.values()):
            first, second = walk.monitors.values()
            assert first.row.name == second.row.name
            assert set(first.row.sends) == set(second.row.receives)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(members=declarations(most_roles=2), data=st.data())
def test_a_random_message_from_the_other_side_is_a_step_or_a_violation(
    members: dict[str, object], data: st.DataObject
) -> None:
    protocol = declared(members)
    monitor = Monitor(protocol.tables["r0"], {"r1": PEER})
    for _ in range(20):
        row = monitor.row
        honest = data.draw(st.booleans())
        if row.sends and honest:
            monitor.sending(data.draw(st.sampled_from(list(row.sends)))())
            continue
        message = data.draw(st.sampled_from(MESSAGES))
        if message in row.receives:
            monitor.received(message())
        else:
            with pytest.raises(ViolationError, match=f"sent {message.__name__} in the state {row.name}"):
                monitor.received(message())
            return
