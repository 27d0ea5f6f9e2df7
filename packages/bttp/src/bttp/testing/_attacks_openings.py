"""Attacks before a link is open: floods, silence, garbage, and proofs of somebody else."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading

import msgspec
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.testing import make_domain_identities, make_keys
from btserde import decode, encode

from .._auth import MAX_AUTH, Auth, Role, prove
from .._certificates import EphemeralKeys
from .._frames import FrameKind, call_frame, frame, hello_frame, parse_text
from .._preface import preface, read_refusal
from .._tls import ALPN
from ..errors import RemoteProtocolError
from ._attack import KEYS, Demand, attack, ended, not_let_in
from ._evil import DOMAIN, HELLO, WAIT, Evil, Target, answer, dial

ALICE = DOMAIN["alice"]
QUICK = Demand(handshake_seconds=0.3)


def _refusal(evil: Evil) -> Kind:
    """Of what kind the server's refusal is."""
    kind, payload = not_let_in(evil)[-1]
    assert kind in (FrameKind.REFUSE, FrameKind.VIOLATION), f"it ends with a frame {kind}"
    return parse_text(payload)[0]


@attack("garbage-before-preface", "says something that is no preface: HTTP, TLS, a later version, noise")
def garbage_before(server: Target) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"BTTP\x09", os.urandom(99)):
        with dial(server) as sock:
            sock.sendall(garbage)
            assert ended(lambda: answer(sock)) == b"", "garbage was answered"


@attack("garbage-after-preface", "says something that is no TLS behind a good preface, or shows no certificate")
def garbage_after(server: Target) -> None:
    for said in (preface(KEYS.certificate) + bytes(1000), preface(b"no certificate"), preface(bytes(1024))):
        with dial(server) as sock:
            sock.sendall(said)
            ended(lambda: answer(sock))


@attack("slow-loris", "stays silent: at once, in the preface, behind it, behind the TLS handshake", QUICK)
def slow_loris(server: Target) -> None:
    for said in (b"", b"BTTP", preface(KEYS.certificate)):
        with dial(server) as sock:
            sock.sendall(said)
            ended(lambda: answer(sock))
    with Evil(server, KEYS) as evil:
        evil.shake()
        not_let_in(evil)


@attack("trickle", "says a byte now and then, so as never to be silent", QUICK)
def trickle(server: Target) -> None:
    said = preface(KEYS.certificate)
    with dial(server) as sock:
        with contextlib.suppress(OSError):
            for place in range(len(said)):
                sock.sendall(said[place : place + 1])
                threading.Event().wait(0.01)
        ended(lambda: answer(sock))


@attack("handshake-flood", "holds as many half-open links as one address may, and wants one more",
        Demand(handshakes_per_address=3))  # fmt: skip
def handshake_flood(server: Target) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(dial(server)).sendall(b"BTTP")
        more = stack.enter_context(dial(server))
        more.settimeout(WAIT)
        with contextlib.suppress(ConnectionError):
            more.sendall(preface(KEYS.certificate))
        refused = read_refusal(ended(lambda: answer(more)))
        assert refused is None or refused[0] is Kind.LIMIT, refused
    threading.Event().wait(0.05)  # until the server has seen them go


@attack("endless-opening", "sends bytes without end before it is accepted", Demand(handshake_bytes=20_000))
def endless(server: Target) -> None:
    with Evil(server, KEYS) as evil:
        evil.shake()
        with contextlib.suppress(OSError, ssl.SSLError):
            for _ in range(1000):
                evil.say(frame(FrameKind.AUTH, 0, b"x" * 30_000)[:16_000])
            raise AssertionError("16 MB were taken of somebody who is nobody yet")


@attack("another-certificate", "shows one certificate and holds the key of another")
def another_certificate(server: Target) -> None:
    refusals = (ConnectionError, ssl.SSLError, RemoteProtocolError)
    with Evil(server, EphemeralKeys(), shown=KEYS.certificate) as evil, contextlib.suppress(*refusals):
        evil.shake()
        not_let_in(evil)


@attack("replayed-auth", "repeats a proof that was made on another link")
def replayed_auth(server: Target) -> None:
    with Evil(server, KEYS) as victim:
        victim.shake()
        stolen = prove(ALICE, Role.CLIENT, victim.transcript)
    with Evil(server, EphemeralKeys()) as evil:
        evil.shake()
        evil.introduce(stolen)
        assert _refusal(evil) is Kind.UNAUTHENTICATED


