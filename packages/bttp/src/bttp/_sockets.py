"""Listening sockets, and addresses to dial. A Unix socket is never connectable by others, not even for a moment."""

from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from btlib.kinds import Kind

from ._endpoints import Endpoint, TcpEndpoint, UnixEndpoint, parse_endpoint
from ._redial import interleave
from .errors import BttpError, UnreachableError

BACKLOG = 128  #: connections that wait for `accept`; the kernel caps it


def listen(endpoint: Endpoint) -> list[socket.socket]:
    """Non-blocking listening sockets: one for each address of the host. Raises BttpError."""
    try:
        if isinstance(endpoint, UnixEndpoint):
            return [_listen_unix(endpoint.path)]
        return _listen_tcp(endpoint)
    except OSError as error:
        kind = Kind.BUSY if error.errno == errno.EADDRINUSE else Kind.IO
        hint = "stop what listens there, or choose another endpoint" if kind is Kind.BUSY else None
        raise BttpError(f"cannot listen on {endpoint}: {error.strerror or error}", kind=kind, hint=hint) from error


def _listen_tcp(endpoint: TcpEndpoint) -> list[socket.socket]:
    addresses = socket.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen_unix(path: str) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        Path(path).chmod(0o600)  # before `listen`: until then nobody can connect
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more: what a killed server leaves behind."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def endpoint_of(sock: socket.socket) -> str:
    """Where this socket listens, as text."""
    name = sock.getsockname()
    return str(UnixEndpoint(name)) if sock.family == socket.AF_UNIX else str(TcpEndpoint(name[0], name[1]))


def addresses_of(endpoint: TcpEndpoint, found: Iterable[tuple[Any, ...]]) -> list[TcpEndpoint]:
    """What `getaddrinfo` found of an endpoint, in the order of dialing."""
    usable = [(family, where) for family, _, _, _, where in found if family in (socket.AF_INET, socket.AF_INET6)]
    return interleave((int(family), TcpEndpoint(str(where[0]), endpoint.port)) for family, where in usable)


def unresolved(endpoint: TcpEndpoint, error: OSError) -> UnreachableError:
    """Nobody knows the host."""
    reason = error.strerror or str(error)
    return UnreachableError(f"cannot find {endpoint}: {reason}", hint="check the name and the network")


def close_listeners(sockets: Sequence[socket.socket], endpoints: Sequence[str]) -> None:
    """Close them; socket files go with them."""
    for sock in sockets:
        sock.close()
    for endpoint in map(parse_endpoint, endpoints):
        if isinstance(endpoint, UnixEndpoint):
            Path(endpoint.path).unlink(missing_ok=True)
