"""Endpoints, preface, router, policy and gate."""

from __future__ import annotations

import pytest
from btlib import BlockPath
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from btlib.writecaps import Rights
from bttp import BttpError, LocalProtocolError, Peer, RemoteProtocolError, RootPolicy, Router, ServerLimits
from bttp._auth import Auth
from bttp._endpoints import TcpEndpoint, UnixEndpoint, parse_endpoint
from bttp._gate import Gate
from bttp._policy import check_server
from bttp._preface import MAX_CERTIFICATE, preface, read_preface, read_refusal, refusal
from bttp._router import Mode, Request

DOMAIN = make_domain_identities("alice")
HOSTS = DOMAIN.path.child("hosts")


def peer_of(*names: str) -> Peer:
    identities = [DOMAIN.issue(name, ("hosts", name)) for name in names]
    return Peer(tuple(Auth(public=who.public, chains=who.chains, signature=b"") for who in identities))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("nas:4500", TcpEndpoint("nas", 4500)),
        ("127.0.0.1:0", TcpEndpoint("127.0.0.1", 0)),
        ("[::1]:65535", TcpEndpoint("::1", 65535)),
        ("unix:/run/btfsd.sock", UnixEndpoint("/run/btfsd.sock")),
    ],
)
def test_an_endpoint_has_one_text(text: str, endpoint: TcpEndpoint | UnixEndpoint) -> None:
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text", ["", "nas", ":1", "nas:", "nas:x", "nas:-1", "nas:65536", "::1:5", "unix:relative", f"unix:/{'x' * 107}"]
)
def test_what_is_no_endpoint_says_how_one_looks(text: str) -> None:
    with pytest.raises(BttpError, match="write host:port") as caught:
        parse_endpoint(text)
    assert caught.value.kind is Kind.INVALID