@attack("reflected-auth", "gives the server's own proof back to it")
def reflected_auth(server: Target) -> None:
    with Evil(server, KEYS) as evil:
        evil.shake()
        proof = next(payload for kind, payload in evil.hear(FrameKind.AUTH) if kind == FrameKind.AUTH)
        evil.introduce(proof)
        assert _refusal(evil) is Kind.UNAUTHENTICATED


@attack("wrong-role-auth", "proves itself as a server would, where a client must")
def wrong_role(server: Target) -> None:
    with Evil(server, KEYS) as evil:
        evil.shake()
        evil.introduce(prove(ALICE, Role.SERVER, evil.transcript))
        assert _refusal(evil) is Kind.UNAUTHENTICATED


@attack("impersonation", "shows another's keys and chains, and signs with its own; or the reverse")
def impersonation(server: Target) -> None:
    eve = Identity(signer=make_keys("eve"), opener=make_keys("eve"), chains=ALICE.chains)
    with Evil(server, KEYS) as evil:
        evil.shake()
        hers = decode(prove(eve, Role.CLIENT, evil.transcript), Auth)
        evil.introduce(encode(msgspec.structs.replace(hers, public=ALICE.public)))
        assert _refusal(evil) is Kind.UNAUTHENTICATED
    with Evil(server, KEYS) as evil:
        evil.shake()
        evil.introduce(prove(eve, Role.CLIENT, evil.transcript))
        assert _refusal(evil) is Kind.FORBIDDEN


@attack("chain-that-does-not-count", "proves itself, with a chain of another root, an expired or an early one, or none")
def no_chain(server: Target) -> None:
    who = {
        Kind.EXPIRED: [DOMAIN.issue("bob", time=(0, 1))],
        Kind.FORBIDDEN: [
            make_domain_identities("alice", root="another")["alice"],
            DOMAIN.issue("bob", time=(2**39, 2**40)),
            Identity(signer=make_keys("bob"), opener=make_keys("bob"), chains=()),
        ],
    }
    for kind, identities in who.items():
        for identity in identities:
            with Evil(server, KEYS) as evil:
                evil.shake()
                evil.introduce(prove(identity, Role.CLIENT, evil.transcript))
                assert _refusal(evil) is kind


@attack("malformed-auth", "a proof that is empty, of zeros, of lengths that lie, too long, or with bytes behind it")
def malformed_auth(server: Target) -> None:
    for proof in (b"", bytes(100), b"\xff" * 1000, b"\x01" * MAX_AUTH, bytes(MAX_AUTH + 1), b"\xfe\xff\xff\xff\x7f"):
        with Evil(server, KEYS) as evil:
            evil.shake()
            evil.introduce(proof)
            assert _refusal(evil) is Kind.PROTOCOL
    with Evil(server, KEYS) as evil:
        evil.shake()
        evil.introduce(prove(ALICE, Role.CLIENT, evil.transcript) + b"\0")
        assert _refusal(evil) is Kind.PROTOCOL


@attack("request-before-acceptance", "calls before it has proven who it is")
def early_request(server: Target) -> None:
    with Evil(server, KEYS) as evil:
        evil.shake()
        evil.say(hello_frame(HELLO), call_frame(1, 1, 0, 0, b""))
        assert _refusal(evil) is Kind.PROTOCOL


@attack("oversize-frame", "announces a frame of 16 MB before it is accepted")
def oversize(server: Target) -> None:
    with Evil(server, KEYS) as evil:
        evil.shake()
        evil.say(hello_frame(HELLO), b"\x02\xff\xff\xff\0\0\0\0")
        assert _refusal(evil) is Kind.PROTOCOL


@attack("version-downgrade", "speaks another version of the protocol")
def version(server: Target) -> None:
    for number in (0, 2, 65535):
        hello = bytearray(hello_frame(HELLO))
        hello[8:10] = number.to_bytes(2, "little")
        with Evil(server, KEYS) as evil:
            evil.shake()
            evil.say(bytes(hello))
            assert _refusal(evil) is Kind.PROTOCOL


@attack("tls-downgrade", "speaks an older TLS, or another protocol inside it")
def tls(server: Target) -> None:
    for alpn, newest in ((None, None), (["h2"], None), (["bttp/0"], None), ([ALPN], ssl.TLSVersion.TLSv1_2)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if alpn is not None:
            context.set_alpn_protocols(alpn)
        if newest is not None:
            context.minimum_version = context.maximum_version = newest
        with dial(server) as sock:
            sock.sendall(preface(KEYS.certificate))
            with contextlib.suppress(ssl.SSLError, OSError), context.wrap_socket(sock) as inner:
                inner.sendall(hello_frame(HELLO))
                assert inner.recv(1000) == b"", "it was answered"
