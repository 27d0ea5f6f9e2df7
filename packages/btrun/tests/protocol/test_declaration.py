"""What a declaration must keep: each rule with a protocol that breaks it, and the sentence that says so."""

from __future__ import annotations

import pytest
from btrun.protocol import END, Protocol, Role, State
from btrun.protocol.errors import DeclarationError
from msgspec import Struct


class Go(Struct, frozen=True): ...


class Stop(Struct, frozen=True): ...


class Loose(Struct):
    """Not frozen."""


class Vague(Struct, frozen=True):
    """A plain int has no width, so it cannot be encoded."""

    number: int


class send(Struct, frozen=True):
    """A label that handles need for themselves."""


def findings(error: pytest.ExceptionInfo[DeclarationError]) -> str:
    return "\n".join(error.value.findings)


def test_a_protocol_of_two_roles_needs_no_more_than_states_and_messages() -> None:
    class Ping(Protocol):
        """Ping, then pong."""

        left = Role("pings")
        right = Role("pongs")
        start = State("left pings")
        answer = State("right answers")
        start.lets(left, {Go: answer})
        answer.lets(right, {Stop: END})

    assert Ping.graph.meaning == "Ping, then pong."
    assert [row.name for row in Ping.tables["left"].rows] == ["start", "answer", "end"]
    assert Ping.tables["right"].start.accepts == {"Go": Go}


