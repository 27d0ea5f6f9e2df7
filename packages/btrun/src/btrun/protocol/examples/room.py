"""Both sides of `chat` as programs: a room that orders what is said, and what a member does."""

from __future__ import annotations

import anyio

from btrun.protocol import Channel

from .chat import Enter, Goodbye, Heard, Line, Listen, NameTaken, Said, Say, Silence, Welcome
from .chat_handles import (
    MemberInside,
    MemberKnocking,
    MemberListening,
    RoomInside,
    RoomListening,
    RoomOutside,
    as_member,
    as_room,
)


class Room:
    """What was said, in order, and who is in. A name may be used by one person in several sessions."""

    def __init__(self, *, patience: float = 30) -> None:
        self.lines: list[Line] = []
        self.members: dict[str, str] = {}  # name → the principal that has it
        self._patience = patience
        self._spoken = anyio.Event()

    async def serve(self, channel: Channel) -> None:
        async with as_room(channel) as outside:
            while True:
                match await outside.receive():
                    case RoomOutside.Goodbye():
                        return
                    case RoomOutside.Enter(enter, knocking):
                        if self.members.setdefault(enter.name, str(channel.peer)) != str(channel.peer):
                            outside = await knocking.send(NameTaken())
                        else:
                            welcome = Welcome(members=tuple(sorted(self.members)))
                            await self._inside(enter.name, await knocking.send(welcome))
                            return

    async def _inside(self, name: str, inside: RoomInside) -> None:
        while True:
            match await inside.receive():
                case RoomInside.Goodbye():
                    return
                case RoomInside.Say(say, speaking):
                    inside = await speaking.send(Said(number=self._put(name, say.text)))
                case RoomInside.Listen(listen, listening):
                    inside = await self._tell(listen.number, listening)

    def _put(self, name: str, text: str) -> int:
        self.lines.append(Line(len(self.lines) + 1, name, text))
        self._spoken.set()
        self._spoken = anyio.Event()
        return len(self.lines)

    async def _tell(self, number: int, listening: RoomListening) -> RoomInside:
        with anyio.move_on_after(self._patience):
            while len(self.lines) <= number:
                await self._spoken.wait()
        if len(self.lines) <= number:
            return await listening.send(Silence())
        return await listening.send(Heard(lines=tuple(self.lines[number:])))


async def enter(knock: MemberKnocking) -> MemberInside:
    """Come in, or raise LookupError when the name is taken."""
    match await knock.receive():
        case MemberKnocking.Welcome(_, inside):
            return inside
        case MemberKnocking.NameTaken(_, outside):
            await outside.send(Goodbye())
            raise LookupError("the name is taken")


async def speak(channel: Channel, name: str, *texts: str) -> list[int]:
    """Say each text; gives the numbers of the lines."""
    numbers = []
    async with as_member(channel) as outside:
        inside = await enter(await outside.send(Enter(name=name)))
        for text in texts:
            said, inside = await (await inside.send(Say(text=text))).receive()
            numbers.append(said.number)
        await inside.send(Goodbye())
    return numbers


async def listen(channel: Channel, name: str, *, lines: int) -> list[Line]:
    """The first `lines` lines of the room."""
    heard: list[Line] = []
    async with as_member(channel) as outside:
        inside = await enter(await outside.send(Enter(name=name)))
        while len(heard) < lines:
            listening = await inside.send(Listen(number=len(heard)))
            match await listening.receive():
                case MemberListening.Heard(news, inside):
                    heard += news.lines
                case MemberListening.Silence(_, inside):
                    pass
        await inside.send(Goodbye())
    return heard
