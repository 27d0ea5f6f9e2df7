"""A kernel made of a socket pair, for tests of the loop and its handlers: no mount, no root."""

from __future__ import annotations

import os
import socket
import threading

from btfuse._context import Context
from btfuse._mount import register_handlers
from btfuse._protocol import ENTRY_OUT, IN_HEADER, OPEN_IN, OPEN_OUT, OUT_HEADER, Opcode
from btfuse._session import Session

Answer = tuple[int, bytes]


class SocketKernel:
    """Sends requests and reads answers, as `/dev/fuse` would."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.ready = threading.Event()
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._ours, self._theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._session = Session(self._theirs.fileno(), self.context, self.ready.set)
        self._locks = register_handlers(self._session, self.context)
        self._thread = threading.Thread(target=self._session.serve)
        self._thread.start()
        self._unique = 0

    def send(self, opcode: int, node: int, body: bytes = b"") -> int:
        self._unique += 2
        head = IN_HEADER.pack(IN_HEADER.size + len(body), opcode, self._unique, node, 1000, 1000, 77, 0, 0)
        self._ours.send(head + body)
        return self._unique

    def receive(self) -> tuple[int, int, bytes]:
        self._ours.settimeout(10)
        answer = self._ours.recv(1 << 20)
        length, error, unique = OUT_HEADER.unpack_from(answer)
        assert length == len(answer)
        return unique, -error, answer[OUT_HEADER.size :]

    def ask(self, opcode: int, node: int, body: bytes = b"") -> Answer:
        unique = self.send(opcode, node, body)
        answered, error, content = self.receive()
        assert answered == unique
        return error, content

    def lookup(self, parent: int, name: str) -> int:
        error, content = self.ask(Opcode.LOOKUP, parent, name.encode() + b"\0")
        assert error == 0
        return int(ENTRY_OUT.unpack(content)[0])

    def open(self, node: int, flags: int = os.O_RDWR) -> int:
        error, content = self.ask(Opcode.OPEN, node, OPEN_IN.pack(flags, 0))
        assert error == 0
        return int(OPEN_OUT.unpack(content)[0])

    def close(self) -> None:
        self._ours.close()
        self._thread.join(10)
        self._locks.close()
        self._theirs.close()
        assert not self._thread.is_alive()
