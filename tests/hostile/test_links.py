"""The attacks of `bttp.testing.attacks` on this package's server."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from bttp.blocking import connect
from bttp.testing.attacks import ATTACKS, DOMAIN, ECHO, ROOT, WAIT, BttpServer, Demand


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_a_link_fails(name: str) -> None:
    ATTACKS[name].run(BttpServer())


class _Tap:
    """A relay that keeps what passes."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.seen = bytearray()
        self._target = (host, int(port))
        self._thread = threading.Thread(target=self._relay)
        self._thread.start()

    def _relay(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(self._target) as server:
            other = threading.Thread(target=self._carry, args=(server, client))
            other.start()
            self._carry(client, server)
            other.join()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self.seen += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def __enter__(self) -> _Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(WAIT)
        self._listener.close()


def test_no_body_path_or_principal_passes_in_clear() -> None:
    body = b"a body that nobody else may read"
    with (
        BttpServer().serve(Demand()) as endpoint,
        _Tap(endpoint) as tap,
        connect(tap.endpoint, DOMAIN["alice"], root=ROOT) as link,
    ):
        assert bytes(link.call(ECHO, body, timeout=WAIT)) == body
    seen = bytes(tap.seen)
    assert len(seen) > 1000
    for who in (DOMAIN["alice"], DOMAIN["server"], DOMAIN.root):
        for secret in (who.principal.digest, str(who.principal).encode(), who.public.signing, who.public.sealing):
            assert secret not in seen
    assert ECHO.name.encode() not in seen
    assert body not in seen
