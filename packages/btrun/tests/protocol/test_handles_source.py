"""The generated modules: what is checked in is what would be generated now, and it is stable."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from btrun.protocol import END, Protocol, Role, Side, State, handles_source
from btrun.protocol.errors import DeclarationError
from btrun.protocol.examples.transfer import Leave, Transfer


def test_the_handles_of_each_example_are_those_that_are_checked_in(examples: tuple[type[Protocol], ...]) -> None:
    for protocol in examples:
        module = importlib.import_module(f"{protocol.__module__}_handles")
        assert module.__file__ is not None
        text = Path(module.__file__).read_text(encoding="utf-8")
        assert text == handles_source(protocol), f"run: bt protocol handles {protocol.__module__}:{protocol.__name__}"


def test_each_role_has_a_side(examples: tuple[type[Protocol], ...]) -> None:
    for protocol in examples:
        module = importlib.import_module(f"{protocol.__module__}_handles")
        for role in protocol.graph.roles:
            side = getattr(module, f"as_{role}")
            assert isinstance(side, Side)
            assert side.role == role


@pytest.mark.parametrize(
    "lines",
    [
        "class ClientReady(Handle):",
        '    """As the client: the client asks for a transfer, or leaves."""',
        "    def send(self, message: declared.Ask) -> Taking[ClientAsked]: ...",
        "    def receive(self) -> Taking[Held | Refused]:",
        "    def send(self, message: declared.Moved) -> Taking[BankReady]:",
        "import btrun.protocol.examples.transfer as declared",
    ],
)
def test_handles_say_what_may_be_done(lines: str) -> None:
    assert lines in handles_source(Transfer).splitlines()


def test_two_states_that_would_have_one_class_are_refused() -> None:
    class Clash(Protocol):
        a = Role("")
        a_b = Role("")
        b_c = State("")
        c = State("")
        b_c.lets(a, {Leave: c})
        c.lets(a_b, {Leave: END})

    with pytest.raises(DeclarationError, match="two handles would be called ABC"):
        handles_source(Clash)
