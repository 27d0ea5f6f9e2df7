"""The monitor against its table: every (state, event) of every example, and what its errors say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from btlib import Principal
from btrun.protocol import Protocol
from btrun.protocol._monitor import Monitor
from btrun.protocol._table import Row, Table
from btrun.protocol.errors import LocalViolationError, SessionEndedError, ViolationError
from btrun.protocol.examples.transfer import Ask, Commit, Held, Leave, Moved, Transfer
from msgspec import Struct

PEER = Principal(b"p" * 32)


def sample(message: type[Struct]) -> Struct:
    """Some value of the class; its content is of no matter to a monitor."""
    values: dict[Any, Any] = {str: "", bytes: b"", bool: False}
    fields = {field.name: values.get(field.type, 0) for field in msgspec.structs.fields(message)}
    return message(**fields)


def at(table: Table, row: Row) -> Monitor:
    monitor = Monitor(table, dict.fromkeys(table.peers, PEER))
    monitor.row = row
    return monitor


def places(examples: tuple[type[Protocol], ...]) -> Iterator[tuple[Table, Row, type[Struct]]]:
    for protocol in examples:
        messages = dict.fromkeys(move.message for _, move in protocol.graph.moves())
        for table in protocol.tables.values():
            for row in table.rows:
                for message in messages:
                    yield table, row, message


def test_in_every_state_exactly_the_declared_messages_may_be_sent(examples: tuple[type[Protocol], ...]) -> None:
    for table, row, message in places(examples):
        monitor = at(table, row)
        if message in row.sends:
            assert monitor.sending(sample(message)) is row.sends[message]
            assert (monitor.row, monitor.number) == (row.sends[message].then, 1)
        else:
            with pytest.raises(LocalViolationError) as error:
                monitor.sending(sample(message))
            assert error.value.violation.expected == tuple(step.label for step in row.sends.values())
            assert (monitor.row, monitor.number) == (row, 0)


def test_in_every_state_exactly_the_declared_messages_may_be_received(examples: tuple[type[Protocol], ...]) -> None:
    for table, row, message in places(examples):
        monitor = at(table, row)
        if message in row.receives:
            assert monitor.received(sample(message)) is row.receives[message]
            assert (monitor.row, monitor.number) == (row.receives[message].then, 1)
        else:
            with pytest.raises(ViolationError) as error:
                monitor.received(sample(message))
            violation = error.value.violation
            assert (violation.state, violation.got) == (row.name, message.__name__)
            assert violation.expected == tuple(row.accepts)
            assert violation.principal == PEER


def test_a_violation_of_the_other_side_says_everything() -> None:
    monitor = Monitor(Transfer.tables["bank"], {"client": PEER})
    monitor.received(Ask(source="a", target="b", amount=1))
    monitor.sending(Held(fee=1))
    with pytest.raises(ViolationError) as error:
        monitor.received(Leave())
    assert str(error.value) == (
        f"{PEER}, as the client of Transfer, sent Leave in the state held, where the client may send Commit or Abort"
        " (message 3 of the session)"
    )


def test_after_a_violation_nothing_is_allowed_any_more() -> None:
    monitor = Monitor(Transfer.tables["bank"], {"client": PEER})
    with pytest.raises(ViolationError):
        monitor.received(Commit())
    with pytest.raises(ViolationError):
        monitor.received(Leave())
    with pytest.raises(SessionEndedError, match="the session of Transfer is over"):
        monitor.sending(Held(fee=1))


def test_our_own_violation_leaves_the_session_where_it_was() -> None:
    monitor = Monitor(Transfer.tables["client"], {"bank": PEER})
    with pytest.raises(LocalViolationError, match="this program, as the client of Transfer, sent Commit in the state"):
        monitor.sending(Commit())
    assert monitor.sending(Leave()).then.is_end


def test_sending_out_of_turn_is_a_violation_of_the_one_whose_turn_it_is_not() -> None:
    monitor = Monitor(Transfer.tables["client"], {"bank": PEER})
    with pytest.raises(ViolationError, match="as the bank of Transfer, sent Moved in the state ready, where the bank"):
        monitor.received(Moved(balance=1))


def test_a_class_of_the_same_name_is_no_step() -> None:
    forged = cast("type[Struct]", type("Leave", (Struct,), {}, frozen=True))
    monitor = Monitor(Transfer.tables["bank"], {"client": PEER})
    with pytest.raises(ViolationError, match="a message of another class with the same name"):
        monitor.received(forged())
