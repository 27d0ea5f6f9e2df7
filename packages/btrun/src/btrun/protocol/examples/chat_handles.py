"""Handles of Chat: what each role may do in each of its states.

Generated from btrun.protocol.examples.chat; do not edit. To make it again:
bt protocol handles btrun.protocol.examples.chat:Chat
"""

# fmt: off
# ruff: noqa

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple, overload

from msgspec import Struct

import btrun.protocol.examples.chat as declared
from btrun.protocol import Ended, Handle, Side, Taking

FINGERPRINT: Final = 0x453F9F7D05C4BCD9


class MemberOutside(Handle):
    """As the member: the member asks to come in, or gives up."""

    state: ClassVar[str] = "outside"

    __slots__ = ()

    @overload
    def send(self, message: declared.Enter) -> Taking[MemberKnocking]: ...

    @overload
    def send(self, message: declared.Goodbye) -> Taking[Ended]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class MemberKnocking(Handle):
    """As the member: the room looks whether the name is free."""

    state: ClassVar[str] = "knocking"

    __slots__ = ()

    class Welcome(NamedTuple):
        message: declared.Welcome
        then: MemberInside

    class NameTaken(NamedTuple):
        message: declared.NameTaken
        then: MemberOutside

    def receive(self) -> Taking[Welcome | NameTaken]:
        return self._receive()


class MemberInside(Handle):
    """As the member: the member speaks, listens, or leaves."""

    state: ClassVar[str] = "inside"

    __slots__ = ()

    @overload
    def send(self, message: declared.Say) -> Taking[MemberSpeaking]: ...

    @overload
    def send(self, message: declared.Listen) -> Taking[MemberListening]: ...

    @overload
    def send(self, message: declared.Goodbye) -> Taking[Ended]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class MemberSpeaking(Handle):
    """As the member: the room puts the line in its place."""

    state: ClassVar[str] = "speaking"

    __slots__ = ()

    class Said(NamedTuple):
        message: declared.Said
        then: MemberInside

    def receive(self) -> Taking[Said]:
        return self._receive()


class MemberListening(Handle):
    """As the member: the room waits for a line."""

    state: ClassVar[str] = "listening"

    __slots__ = ()

    class Heard(NamedTuple):
        message: declared.Heard
        then: MemberInside

    class Silence(NamedTuple):
        message: declared.Silence
        then: MemberInside

    def receive(self) -> Taking[Heard | Silence]:
        return self._receive()


class RoomOutside(Handle):
    """As the room: the member asks to come in, or gives up."""

    state: ClassVar[str] = "outside"

    __slots__ = ()

    class Enter(NamedTuple):
        message: declared.Enter
        then: RoomKnocking

    class Goodbye(NamedTuple):
        message: declared.Goodbye
        then: Ended

    def receive(self) -> Taking[Enter | Goodbye]:
        return self._receive()


class RoomKnocking(Handle):
    """As the room: the room looks whether the name is free."""

    state: ClassVar[str] = "knocking"

    __slots__ = ()

    @overload
    def send(self, message: declared.Welcome) -> Taking[RoomInside]: ...

    @overload
    def send(self, message: declared.NameTaken) -> Taking[RoomOutside]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class RoomInside(Handle):
    """As the room: the member speaks, listens, or leaves."""

    state: ClassVar[str] = "inside"

    __slots__ = ()

    class Say(NamedTuple):
        message: declared.Say
        then: RoomSpeaking

    class Listen(NamedTuple):
        message: declared.Listen
        then: RoomListening

    class Goodbye(NamedTuple):
        message: declared.Goodbye
        then: Ended

    def receive(self) -> Taking[Say | Listen | Goodbye]:
        return self._receive()


class RoomSpeaking(Handle):
    """As the room: the room puts the line in its place."""

    state: ClassVar[str] = "speaking"

    __slots__ = ()

    def send(self, message: declared.Said) -> Taking[RoomInside]:
        return self._send(message)


class RoomListening(Handle):
    """As the room: the room waits for a line."""

    state: ClassVar[str] = "listening"

    __slots__ = ()

    @overload
    def send(self, message: declared.Heard) -> Taking[RoomInside]: ...

    @overload
    def send(self, message: declared.Silence) -> Taking[RoomInside]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


as_member: Final = Side(
    declared.Chat,
    "member",
    MemberOutside,
    (MemberKnocking, MemberInside, MemberSpeaking, MemberListening),
    fingerprint=FINGERPRINT,
)

as_room: Final = Side(
    declared.Chat,
    "room",
    RoomOutside,
    (RoomKnocking, RoomInside, RoomSpeaking, RoomListening),
    fingerprint=FINGERPRINT,
)
