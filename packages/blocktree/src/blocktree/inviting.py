"""The inviting end's shell: it listens as long as its invitation lasts, and lets one machine in.

Everyone who can reach the port may knock; so talks are few at once, short until their request, and cost some
milliseconds each. What a request and the rest lead to, is the `Host`'s.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Protocol

from btlib.errors import BlocktreeError, PairingError
from btlib.kinds import Kind
from btlib.pairing import (
    ANSWER_SECONDS,
    TALK_SECONDS,
    Asked,
    Ended,
    FrameKind,
    FrameReader,
    Invitation,
    InvitationState,
    InviterTalk,
    Joined,
    Refusal,
    frame,
    heard,
    wait_frame,
)
from bttp import TcpEndpoint, parse_endpoint

from .errors import CommandError

MAX_TALKS = 8  #: at once; more are told to try again
BACKLOG = 8
BUSY_SECONDS = 1.0  #: for what one that is too many has to say, before it is sent away
ACCEPT_PAUSE = 0.1
READ = 64 * 1024
MEET = "name a btfsd that has `meetings.listen`, or leave --via out"
EVERYWHERE = "0.0.0.0:0"  #: any free port, at all addresses
_WILDCARDS = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}  #: and addresses set aside for documents


class Host(Protocol):
    """What the inviting machine does for the one that knew the code. Both raise BlocktreeError where they cannot."""

    def respond(self, request: bytes) -> bytes:
        """The answer to a request."""

    def joined(self) -> bytes:
        """The other machine is a member; do the rest, and give the report of it."""


@contextmanager
def listening(where: str) -> Iterator[socket.socket]:
    """A listening socket. Raises CommandError."""
    place = parse_endpoint(where)
    if not isinstance(place, TcpEndpoint):
        raise CommandError(
            f"{where} is no HOST:PORT, and an invitation waits at one",
            kind=Kind.INVALID,
            hint="use: --listen 192.168.1.5:7465, or leave it out",
        )
    try:
        family, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise CommandError(
            f"cannot listen at {where}: {error.strerror or error}",
            kind=Kind.UNREACHABLE,
            hint="name an address of this machine and a free port, or leave --listen out",
        ) from error
    with listener:
        listener.setblocking(False)
        yield listener


def reached_at(listener: socket.socket) -> TcpEndpoint:
    """Where others reach a listening socket, as far as this machine can know."""
    host, port = listener.getsockname()[:2]
    if host not in _WILDCARDS:
        return TcpEndpoint(host, port)
    with socket.socket(listener.family, socket.SOCK_DGRAM) as probe:  # pointed elsewhere, and nothing is sent
        try:
            probe.connect((_WILDCARDS[host], 9))
            return TcpEndpoint(probe.getsockname()[0], port)
        except OSError:
            return TcpEndpoint(socket.gethostname(), port)


def let_one_in(
    invitation: Invitation, where: socket.socket | TcpEndpoint, host: Host, ready: Callable[[], None] = lambda: None
) -> None:
    """Wait until one machine has joined. `invitation` counts in seconds of `time.monotonic`.

    `where` is a listening socket, or the relay of a btfsd. `ready` is called when others can come.

    Raises PairingError (UNAUTHENTICATED: a wrong guess; EXPIRED: nobody came; else: the one that knew the code did not
    get to the end), CommandError where the relay cannot be used, and what `host` raises.
    """
    asyncio.run(_Waiting(invitation, where, host, ready).run())


class _Waiting:
    """The time between an invitation's beginning and its end."""

    def __init__(
        self, invitation: Invitation, where: socket.socket | TcpEndpoint, host: Host, ready: Callable[[], None]
    ) -> None:
        self._invitation = invitation
        self._where = where
        self._host = host
        self._ready = ready
        self._talks: dict[InviterTalk, asyncio.StreamWriter] = {}
        self._over = asyncio.Event()
        self._failure: BlocktreeError | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            coming = (
                self._accept(group, self._where) if isinstance(self._where, socket.socket) else self._visit(self._where)
            )
            receiving = group.create_task(coming)
            try:
                await self._wait()
            finally:
                receiving.cancel()
                self._send_away()
        if self._failure is not None:
            raise self._failure

    async def _wait(self) -> None:
        """Until the guess was spent and its talk has ended, or the time is over with it unspent."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), self._invitation.expires - time.monotonic())
            return
        self._invitation.handle_timeout(time.monotonic())
        if self._invitation.state is InvitationState.EXPIRED:
            self._failure = PairingError(
                "nobody came, and the code has expired", kind=Kind.EXPIRED, hint="invite anew: bt invite"
            )
            return
        await self._over.wait()

    def _send_away(self) -> None:
        for talk, writer in self._talks.items():
            talk.recheck(time.monotonic())
            if not talk.closed:
                talk.give_up()
            writer.write(talk.data_to_send())
            writer.close()

    async def _visit(self, relay: TcpEndpoint) -> None:
        """Wait at a relay, which sends one joiner after the other."""
        try:
            while not self._over.is_set():
                reader, writer = await asyncio.open_connection(relay.host, relay.port)
                with closing(writer):
                    writer.write(wait_frame(self._invitation.code.meeting))
                    first = await _until_waiting(reader)
                    self._ready()
                    self._ready = _nothing
                    first = first or await reader.read(READ)
                    if not first:
                        raise CommandError(
                            f"the meeting place at {relay} is gone",
                            kind=Kind.UNREACHABLE,
                            hint="invite anew: bt invite",
                        )
                    await self._talk(reader, writer, first)
        except OSError as error:
            why = error.strerror or error
            self._failure = CommandError(
                f"no meeting place answers at {relay}: {why}", kind=Kind.UNREACHABLE, hint=MEET
            )
        except BlocktreeError as error:
            self._failure = error
        self._over.set()

    async def _accept(self, group: asyncio.TaskGroup, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._ready()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:  # that one is gone already, or this process has too many files open
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            try:
                streams = await asyncio.open_connection(sock=connection)
            except BaseException:
                connection.close()
                raise
            group.create_task(self._serve(*streams))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._talks) >= MAX_TALKS:
                with suppress(TimeoutError, OSError):  # what is left unread would reset the connection, and hide why
                    await asyncio.wait_for(reader.read(READ), BUSY_SECONDS)
                writer.write(frame(FrameKind.REFUSAL, bytes([Refusal.BUSY])))
                return
            await self._talk(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"") -> None:
        talk = self._invitation.talk(os.urandom)
        self._talks[talk] = writer
        try:
            await self._converse(talk, reader, writer, first)
        finally:
            del self._talks[talk]

    async def _converse(
        self, talk: InviterTalk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes
    ) -> None:
        """One talk, to its end; `first` came already. Its failure is the invitation's, where it spent the guess."""
        loop, spent, failure = asyncio.get_running_loop(), False, None
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(TALK_SECONDS) as patience:
                while not talk.closed:
                    data, first = first or await reader.read(READ), b""
                    before = self._invitation.state
                    talk.receive_data(data, time.monotonic()) if data else talk.receive_eof()
                    spent = spent or (before is InvitationState.OPEN and self._invitation.state in _SPENT)
                    while (event := talk.next_event()) is not None:
                        failure = self._react(talk, event)
                    patience.reschedule(loop.time() + ANSWER_SECONDS if spent else patience.when())
                    writer.write(talk.data_to_send())
                    await writer.drain()
        if spent:
            lost = not talk.closed or (failure is not None and failure.kind is Kind.UNREACHABLE)
            self._failure = _silent() if lost else failure
            self._over.set()

    def _react(self, talk: InviterTalk, event: Asked | Joined | Ended) -> BlocktreeError | None:
        """Do what an event asks for, while others wait: they are too late. Gives the failure that ends the talk."""
        if isinstance(event, Ended):
            return event.reason
        try:
            if isinstance(event, Asked):
                talk.respond(self._host.respond(event.request))
            else:
                talk.report(self._host.joined())
        except BlocktreeError as error:
            talk.give_up()
            talk.next_event()
            return error
        return None


async def _until_waiting(reader: asyncio.StreamReader) -> bytes:
    """Wait for a relay's word that others find this end; what a joiner said right behind it. Raises PairingError or
    CommandError where it says no."""
    said = FrameReader()
    async with asyncio.timeout(TALK_SECONDS):
        while (found := said.next_frame()) is None:
            data = await reader.read(READ)
            if not data:
                raise CommandError("what answers is no meeting place", kind=Kind.PROTOCOL, hint=MEET)
            said.feed(data)
    if found.kind is FrameKind.REFUSAL:
        raise heard(found.body[0])
    if found.kind is not FrameKind.WAITING:
        raise CommandError("what answers is no meeting place", kind=Kind.PROTOCOL, hint=MEET)
    return said.rest()


def _nothing() -> None:
    """Others were told already."""


_SPENT = (InvitationState.TAKEN, InvitationState.BURNT)


def _silent() -> PairingError:
    return PairingError(
        "the other machine knew the code, and was lost before it said that it is a member",
        kind=Kind.UNREACHABLE,
        hint="look there, and invite anew: bt invite",
    )
