"""Endpoints as text: `host:port`, `[v6]:port`, `unix:/path`. Pure."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from btlib.kinds import Kind

from .errors import BttpError

MAX_UNIX_PATH = 107  #: bytes that a Unix socket's address holds on Linux


class TcpEndpoint(msgspec.Struct, frozen=True):
    """A host (name or address) and a port. Port 0: whichever is free (listening only)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixEndpoint(msgspec.Struct, frozen=True):
    """A socket file; only its owner may connect (mode 0600)."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Endpoint: TypeAlias = TcpEndpoint | UnixEndpoint


def parse_endpoint(text: str) -> Endpoint:
    """Raises BttpError with what is wrong and how it should look."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise _bad(text, "a Unix socket has an absolute path")
        if len(path.encode(errors="surrogateescape")) > MAX_UNIX_PATH:
            raise _bad(text, f"the path of a Unix socket has at most {MAX_UNIX_PATH} bytes")
        return UnixEndpoint(path)
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise _bad(text, "host or port is missing")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _bad(text, "an IPv6 address stands in brackets")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise _bad(text, f"{port!r} is no port")
    return TcpEndpoint(host, int(port))


def _bad(text: str, reason: str) -> BttpError:
    return BttpError(
        f"{text[:120]!a} is no endpoint: {reason}", kind=Kind.INVALID, hint="write host:port, [v6]:port or unix:/path"
    )
