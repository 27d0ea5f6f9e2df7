"""Frames over a Unix socket, and who is at its other end."""

from __future__ import annotations

import socket
import struct

from ..errors import CredentialError
from ..kinds import Kind
from ._messages import LENGTH_SIZE, body_size

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of <sys/socket.h>


def peer_uid(connection: socket.socket) -> int:
    """Who connected, or whom we connected to, as the kernel says."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


def receive(connection: socket.socket) -> bytes:
    """The body of the one frame that comes. Raises CredentialError, and OSError where the other end fails."""
    size = body_size(_exactly(connection, LENGTH_SIZE))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 64 * 1024))
        if not part:
            raise CredentialError("the other end of the agent's socket went away", kind=Kind.UNREACHABLE)
        parts += part
    return bytes(parts)
