"""The fingerprint changes with everything that matters on the wire, and with nothing else."""

from __future__ import annotations

from btrun.protocol import END, Protocol, Role, State
from msgspec import Struct


class Go(Struct, frozen=True):
    name: str


class Stop(Struct, frozen=True): ...


def protocol(
    *, name: str = "Some", roles: tuple[str, str] = ("left", "right"), go: type[Struct] = Go, loops: bool = False
) -> int:
    first, second = Role("one"), Role("two")
    start, back = State(""), State("")
    start.lets(first, {go: back, Stop: END})
    back.lets(second, {Stop: start if loops else END})
    members = {roles[0]: first, roles[1]: second, "start": start, "back": back}
    made: type[Protocol] = type(name, (Protocol,), members)
    return made.fingerprint


def test_all_that_the_wire_shows_enters() -> None:
    class Go(Struct, frozen=True):
        title: str

    class Go2(Struct, frozen=True):
        name: str

    variants = [
        protocol(),
        protocol(name="Other"),
        protocol(roles=("left", "up")),
        protocol(go=Go),
        protocol(go=Go2),
        protocol(loops=True),
    ]
    assert len(set(variants)) == len(variants)


def test_names_of_states_meanings_order_and_time_outs_do_not() -> None:
    class Some(Protocol):
        """Explained at length."""

        right = Role("explained")
        left = Role("explained")
        waiting = State("explained", timeout=3)
        answering = State("explained")
        answering.lets(right, {Stop: END})
        waiting.lets(left, {Stop: END, Go: answering})

    assert Some.fingerprint == protocol()


def test_a_copy_of_a_message_class_is_the_same_message() -> None:
    copied = type("Go", (Struct,), {"__annotations__": {"name": str}}, frozen=True)
    assert protocol(go=copied) == protocol()
