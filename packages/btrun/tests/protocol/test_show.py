"""The texts for people."""

from __future__ import annotations

from pathlib import Path

import pytest
from btrun.protocol import diagram, show
from btrun.protocol.examples.transfer import Transfer
from btrun.protocol.examples.two_phase import TwoPhase


def test_a_protocol_is_shown_with_its_roles_states_and_messages() -> None:
    assert (
        show(Transfer)
        == f"""\
Transfer (version {Transfer.fingerprint:016x})
  Money moves from one account to another, or nothing happens.

roles
  client  wants money moved
  bank    keeps the accounts

ready: the client asks for a transfer, or leaves
  client → bank  Ask    then asked
  client → bank  Leave  then end

asked: the bank looks whether the money is there
  bank → client  Held     then held
  bank → client  Refused  then ready

held: the amount is set aside until the client decides (within 60 s)
  client → bank  Commit  then committing
  client → bank  Abort   then aborting

committing: the bank moves the amount
  bank → client  Moved  then ready

aborting: the bank gives the amount back
  bank → client  Released  then ready
"""
    )


def test_one_role_is_shown_as_it_sees_the_protocol() -> None:
    text = show(TwoPhase, "second")
    assert text.startswith("TwoPhase as the second sees it")
    assert "  send to coordinator  Unable  then aborting\n" in text
    assert "first" not in text.replace("the second answers, the first is", "")


def test_the_diagram_has_an_arrow_for_each_message() -> None:
    lines = diagram(Transfer).splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    [*] --> ready" in lines
    assert "    ready --> asked: client → bank Ask" in lines
    assert "    ready --> [*]: client → bank Leave" in lines
    assert len(lines) == 2 + len(list(Transfer.graph.moves()))


def test_the_diagram_of_a_role_says_what_it_sends_and_receives() -> None:
    lines = diagram(Transfer, "bank").splitlines()
    assert "    ready --> asked: client?Ask" in lines
    assert "    committing --> ready: client!Moved" in lines


def test_an_unknown_role_is_an_error() -> None:
    with pytest.raises(KeyError):
        show(Transfer, "thief")
    with pytest.raises(KeyError):
        diagram(Transfer, "thief")


def test_the_diagram_in_the_documentation_is_the_one_that_is_made() -> None:
    document = Path(__file__).parents[4] / "docs" / "protocols.md"
    assert f"```mermaid\n{diagram(Transfer)}```\n" in document.read_text(encoding="utf-8")
