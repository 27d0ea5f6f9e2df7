"""For a role that several others open channels to: brings those together that belong to one session.

    gathering = Gathering(Ring, "third", ["first", "second"], serve)
    serve_sessions(router, path, gathering.serve)

Each channel is known by the session that its other side joins, and the role that it plays there. When all that are
meant have come, the program runs with them, by role. One that comes too late, or twice, is refused. What the sides say
about themselves is compared when the program begins its session; here it is only taken down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import anyio
from btlib import Kind

from ._channel import Channel
from ._declaration import Protocol
from ._joining import Heard, hear
from ._versions import AGREE_SECONDS
from .errors import JoiningError, StateTimeoutError

#: Sessions of which some channels have come and others have not. Each costs its channels, and lasts AGREE_SECONDS.
MAX_WAITING = 256


class _Meeting:
    """The channels of one session that have come so far."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.full = anyio.Event()
        self.over = anyio.Event()


class Gathering:
    """The channels to one role, over all its sessions."""

    def __init__(
        self,
        protocol: type[Protocol],
        role: str,
        others: Iterable[str],
        program: Callable[[Mapping[str, Channel]], Awaitable[None]],
    ) -> None:
        """`program`: the role's, with the channels to `others` by role; it opens those to further ones by itself."""
        self._protocol = protocol.__name__
        self._role = role
        self._others = frozenset(others)
        self._program = program
        self._meetings: dict[bytes, _Meeting] = {}
        if unknown := self._others - set(protocol.tables[role].peers):
            raise LookupError(f"the {role} of {self._protocol} has no channel to {', '.join(sorted(unknown))}")

    async def serve(self, channel: Channel) -> None:
        """Take one channel, and have it until its session is over. The last one that comes runs the program.

        Raises JoiningError, StateTimeoutError where others do not come, and what the program raises.
        """
        try:
            joining = await hear(channel, self._protocol)
            meeting = self._meeting(joining.session)
            self._enter(meeting, joining.sender, Heard(channel, joining))
            if meeting.channels.keys() < self._others:
                await self._wait(meeting, joining.session)
                return
        except (JoiningError, StateTimeoutError) as error:
            channel.close(error.kind, error.message)
            raise
        del self._meetings[joining.session]
        meeting.full.set()
        try:
            await self._program(meeting.channels)
        finally:
            meeting.over.set()

    def _meeting(self, session: bytes) -> _Meeting:
        if session not in self._meetings:
            if len(self._meetings) >= MAX_WAITING:
                raise JoiningError(
                    f"{MAX_WAITING} sessions of {self._protocol} wait for their other sides here (MAX_WAITING)",
                    kind=Kind.BUSY,
                    hint="try again",
                )
            self._meetings[session] = _Meeting()
        return self._meetings[session]

    def _enter(self, meeting: _Meeting, role: str, channel: Heard) -> None:
        if role in self._others and role not in meeting.channels:
            meeting.channels[role] = channel
            return
        fault = "is there already" if role in self._others else "is not waited for"
        session = channel.joining.session
        if not meeting.channels:
            del self._meetings[session]
        raise JoiningError(
            f"{channel.peer} joined the session {session.hex()} of {self._protocol} as the {role[:64]}, which {fault}"
        )

    async def _wait(self, meeting: _Meeting, session: bytes) -> None:
        with anyio.move_on_after(AGREE_SECONDS):
            try:
                await meeting.full.wait()
            finally:
                if not meeting.full.is_set():  # nobody comes any more: what has come gives up, each for itself
                    self._meetings.pop(session, None)
        if not meeting.full.is_set():
            missing = ", ".join(sorted(self._others - meeting.channels.keys()))
            raise StateTimeoutError(
                f"no {missing} joined the session {session.hex()} of {self._protocol} within {AGREE_SECONDS:g} seconds"
            )
        await meeting.over.wait()
