"""Evil peers that offer less than the protocol asks for: malformed proofs, older versions, other protocols."""

from __future__ import annotations

import contextlib
import ssl

import bttp
import pytest
from btlib.kinds import Kind
from bttp._auth import MAX_AUTH, Role, prove
from bttp._certificates import EphemeralKeys
from bttp._frames import FrameKind, frame, hello_frame
from bttp._preface import preface
from bttp._tls import ALPN
from bttp.testing._evil import DOMAIN, HELLO, Evil, dial, serving, wait_until

KEYS = EphemeralKeys()
ALICE = DOMAIN["alice"]


@pytest.mark.parametrize(
    "proof",
    [b"", b"\0" * 100, b"\xff" * 1000, b"\x01" * MAX_AUTH, bytes(MAX_AUTH + 1)],
    ids=["empty", "zeros", "lengths", "nested", "too long"],
)
def test_an_auth_that_is_none_is_refused_before_anything_is_made_of_it(proof: bytes) -> None:
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil:
        evil.shake()
        evil.introduce(proof)
        kind, text = evil.last_words()
        assert kind is Kind.PROTOCOL
        assert "AUTH" in text


def test_trailing_bytes_behind_an_auth_are_refused() -> None:
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil:
        evil.shake()
        evil.introduce(prove(ALICE, Role.CLIENT, evil.transcript) + b"\0")
        assert evil.last_words()[0] is Kind.PROTOCOL


# --- downgrade


@pytest.mark.parametrize("version", [0, 2, 65535])
def test_another_version_of_the_protocol_is_refused(version: int) -> None:
    hello = bytearray(hello_frame(HELLO))
    hello[8:10] = version.to_bytes(2, "little")
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil:
        evil.shake()
        evil.say(bytes(hello))
        assert f"version {version}" in evil.last_words()[1]


@pytest.mark.parametrize("alpn", [None, ["h2"], ["bttp/0"]])
def test_another_application_protocol_opens_no_link(alpn: list[str] | None) -> None:
    context = _context()
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    _is_refused_in_tls(context)


def test_an_older_tls_opens_no_link() -> None:
    context = _context()
    context.set_alpn_protocols([ALPN])
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    _is_refused_in_tls(context)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_refused_in_tls(context: ssl.SSLContext) -> None:
    with serving(bttp.Limits()) as server, dial(server) as sock:
        sock.sendall(preface(KEYS.certificate))
        with contextlib.suppress(ssl.SSLError, OSError), context.wrap_socket(sock) as tls:
            tls.sendall(hello_frame(HELLO))
            assert tls.recv(1000) == b""  # nothing that anybody said, only the end
        wait_until(lambda: server.statistics.broken == 1)
        assert server.statistics.accepted == 0


def test_a_client_that_closes_right_behind_its_proof_is_no_fault_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(bttp.Limits()) as server, Evil(server, KEYS) as evil, caplog.at_level("ERROR"):
        evil.shake()
        proof = frame(FrameKind.AUTH, 0, prove(ALICE, Role.CLIENT, evil.transcript))
        evil.tls.write(hello_frame(HELLO) + proof)
        evil.tls.finish()
        evil.sock.sendall(evil.tls.take())
        wait_until(lambda: server.statistics.handshakes == 0)
    assert caplog.records == []
