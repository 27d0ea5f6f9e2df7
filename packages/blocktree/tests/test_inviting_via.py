"""The inviting end at a relay: what a joiner says reaches it, however it comes."""

from __future__ import annotations

import os
import socket
import threading
import time

from blocktree.inviting import let_one_in
from btlib.pairing import Answered, FrameKind, Invitation, InvitationCode, Joiner, Reported, frame
from bttp import TcpEndpoint

SECONDS = 20.0  #: far more than it takes; a hanging one shall fail


class Host:
    """Answers whatever is asked."""

    def respond(self, request: bytes) -> bytes:
        return b"answer to " + request

    def joined(self) -> bytes:
        return b"report"


def relay(listener: socket.socket, joiner: Joiner, said: list[bytes]) -> None:
    """A relay to which the joiner comes at once: its first word follows that of the relay in the same bytes."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(SECONDS)
        connection.recv(1024)
        connection.sendall(frame(FrameKind.WAITING) + joiner.data_to_send())
        while not joiner.closed and (data := connection.recv(1024)):
            joiner.receive_data(data, time.monotonic())
            while (event := joiner.next_event()) is not None:
                if isinstance(event, Answered):
                    said.append(event.response)
                    joiner.joined()
                elif isinstance(event, Reported):
                    said.append(event.report)
            connection.sendall(joiner.data_to_send())


def test_a_joiner_that_comes_right_behind_the_relays_word_is_heard() -> None:
    code, said = InvitationCode.generate(os.urandom), list[bytes]()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        there = threading.Thread(target=relay, args=(listener, Joiner(code, b"request", os.urandom), said))
        there.start()
        place = TcpEndpoint(*listener.getsockname()[:2])
        let_one_in(Invitation(code, expires=time.monotonic() + SECONDS / 4), place, Host())
        there.join()
    assert said == [b"answer to request", b"report"]