def test_two_choosers_in_a_state_are_refused() -> None:
    with pytest.raises(DeclarationError) as error:

        class Both(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            start.lets(left, {Go: END})
            start.lets(right, {Stop: END})

    assert "left and right may both send in the state start; one role chooses in a state" in findings(error)


def test_a_state_without_messages_is_refused() -> None:
    with pytest.raises(DeclarationError) as error:

        class Dead(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            stuck = State("")
            start.lets(left, {Go: stuck})

    assert "nobody may send in the state stuck" in findings(error)
    assert "no way leads from the state start to the end" in findings(error)


def test_a_state_that_is_never_reached_is_refused() -> None:
    with pytest.raises(DeclarationError) as error:

        class Island(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            island = State("")
            start.lets(left, {Go: END})
            island.lets(right, {Go: END})

    assert error.value.findings == ("the state island is never reached",)


def test_a_session_that_can_never_end_is_refused() -> None:
    with pytest.raises(DeclarationError, match="no way leads from the state start to the end"):

        class Forever(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            back = State("")
            start.lets(left, {Go: back})
            back.lets(right, {Go: start})


def test_a_cycle_in_one_direction_is_refused_since_its_queue_has_no_bound() -> None:
    with pytest.raises(DeclarationError) as error:

        class Flood(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            start.lets(left, {Go: start, Stop: END})

    assert error.value.findings == (
        "the left can send Go in the state start again and again while nothing comes back from the right;"
        " let the right answer within the cycle",
    )


def test_a_cycle_among_three_is_bounded_when_the_answer_comes_round() -> None:
    class Ring(Protocol):
        one = Role("")
        two = Role("")
        three = Role("")
        start = State("")
        second = State("")
        third = State("")
        stopping = State("")
        start.lets(one, {Go: second, Stop: stopping}, to=two)
        second.lets(two, {Go: third}, to=three)
        third.lets(three, {Go: start}, to=one)
        stopping.lets(two, {Stop: END}, to=three)

    assert len(Ring.tables) == 3


def test_a_cycle_among_three_that_leaves_one_behind_is_refused() -> None:
    with pytest.raises(DeclarationError, match="the two can send Go in the state tell again and again"):

        class Behind(Protocol):
            one = Role("")
            two = Role("")
            three = Role("")
            start = State("")
            tell = State("")
            back = State("")
            bye = State("")
            start.lets(one, {Go: tell, Stop: bye}, to=two)
            tell.lets(two, {Go: back}, to=three)
            back.lets(two, {Go: start}, to=one)
            bye.lets(two, {Stop: END}, to=three)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (Loose, "the message Loose is not frozen"),
        (Vague, "the message Vague cannot be encoded"),
        (int, "the message int is not a msgspec Struct"),
        (send, "the message send has a name that its handles need"),
    ],
)
def test_messages_are_frozen_structs_that_can_be_encoded(message: type[Struct], fault: str) -> None:
    with pytest.raises(DeclarationError) as error:

        class Wrong(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            start.lets(left, {message: END})

    assert fault in findings(error)


def test_a_label_means_one_class() -> None:
    other = type("Go", (Struct,), {}, frozen=True)
    with pytest.raises(DeclarationError, match="two classes have the label Go"):

        class Twice(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            back = State("")
            start.lets(left, {Go: back})
            back.lets(right, {other: END})


def test_a_state_has_a_label_once() -> None:
    with pytest.raises(DeclarationError, match="the state start has two messages with the label Go"):

        class Twice(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            start.lets(left, {Go: END})
            start.lets(left, {Go: END})


def test_all_messages_of_a_state_go_to_one_role() -> None:
    with pytest.raises(DeclarationError, match="the state start has messages to three and two"):

        class Split(Protocol):
            one = Role("")
            two = Role("")
            three = Role("")
            start = State("")
            start.lets(one, {Go: END}, to=two)
            start.lets(one, {Stop: END}, to=three)


def test_among_three_roles_the_receiver_must_be_named() -> None:
    with pytest.raises(DeclarationError, match="`to` must say to whom"):

        class Unclear(Protocol):
            one = Role("")
            two = Role("")
            three = Role("")
            start = State("")
            start.lets(one, {Go: END})


def test_a_role_does_not_send_to_itself() -> None:
    with pytest.raises(DeclarationError, match="the left sends Go to itself in the state start"):

        class Mirror(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            start.lets(left, {Go: END}, to=left)


def test_states_of_another_protocol_are_refused() -> None:
    foreign = State("of nobody")
    with pytest.raises(DeclarationError, match=r"State\(\) is not one of its own"):

        class Foreign(Protocol):
            left = Role("")
            right = Role("")
            start = State("")
            start.lets(left, {Go: foreign})


def test_a_role_that_says_and_hears_nothing_is_refused() -> None:
    with pytest.raises(DeclarationError, match="the role third neither sends nor receives"):

        class Idle(Protocol):
            left = Role("")
            right = Role("")
            third = Role("")
            start = State("")
            start.lets(left, {Go: END}, to=right)


def test_a_time_out_is_above_zero() -> None:
    with pytest.raises(DeclarationError, match="the time-out of the state start is 0 seconds"):

        class Hasty(Protocol):
            left = Role("")
            right = Role("")
            start = State("", timeout=0)
            start.lets(left, {Go: END})


@pytest.mark.parametrize("name", ["end", "graph", "tables", "fingerprint", "_hidden"])
def test_names_that_are_taken_are_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"the name {name} is taken"):
        type("Taken", (Protocol,), {name: State("")})


def test_one_state_has_one_name() -> None:
    state = State("")
    with pytest.raises(DeclarationError, match="a and b are one and the same"):
        type("Twice", (Protocol,), {"a": state, "b": state})


def test_a_protocol_without_a_state_is_refused() -> None:
    with pytest.raises(DeclarationError, match="it has no state"):
        type("Empty", (Protocol,), {})


def test_a_protocol_is_neither_extended_nor_instantiated() -> None:
    class Once(Protocol):
        left = Role("")
        right = Role("")
        start = State("")
        start.lets(left, {Go: END})

    with pytest.raises(DeclarationError, match="it derives from another protocol"):
        type("Twice", (Once,), {})
    with pytest.raises(TypeError, match="Once is a declaration"):
        Once()


def test_too_many_roles_are_refused_before_the_checks_that_grow_with_them() -> None:
    roles: dict[str, object] = {f"r{number}": Role("") for number in range(9)}
    start = State("")
    start.lets(roles["r0"], {Go: END}, to=roles["r1"])  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="it has 9 roles; a protocol has 2 to 8"):
        type("Crowd", (Protocol,), {**roles, "start": start})
