"""The joining end's shell: it finds who invited, knocks once, and hands over what comes.

Found is the inviting end at the place that the code names, or by multicast DNS in the local network. Nothing that is
heard there is believed: who does not know the code is noticed.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from btfproto.endpoints.discovery import find
from btlib.errors import BlocktreeError, PairingError
from btlib.kinds import Kind
from btlib.pairing import (
    ANSWER_SECONDS,
    Answered,
    Ended,
    InvitationCode,
    Joiner,
    Reported,
)
from bttp import TcpEndpoint, parse_endpoint

from .errors import CommandError

INVITE_ANEW = "invite anew: bt invite"
SERVICE = "_btjoin._tcp.local."
CONNECT_SECONDS = 10.0
SEARCH_SECONDS = 5.0  #: for multicast DNS: a person waits for it, once
REPORT_SECONDS = 1800.0  #: for access to be given: a large directory is signed anew
READ = 64 * 1024


def announced_name(code: InvitationCode) -> str:
    """What an invitation is called in the local network: its public word."""
    return code.words[0]


def places(code: InvitationCode) -> tuple[TcpEndpoint, ...]:
    """Where the inviting end may be. Raises BlocktreeError where it is to be found nowhere."""
    if code.place is not None:
        named = [code.place]
    else:
        named = list(find(SERVICE, announced_name(code), SEARCH_SECONDS))
    found = tuple(place for text in named if isinstance(place := parse_endpoint(text), TcpEndpoint))
    if not found:
        raise CommandError(
            f"nobody in the local network invites as {announced_name(code)}",
            kind=Kind.UNREACHABLE,
            hint="use the whole code, with what stands after the @; or invite anew",
        )
    return found


def knock(
    code: InvitationCode, request: bytes, where: Sequence[TcpEndpoint], keep: Callable[[bytes], None]
) -> tuple[bytes | None, BlocktreeError | None]:
    """Join with a code. `keep` gets the response, and raises BlocktreeError where it cannot be used.

    Gives the inviting end's report; None, and why, where it was lost after the machine had become a member. Raises
    PairingError where the machine was not let in.
    """
    with _connect(where) as connection:
        return _Knock(Joiner(code, request, os.urandom), connection, keep).run()


def _connect(where: Sequence[TcpEndpoint]) -> socket.socket:
    reason: OSError | None = None
    for place in where:
        try:
            return socket.create_connection((place.host, place.port), CONNECT_SECONDS)
        except OSError as error:
            reason = error
    tried = ", ".join(map(str, where))
    raise CommandError(
        f"nobody answers at {tried}: {reason.strerror or reason if reason else 'no place'}",
        kind=Kind.UNREACHABLE,
        hint="the invitation may be over, as it is after one wrong guess; have it invite anew: bt invite",
    ) from reason


class _Knock:
    """One try, over one connection."""

    def __init__(self, joiner: Joiner, connection: socket.socket, keep: Callable[[bytes], None]) -> None:
        self._joiner = joiner
        self._connection = connection
        self._keep = keep
        self._kept = False
        self._report: bytes | None = None

    def run(self) -> tuple[bytes | None, BlocktreeError | None]:
        try:
            self._talk()
        except BlocktreeError as error:
            if not self._kept:
                raise
            return None, error
        return self._report, None

    def _talk(self) -> None:
        self._send()
        while not self._joiner.closed:
            self._receive()
            while (event := self._joiner.next_event()) is not None:
                if isinstance(event, Answered):
                    self._answered(event)
                elif isinstance(event, Reported):
                    self._report = event.report
                elif isinstance(event, Ended) and event.reason is not None:
                    self._send()
                    raise event.reason
            self._send()

    def _answered(self, event: Answered) -> None:
        try:
            self._keep(event.response)
        except BaseException:
            self._joiner.give_up()
            self._send()
            raise
        self._kept = True
        self._joiner.joined()

    def _receive(self) -> None:
        self._connection.settimeout(REPORT_SECONDS if self._kept else ANSWER_SECONDS)
        try:
            data = self._connection.recv(READ)
        except TimeoutError as error:
            raise PairingError("the inviting end does not answer", kind=Kind.DEADLINE, hint="look there") from error
        except OSError:
            data = b""
        self._joiner.receive_data(data, time.monotonic()) if data else self._joiner.receive_eof()

    def _send(self) -> None:
        with suppress(OSError):  # who does not read any more may have said why: that is read next
            self._connection.sendall(self._joiner.data_to_send())
