"""Endpoints as text: `host:port`, `[v6]:port`, `unix:/path`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from .errors import BttpError, LocalProtocolError, UnreachableError

MAX_UNIX_PATH = 107  #: bytes that a Unix socket's address holds on Linux
MAX_PORT_DIGITS = 5  #: more are no port, and thousands of them no number that Python reads


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


#: Endpoints, or what says which they are now; it is asked before each round of dialing, and may raise BlocktreeError.
Endpoints: TypeAlias = Sequence[str] | Callable[[], Sequence[str]]


class Known:
    """Endpoints that are asked for anew each time. Those that are given as they are, are parsed at once."""

    def __init__(self, endpoints: Endpoints) -> None:
        """Raises BttpError for texts that are no endpoints, LocalProtocolError for none."""
        self.changing = callable(endpoints)
        self._find = endpoints if callable(endpoints) else None
        self._known = [] if callable(endpoints) else [parse_endpoint(text) for text in endpoints]
        if not self.changing and not self._known:
            raise LocalProtocolError("a reconnecting link needs an endpoint")

    def now(self) -> list[Endpoint]:
        """Which they are now. Raises UnreachableError where nobody can say."""
        if self._find is None:
            return self._known
        try:
            found = [parse_endpoint(text) for text in self._find()]
        except BlocktreeError as error:
            raise UnreachableError(f"no endpoint to dial: {error.message}", hint=error.hint) from error
        if not found:
            raise UnreachableError("no endpoint to dial: none is known")
        return found


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
    if not (port.isascii() and port.isdigit() and len(port) <= MAX_PORT_DIGITS and int(port) <= 65535):
        raise _bad(text, f"{port[:20]!a} is no port")
    return TcpEndpoint(host, int(port))


def _bad(text: str, reason: str) -> BttpError:
    return BttpError(
        f"{text[:120]!a} is no endpoint: {reason}", kind=Kind.INVALID, hint="write host:port, [v6]:port or unix:/path"
    )
