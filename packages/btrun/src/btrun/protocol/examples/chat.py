"""A chat room. Both sides of a session never speak at once, so a member speaks in one and listens in another."""

from __future__ import annotations

from btserde import U64
from msgspec import Struct

from btrun.protocol import END, Protocol, Role, State


class Enter(Struct, frozen=True, kw_only=True):
    """Let me in under this name."""

    name: str


class Welcome(Struct, frozen=True, kw_only=True):
    """Who is here already."""

    members: tuple[str, ...]


class NameTaken(Struct, frozen=True, kw_only=True):
    """Somebody else has the name; try another."""


class Say(Struct, frozen=True, kw_only=True):
    """To everyone in the room."""

    text: str


class Said(Struct, frozen=True, kw_only=True):
    """The room has it, as line `number`."""

    number: U64


class Listen(Struct, frozen=True, kw_only=True):
    """What is said after line `number`; waits until there is something."""

    number: U64


class Line(Struct, frozen=True):
    """One line of the room."""

    number: U64
    name: str
    text: str


class Heard(Struct, frozen=True, kw_only=True):
    """Lines in order, without a gap."""

    lines: tuple[Line, ...]


class Silence(Struct, frozen=True, kw_only=True):
    """Nothing was said for a while."""


class Goodbye(Struct, frozen=True, kw_only=True):
    """Leaves the room."""


class Chat(Protocol):
    """One member's session with a room."""

    member = Role("speaks or listens")
    room = Role("orders what is said, and repeats it to all")

    outside = State("the member asks to come in, or gives up")
    knocking = State("the room looks whether the name is free")
    inside = State("the member speaks, listens, or leaves")
    speaking = State("the room puts the line in its place")
    listening = State("the room waits for a line", timeout=60)

    outside.lets(member, {Enter: knocking, Goodbye: END})
    knocking.lets(room, {Welcome: inside, NameTaken: outside})
    inside.lets(member, {Say: speaking, Listen: listening, Goodbye: END})
    speaking.lets(room, {Said: inside})
    listening.lets(room, {Heard: inside, Silence: inside})
