"""Peers that fall silent, and peers that trickle: they are given up in time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import bttp
import bttp.blocking
from bttp._frames import FrameKind
from bttp._preface import preface
from bttp.testing._evil import ECHO, ROOT, WAIT, Evil, dial, serving, wait_until

from .test_evil_members import ALICE, KEYS


def test_a_peer_that_falls_silent_is_given_up_after_its_pings() -> None:
    limits = bttp.Limits(ping_seconds=0.05, pings=2)
    with serving(limits) as server, Evil(server, KEYS) as evil:
        evil.open(ALICE)
        wait_until(lambda: server.statistics.accepted == 1)
        assert [kind for kind, _ in evil.hear()] == [FrameKind.PING, FrameKind.PING]
        wait_until(lambda: server.statistics.links == 0)


def test_a_client_finds_out_that_its_server_fell_silent_and_takes_another() -> None:
    """A relay that stops relaying: nobody says that the connection is gone."""
    limits = bttp.Limits(ping_seconds=0.1, pings=1)
    quick = bttp.Reconnection(stagger=0.05, first_pause=0.01)
    with serving(bttp.Limits()) as server, _Relay(server.endpoints[0]) as relay:
        endpoints = [relay.endpoint, server.endpoints[0]]
        with bttp.blocking.reconnecting(endpoints, ALICE, root=ROOT, settings=quick, limits=limits) as link:
            assert bytes(link.call(ECHO, b"one", timeout=WAIT)) == b"one"
            relay.stop()
            assert bytes(link.call(ECHO, b"two", timeout=WAIT, key=b"k")) == b"two"


class _Relay:
    """Passes bytes to and fro between each client and a server, until it is stopped."""

    def __init__(self, target: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._stopped = False
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self._stopped = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, server = self._listener.accept()[0], socket.create_connection(self._target)
                self._sockets += [client, server]
                for one, other in ((client, server), (server, client)):
                    self._threads.append(threading.Thread(target=self._carry, args=(one, other)))
                    self._threads[-1].start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if not self._stopped:
                    other.sendall(data)

    def __enter__(self) -> _Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()


def test_bytes_that_trickle_in_do_not_prolong_the_time_of_a_handshake() -> None:
    with serving() as server, dial(server) as sock:
        said = preface(KEYS.certificate)
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for place in range(len(said)):
                sock.sendall(said[place : place + 1])
                threading.Event().wait(0.01)
        wait_until(lambda: server.statistics.broken == 1)
        assert time.monotonic() - began < WAIT
