"""What each role of a protocol among many must know, and the protocols in which it cannot."""

from __future__ import annotations

import pytest
from btrun.protocol import END, Protocol, Role, State
from btrun.protocol._table import Table
from btrun.protocol.errors import DeclarationError
from btrun.protocol.examples.transfer import Transfer
from btrun.protocol.examples.two_phase import TwoPhase
from msgspec import Struct


class Yes(Struct, frozen=True): ...


class No(Struct, frozen=True): ...


class Tell(Struct, frozen=True): ...


def rows(table: Table) -> list[str]:
    """The table as lines: state, ! or ?, peer, label, next state."""
    return [
        f"{row.name} {'!' if row.sends else '?'}{step.peer} {step.label} {step.then.name}"
        for row, step in table.steps()
    ]


def test_between_two_roles_the_tables_are_duals() -> None:
    client, bank = Transfer.tables["client"], Transfer.tables["bank"]
    mirrored = [line.translate(str.maketrans("!?", "?!")).replace("bank", "client") for line in rows(client)]
    assert mirrored == rows(bank)


def test_a_participant_of_two_phase_commit_sees_only_its_own_part() -> None:
    assert rows(TwoPhase.tables["second"]) == [
        "asking ?coordinator Prepare voting_ready_or_voting_unable",
        "voting_ready_or_voting_unable !coordinator Ready committing_or_aborting",
        "voting_ready_or_voting_unable !coordinator Unable aborting",
        "committing_or_aborting ?coordinator Commit second_done",
        "committing_or_aborting ?coordinator Abort second_done",
        "aborting ?coordinator Abort second_done",
        "second_done !coordinator Done end",
    ]


def test_a_role_that_cannot_know_what_was_chosen_is_refused() -> None:
    with pytest.raises(DeclarationError) as error:

        class Secret(Protocol):
            """Two chooses, and three must act on it although nobody told it."""

            one = Role("")
            two = Role("")
            three = Role("")
            start = State("")
            after_yes = State("")
            after_no = State("")
            start.lets(one, {Yes: after_yes, No: after_no}, to=two)
            after_yes.lets(three, {Yes: END}, to=one)
            after_no.lets(three, {No: END}, to=one)

    assert error.value.findings == ("the three does not know what it may send: it may be in after_yes or after_no",)


def test_a_role_that_never_learns_that_the_session_is_over_is_refused() -> None:
    with pytest.raises(DeclarationError, match="the three may be in telling when the session is already over"):

        class Forgotten(Protocol):
            one = Role("")
            two = Role("")
            three = Role("")
            start = State("")
            telling = State("")
            start.lets(one, {Yes: telling, No: END}, to=two)
            telling.lets(two, {Tell: END}, to=three)


def test_a_role_that_cannot_tell_who_speaks_next_is_refused() -> None:
    with pytest.raises(DeclarationError, match="the three cannot tell whether one or two sends next"):

        class Either(Protocol):
            one = Role("")
            two = Role("")
            three = Role("")
            start = State("")
            by_one = State("")
            by_two = State("")
            start.lets(one, {Yes: by_one, No: by_two}, to=two)
            by_one.lets(one, {Tell: END}, to=three)
            by_two.lets(two, {Tell: END}, to=three)


def test_branches_merge_where_a_role_hears_the_difference_later() -> None:
    class Merged(Protocol):
        one = Role("")
        two = Role("")
        three = Role("")
        start = State("")
        telling_yes = State("")
        telling_no = State("")
        start.lets(one, {Yes: telling_yes, No: telling_no}, to=two)
        telling_yes.lets(two, {Yes: END}, to=three)
        telling_no.lets(two, {No: END}, to=three)

    assert rows(Merged.tables["three"]) == [
        "telling_yes_or_telling_no ?two Yes end",
        "telling_yes_or_telling_no ?two No end",
    ]


def test_a_merged_state_has_the_longest_of_its_time_outs_or_none() -> None:
    second = {row.name: row.timeout for row in TwoPhase.tables["second"].rows}
    assert second["voting_ready_or_voting_unable"] == 10
    assert second["committing_or_aborting"] is None
