"""`bt protocol`: declarations shown, compared and turned into handles."""

from __future__ import annotations

from pathlib import Path

import pytest
from btrun.protocol.examples.transfer import Transfer

from .conftest import Machine

TRANSFER = "btrun.protocol.examples.transfer:Transfer"

DECLARED = """\
from msgspec import Struct
from btrun.protocol import END, Protocol, Role, State

class Go(Struct, frozen=True):
    name: str

class Stop(Struct, frozen=True):
    pass

class Ping(Protocol):
    left = Role("pings")
    right = Role("pongs")
    start = State("left pings")
    answer = State("right answers")
    start.lets(left, {Go: answer})
    answer.lets(right, {Stop: END})
"""


@pytest.fixture
def ping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bt_protocol_ping.py"
    file.write_text(DECLARED)
    return file


def test_a_protocol_is_shown(laptop: Machine) -> None:
    text = laptop("protocol", "show", TRANSFER).out
    assert text.startswith(f"Transfer (version {Transfer.fingerprint:016x})\n")
    assert "  client → bank  Ask    then asked\n" in text


def test_what_one_role_sees_is_shown(laptop: Machine) -> None:
    assert "  receive from client  Ask    then asked\n" in laptop("protocol", "show", "--role", "bank", TRANSFER).out
    assert "its roles: client, bank" in laptop("protocol", "show", "--role", "thief", TRANSFER, code=1).err


def test_a_diagram_is_printed(laptop: Machine) -> None:
    assert laptop("protocol", "diagram", TRANSFER).out.startswith("stateDiagram-v2\n    [*] --> ready\n")
    document = laptop("protocol", "diagram", "--json", TRANSFER).document
    assert document["fingerprint"] == f"{Transfer.fingerprint:016x}"


def test_a_change_that_breaks_something_exits_with_1(laptop: Machine, ping: Path) -> None:
    new = ping.with_name("new.py")
    new.write_text(DECLARED.replace("{Stop: END}", "{Stop: END, Go: END}"))
    done = laptop("protocol", "diff", f"{ping}:Ping", f"{new}:Ping", code=1)
    assert "  breaks: in answer it may now get Go, which an old one does not know\n" in done.out
    assert done.out.endswith("change left first; the others may stay old until later\n")
    assert laptop("protocol", "diff", "--json", f"{ping}:Ping", f"{new}:Ping", code=1).document["changes"] == [
        {"role": "left", "safe": False, "text": "in answer it may now get Go, which an old one does not know"},
        {"role": "right", "safe": True, "text": "in answer it may now also send Go; an old one never does"},
    ]
    assert "the same on the wire" in laptop("protocol", "diff", f"{ping}:Ping", f"{ping}:Ping").out


def test_handles_are_written_beside_the_declaration_and_checked(laptop: Machine, ping: Path) -> None:
    handles = ping.with_name("bt_protocol_ping_handles.py")
    assert laptop.process("protocol", "handles", "--check", "bt_protocol_ping:Ping", code=1).out.endswith("differs\n")
    assert not handles.exists()
    assert laptop.process("protocol", "handles", "bt_protocol_ping:Ping").out == f"{handles} written\n"
    assert "class LeftStart(Handle):" in handles.read_text()
    assert "is as it should be" in laptop.process("protocol", "handles", "--check", "bt_protocol_ping:Ping").out


@pytest.mark.parametrize(
    ("declaration", "text"),
    [
        ("Transfer", "Transfer names no protocol; write MODULE:NAME"),
        ("btrun.nothing:Transfer", "the module btrun.nothing cannot be imported"),
        ("nothing.py:Transfer", "there is no file nothing.py"),
        ("btrun.protocol.examples.transfer:Ask", "has no protocol Ask; its protocols: Transfer"),
        ("btrun.protocol.examples.transfer:Other", "has no protocol Other; its protocols: Transfer"),
    ],
)
def test_what_is_no_declaration_is_named(laptop: Machine, declaration: str, text: str) -> None:
    done = laptop("protocol", "show", declaration, code=2 if declaration == "Transfer" else 1)
    assert text in done.err


def test_a_declaration_that_cannot_work_says_why(laptop: Machine, ping: Path) -> None:
    ping.write_text(DECLARED.replace("{Stop: END}", "{Stop: answer}"))
    done = laptop("protocol", "show", f"{ping}:Ping", code=2)
    assert "no way leads from the state start to the end" in done.err


def test_handles_of_a_file_that_is_no_module_are_refused(laptop: Machine, ping: Path) -> None:
    done = laptop("protocol", "handles", f"{ping}:Ping", code=2)
    assert "name it as a module: MODULE:NAME" in done.err


@pytest.mark.parametrize(
    ("text", "told"), [("from .messages import Go\n", "; name it as a module"), ("class Ping(\n", "was never closed")]
)
def test_a_file_that_cannot_be_imported_is_no_defect_of_bt(laptop: Machine, ping: Path, text: str, told: str) -> None:
    ping.write_text(text)
    done = laptop("protocol", "show", f"{ping}:Ping", code=1)
    assert f"{ping} cannot be imported" in done.err
    assert told in done.err
