"""Evil peers against a real server (and an evil server against real clients) over loopback sockets."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import stat
import threading
from pathlib import Path

import bttp
import bttp.blocking
import pytest
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from bttp import _frames as wire
from bttp._auth import Role, prove
from bttp._certificates import EphemeralKeys
from bttp._frames import FrameKind, frame, hello_frame
from bttp._preface import preface, read_refusal
from bttp.testing._evil import DOMAIN, ECHO, HELLO, ROOT, WAIT, Evil, answer, dial, serving, wait_until

KEYS = EphemeralKeys()
NOISE = random.Random(20).randbytes(5000)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"BTTP\x09", NOISE[:99]])
def test_garbage_before_the_preface_ends_at_once(garbage: bytes) -> None:
    with serving(bttp.Limits()) as server, dial(server) as sock:
        sock.sendall(garbage)
        assert answer(sock) == b""
        wait_until(lambda: server.statistics.broken == 1)


def test_garbage_after_the_preface_ends_at_once() -> None:
    with serving(bttp.Limits()) as server, dial(server) as sock:
        sock.sendall(preface(KEYS.certificate) + bytes(1000))
        answer(sock)
        wait_until(lambda: server.statistics.broken == 1)


def test_a_preface_without_a_certificate_ends_at_once() -> None:
    with serving(bttp.Limits()) as server, dial(server) as sock:
        sock.sendall(preface(b"no certificate"))
        assert answer(sock) == b""


@pytest.mark.parametrize("said", [b"", b"BTTP", preface(KEYS.certificate)])
def test_a_slow_peer_is_given_up_after_its_time(said: bytes) -> None:
    with serving() as server, dial(server) as sock:
        sock.sendall(said)
        answer(sock)
        wait_until(lambda: server.statistics.broken == 1)


def test_a_peer_that_stops_after_tls_is_given_up() -> None:
    with serving() as server, Evil(server, KEYS) as evil:
        evil.shake()
        assert [kind for kind, _ in evil.hear()] == [FrameKind.HELLO, FrameKind.AUTH]


def test_a_flood_of_handshakes_is_turned_away_in_words() -> None:
    with serving(bttp.Limits(), max_handshakes_per_address=3) as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(dial(server)) for _ in range(3)]
        wait_until(lambda: server.statistics.handshakes == 3)
        more = stack.enter_context(dial(server))
        more.sendall(preface(KEYS.certificate))
        said = answer(more)
        refused = read_refusal(said)
        assert refused is not None
        assert refused[0] is Kind.LIMIT
        assert "max_handshakes_per_address" in refused[1]
        with pytest.raises(bttp.UnreachableError, match="max_handshakes_per_address") as caught:
            bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=ROOT)
        assert caught.value.kind is Kind.LIMIT
        wait_until(lambda: server.statistics.turned_away == 2)
        for sock in held:
            sock.close()


def test_the_certificate_must_be_that_of_the_preface() -> None:
    with serving(bttp.Limits()) as server:
        server_side_anchor = EphemeralKeys()
        with Evil(server, server_side_anchor) as honest:  # its anchor stays in the server's context
            honest.shake()
        with Evil(server, server_side_anchor, shown=KEYS.certificate) as evil:
            evil.shake()
            assert evil.hear() == []


def test_a_replayed_auth_is_refused_with_the_reason() -> None:
    with serving(bttp.Limits()) as server:
        with Evil(server, KEYS) as victim:
            victim.shake()
            stolen = prove(DOMAIN["alice"], Role.CLIENT, victim.transcript)
        with Evil(server, EphemeralKeys()) as evil:
            evil.shake()
            evil.introduce(stolen)
            kind, text = evil.last_words()
            assert kind is Kind.UNAUTHENTICATED
            assert "did not prove itself on this link" in text
        wait_until(lambda: server.statistics.refused == 1)


def test_a_reflected_auth_is_refused() -> None:
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil:
        evil.shake()
        proof = b""
        while not proof:
            evil.tls.feed(evil.sock.recv(65536))
            evil.reader.filled(evil.tls.read_into(evil.reader.space()))
            for kind, _, start, stop in evil.reader.frames():
                if kind == FrameKind.AUTH:
                    proof = bytes(evil.reader.buffer[start:stop])
        evil.introduce(proof)
        assert evil.last_words()[0] is Kind.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("who", "kind", "word"),
    [
        (make_domain_identities("alice", root="another")["alice"], Kind.FORBIDDEN, "another"),
        (DOMAIN.issue("bob", time=(0, 1)), Kind.EXPIRED, "expired"),
        (DOMAIN.issue("bob", time=(2**39, 2**40)), Kind.FORBIDDEN, "begins"),
    ],
)
def test_a_chain_that_does_not_count_is_refused_with_the_reason(who: Identity, kind: Kind, word: str) -> None:
    with serving(bttp.Limits()) as server:
        with Evil(server, KEYS) as evil:
            evil.shake()
            evil.introduce(prove(who, Role.CLIENT, evil.transcript))
            got, text = evil.last_words()
            assert got is kind
            assert word in text or word == "another"
        with pytest.raises(bttp.AuthenticationError) as caught:
            bttp.blocking.connect(server.endpoints[0], who, root=ROOT)
        assert caught.value.kind is kind
        wait_until(lambda: server.statistics.refused == 2)


def test_requests_before_acceptance_are_a_violation() -> None:
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil:
        evil.shake()
        evil.say(hello_frame(HELLO), wire.call_frame(1, 1, 0, 0, b""))
        assert "no place" in evil.last_words()[1]


def test_an_oversized_frame_is_refused_by_its_head() -> None:
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil:
        evil.shake()
        evil.say(hello_frame(HELLO), b"\x02\xff\xff\xff\0\0\0\0")
        assert "exceeds the limit" in evil.last_words()[1]


def test_bytes_without_end_before_acceptance_are_cut_off() -> None:
    with serving(bttp.Limits(handshake_bytes=20_000)) as server, Evil(server, KEYS) as evil:
        evil.shake()
        with contextlib.suppress(OSError, ssl.SSLError):
            for _ in range(10):
                evil.say(frame(FrameKind.AUTH, 0, b"x" * 30_000)[:16_000])
        wait_until(lambda: server.statistics.broken == 1)


def test_a_certificate_that_signs_another_opens_no_door() -> None:
    with serving(bttp.Limits()) as server, Evil(server, EphemeralKeys(), shown=KEYS.certificate) as evil:
        with contextlib.suppress(OSError, ssl.SSLError, bttp.RemoteProtocolError):
            evil.shake()
            evil.hear()
        wait_until(lambda: server.statistics.broken == 1)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"BTNO", NOISE])
def test_an_evil_server_is_a_typed_error_soon(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(10)
                sock.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises((bttp.UnreachableError, bttp.RemoteProtocolError, bttp.ConnectionLostError)):
            bttp.blocking.connect(endpoint, DOMAIN["alice"], root=ROOT, timeout=WAIT)
        thread.join()


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(bttp.UnreachableError, match=r"after 0\.2 s"):
            bttp.blocking.connect(endpoint, DOMAIN["alice"], root=ROOT, timeout=0.2)


def test_a_unix_socket_is_its_owners_and_survives_a_killed_server(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    router = bttp.Router()
    with bttp.blocking.serve([f"unix:{path}"], DOMAIN["server"], router, roots=[ROOT]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with (
            pytest.raises(bttp.BttpError, match="choose another") as caught,
            bttp.blocking.serve([f"unix:{path}"], DOMAIN["server"], router, roots=[ROOT]),
        ):
            pass
        assert caught.value.kind is Kind.BUSY
        assert path.exists()
    assert not path.exists()


def test_a_link_is_refused_in_a_forked_child() -> None:
    with (
        serving(bttp.Limits()) as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=ROOT) as link,
    ):
        child = os.fork()
        if child == 0:
            try:
                link.call(ECHO, b"")
            except bttp.LocalProtocolError as error:
                os._exit(0 if "fork" in str(error) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bytes(link.call(ECHO, b"parent", timeout=WAIT)) == b"parent"