def test_a_preface_is_read_byte_by_byte_and_leaves_the_rest() -> None:
    data = preface(b"certificate") + b"tls"
    assert [read_preface(data[:n]) for n in range(len(data) - 3)] == [None] * (len(data) - 3)
    assert read_preface(data) == (b"certificate", len(data) - 3)


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"\x16\x03\x01",
        b"BTTX",
        b"BTTP\x02\0\1\0",
        b"BTTP\x01\1\1\0",
        b"BTTP\x01\0\0\0",
        b"BTTP\x01\0" + (MAX_CERTIFICATE + 1).to_bytes(2, "little"),
    ],
)
def test_garbage_is_refused_at_its_first_wrong_byte(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_preface(data)


def test_a_refusal_in_the_clear_is_read_when_it_is_whole() -> None:
    data = refusal(Kind.LIMIT, "too many\x1b")
    assert [read_refusal(data[:n]) for n in range(len(data))] == [None] * len(data)
    assert read_refusal(data) == (Kind.LIMIT, "too many�")


def test_the_longest_prefix_wins() -> None:
    router = Router()
    router.add(DOMAIN.path, lambda _request: b"root")
    router.add(HOSTS.child("a"), lambda _request: b"a")
    for path, answer in ((HOSTS.child("a").child("b"), b"a"), (HOSTS.child("ab"), b"root"), (DOMAIN.path, b"root")):
        destination = router.find(path)
        assert destination is not None
        assert destination.handler(None) == answer  # type: ignore[arg-type]
    assert router.find(BlockPath(DOMAIN["alice"].principal)) is None


def test_a_handler_runs_where_its_kind_says() -> None:
    async def task(request: Request) -> None: ...

    class Callable:
        async def __call__(self, request: Request) -> None: ...

    router = Router()
    router.add(HOSTS.child("a"), task)
    router.add(HOSTS.child("b"), lambda _request: None)
    router.add(HOSTS.child("c"), lambda _request: None, inline=True)
    router.add(HOSTS.child("d"), Callable())
    modes = [found.mode for name in "abcd" if (found := router.find(HOSTS.child(name)))]
    assert modes == [Mode.TASK, Mode.THREAD, Mode.INLINE, Mode.TASK]
    with pytest.raises(LocalProtocolError, match="has a handler"):
        router.add(HOSTS.child("a"), task)
    with pytest.raises(LocalProtocolError, match="async"):
        router.add(HOSTS.child("e"), task, inline=True)


def test_the_default_policy_admits_members_and_authorizes_by_path() -> None:
    policy = RootPolicy([DOMAIN.principal], public=[HOSTS.child("lobby")])
    assert policy.admit(peer_of("bob"), 1).allowed
    assert not policy.admit(Peer(), 1).allowed
    assert policy.authorize(peer_of("bob"), HOSTS.child("bob").child("fs"), 1).allowed
    assert policy.authorize(peer_of("carol", "bob"), HOSTS.child("bob"), 1).allowed
    refused = policy.authorize(peer_of("bob"), HOSTS.child("carol"), 1)
    assert (refused.allowed, refused.kind) == (False, Kind.FORBIDDEN)
    assert policy.authorize(peer_of("bob"), HOSTS.child("lobby"), 1).allowed
    assert not policy.authorize(peer_of("bob"), BlockPath(DOMAIN["alice"].principal), 1).allowed


def test_anonymous_peers_need_a_word_from_the_server() -> None:
    policy = RootPolicy([DOMAIN.principal], anonymous=True, public=[HOSTS.child("lobby")])
    assert policy.admit(Peer(), 1).allowed
    assert policy.authorize(Peer(), HOSTS.child("lobby"), 1).allowed
    assert policy.authorize(Peer(), HOSTS, 1).kind is Kind.UNAUTHENTICATED


def test_leave_to_send_somewhere_and_to_write_there_is_no_leave_to_serve_there() -> None:
    mallory = DOMAIN.issue("mallory", ("hosts", "mallory")).with_chains(
        *DOMAIN.issue("mallory", ("hosts",), rights=Rights.EXECUTE).chains,
        *DOMAIN.issue("mallory", rights=Rights.WRITE).chains,
    )
    member = Peer((Auth(public=mallory.public, chains=mallory.chains, signature=b""),))
    refused = check_server(member, DOMAIN.principal, HOSTS.child("nas"), 1)
    assert (refused.allowed, refused.kind) == (False, Kind.FORBIDDEN)
    assert check_server(member, DOMAIN.principal, HOSTS.child("mallory").child("btfsd"), 1).allowed


def test_a_client_takes_only_the_server_it_means() -> None:
    assert check_server(peer_of("nas"), DOMAIN.principal, HOSTS.child("nas"), 1).allowed
    assert check_server(peer_of("nas"), DOMAIN.principal, None, 1).allowed
    assert not check_server(peer_of("nas"), DOMAIN.principal, HOSTS.child("other"), 1).allowed
    assert not check_server(peer_of("nas"), DOMAIN["alice"].principal, None, 1).allowed
    assert not check_server(peer_of("nas"), DOMAIN["alice"].principal, HOSTS.child("nas"), 1).allowed


def test_the_gate_counts_by_address_and_in_all() -> None:
    gate = Gate(ServerLimits(max_handshakes=3, max_handshakes_per_address=2, max_links=2))
    assert [gate.enter("a") for _ in range(2)] == [None, None]
    assert "max_handshakes_per_address" in str(gate.enter("a"))
    assert gate.enter("b") is None
    assert "max_handshakes)" in str(gate.enter("c"))
    gate.opened("a")
    gate.left("a", was_open=False, refused=True)
    gate.opened("b")
    assert "max_links" in str(gate.enter("c"))
    gate.left("b", was_open=True, refused=False)
    gate.draining = True
    going = gate.enter("d")
    assert going is not None
    assert (going.kind, going.message) == (Kind.UNREACHABLE, "the server is going away")
    counts = gate.statistics
    assert (counts.links, counts.handshakes, counts.accepted, counts.refused, counts.turned_away) == (1, 0, 2, 1, 4)
