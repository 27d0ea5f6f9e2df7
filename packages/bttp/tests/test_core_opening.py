"""Two cores joined in memory: how a link opens, and how it does not."""

from __future__ import annotations

import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities, make_identity
from bttp import (
    AuthenticationError,
    ConnectionLostError,
    LimitError,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    UnreachableError,
)
from bttp._core import LinkCore
from bttp._events import (
    Event,
    LinkOpened,
    PeerProven,
)
from bttp._frames import FrameKind, frame
from bttp._states import State
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN, opened

PATH = DOMAIN.path.child("echo")
ROUTE = frame(FrameKind.ROUTE, 1, str(PATH).encode())


def kinds_of(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


def test_both_sides_prove_themselves_and_open() -> None:
    pair = Pair(client=[DOMAIN["client"], DOMAIN["server"]])
    pair.run()
    assert kinds_of(pair.client_events) == kinds_of(pair.server_events) == [PeerProven, LinkOpened]
    assert pair.client.peer.principals == (DOMAIN["server"].principal,)
    assert pair.server.peer.principals == (DOMAIN["client"].principal, DOMAIN["server"].principal)


def test_no_identity_crosses_in_the_clear() -> None:
    pair, seen = Pair(), bytearray()
    carry = pair._carry

    def look(data: bytes, to: LinkCore) -> None:
        seen.extend(data)
        carry(data, to)

    pair._carry = look  # type: ignore[method-assign]
    pair.run()
    for name in ("client", "server"):
        assert DOMAIN[name].public.signing not in seen
        assert DOMAIN[name].principal.digest not in seen


def test_a_client_shows_nothing_to_a_server_that_it_does_not_admit() -> None:
    def admit(core: LinkCore, event: PeerProven) -> None:
        core.refuse(Kind.FORBIDDEN, "not this one")

    pair = Pair(admit=admit)
    pair.run()
    assert isinstance(pair.client.reason, AuthenticationError)
    assert isinstance(pair.server.reason, AuthenticationError)
    assert "not this one" in str(pair.server.reason)
    assert pair.server.peer.anonymous


def test_an_anonymous_client_is_the_servers_to_judge() -> None:
    pair = Pair(client=[])
    pair.run()
    assert pair.server.peer.anonymous
    assert pair.server.state is State.OPEN


def test_a_server_without_identity_is_refused() -> None:
    pair = Pair(server=[])
    pair.run()
    assert isinstance(pair.client.reason, RemoteProtocolError)


def test_a_principal_may_not_prove_itself_twice() -> None:
    pair = Pair(client=[DOMAIN["client"], DOMAIN["client"]])
    pair.run()
    assert "twice" in str(pair.server.reason)


def test_a_link_that_does_not_open_in_time_is_given_up() -> None:
    pair = Pair()
    pair.advance(10.1, deliver=False)
    for core in (pair.client, pair.server):
        assert isinstance(core.reason, UnreachableError)
        assert "not open after 10 s" in str(core.reason)


def test_more_bytes_than_a_handshake_needs_end_it() -> None:
    chains = [make_domain_identities("bob", root=f"root {n}")["bob"].chains[0] for n in range(8)]
    pair = Pair(client=[make_identity("bob", *chains)], server_limits=Limits(handshake_bytes=3000))
    pair.run()
    assert isinstance(pair.server.reason, LimitError)
    assert "handshake_bytes" in str(pair.server.reason)


def test_the_wrong_certificate_is_refused_though_its_key_is_proven() -> None:
    pair = Pair()
    while data := pair.client.data_to_send():
        pair.server.receive_data(data, 0.0)
    pair.server._peer_certificate = b"another"
    pair.run()
    assert "not that of its preface" in str(pair.server.reason)


def test_misuse_raises_at_the_caller() -> None:
    pair = opened()
    for core in (pair.client, pair.server):
        with pytest.raises(LocalProtocolError):
            core.admit()


def test_tls_bytes_are_never_taken_for_a_refusal() -> None:
    for _ in range(20):  # the handshake's bytes are random: byte by byte, some piece begins like a refusal
        pair = Pair(chunk=lambda: 1)
        pair.run()
        assert pair.client.state is State.OPEN


def test_nothing_is_sent_before_the_link_is_open() -> None:
    pair = Pair()
    with pytest.raises(ConnectionLostError, match="not open yet"):
        pair.client.call(PATH, b"", 1, None, 0.0)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_anywhere_in_the_handshake_never_opens_a_wrong_link(seed: int) -> None:
    pair, place = Pair(), 37 * seed
    seen = 0
    carry = pair._carry

    def flip(data: bytes, to: LinkCore) -> None:
        nonlocal seen
        changed = bytearray(data)
        if seen <= place < seen + len(data):
            changed[place - seen] ^= 1 << seed % 8
        seen += len(data)
        carry(bytes(changed), to)

    pair._carry = flip  # type: ignore[method-assign]
    pair.run()
    if seen > place:
        assert not (pair.client.state is State.OPEN and pair.server.state is State.OPEN)


def test_draining_ends_a_link_that_is_not_open_yet() -> None:
    pair = Pair()
    while data := pair.client.data_to_send():
        pair.server.receive_data(data, 0.0)
    pair.server.drain("the server is going away")
    pair.run()
    pair.client.receive_eof()  # as the connection ends with it
    assert isinstance(pair.server.reason, UnreachableError)
    assert isinstance(pair.client.reason, UnreachableError)
