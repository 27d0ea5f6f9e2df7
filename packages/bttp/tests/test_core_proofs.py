"""Two cores joined in memory: proofs on an open link, and what happens when rights end."""

from __future__ import annotations

import pytest
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.testing import make_identity
from bttp import AuthenticationError, ConnectionLostError, LimitError, Limits, NotSentError, Peer, RemoteProtocolError
from bttp._auth import Role, prove
from bttp._events import AdmissionDue, CallReceived, PeerOffered, ProofAnswered, StreamReceived, StreamReset
from bttp._frames import FrameKind, frame
from bttp._limits import MAX_PRINCIPALS
from bttp._proofs import MAX_PROOFS, WITHIN
from bttp._states import State
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN, inject, opened

PATH = DOMAIN.path.child("echo")
BOB = DOMAIN.issue("bob")
PATIENT = Limits(ping_seconds=1e6)


def offered(pair: Pair) -> Peer:
    """The server's peer with what was proven last."""
    event = pair.server_events.pop()
    assert isinstance(event, PeerOffered)
    return pair.server.peer.with_proof(event.proof)


def answer_of(pair: Pair) -> ProofAnswered:
    event = pair.client_events.pop()
    assert isinstance(event, ProofAnswered)
    return event


def test_another_principal_joins_when_the_peer_takes_it() -> None:
    pair = opened()
    pair.client.prove(BOB, "token")
    pair.run()
    pair.server.take_proof(offered(pair), None)
    pair.run()
    assert answer_of(pair) == ProofAnswered("token", None)
    assert pair.server.peer.principals == (DOMAIN["client"].principal, BOB.principal)


def test_new_chains_take_the_place_of_the_old_ones() -> None:
    pair, renewed = opened(), DOMAIN.issue("client", ("elsewhere",))
    pair.client.prove(renewed, "token")
    pair.run()
    pair.server.take_proof(offered(pair), None)
    pair.run()
    assert pair.server.peer.principals == (DOMAIN["client"].principal,)
    assert pair.server.peer.chains == renewed.chains


def test_a_refused_proof_changes_nothing_and_says_why() -> None:
    pair, before = opened(), 0
    for before in range(2):
        pair.client.prove(BOB, before)
    pair.run()
    pair.server.refuse_proof(Kind.EXPIRED, "too late")
    pair.server.take_proof(offered(pair), None)
    pair.run()
    assert answer_of(pair) == ProofAnswered(1, None)
    first = answer_of(pair)
    assert isinstance(first.error, AuthenticationError)
    assert (first.token, first.error.kind) == (0, Kind.EXPIRED)
    assert "too late" in str(first.error)
    assert pair.client.state is State.OPEN


def test_a_proof_made_for_another_link_is_refused_and_the_link_goes_on() -> None:
    pair = opened()
    stolen = prove(BOB, Role.CLIENT, bytes(64))
    reflected = prove(BOB, Role.SERVER, pair.client._introduction._signed)
    for proof in (stolen, reflected):
        inject(pair.client, frame(FrameKind.AUTH, 0, proof))
        pair.client._proofs._asking.append("token")
        pair.run()
        answer = answer_of(pair)
        assert isinstance(answer.error, AuthenticationError)
        assert "did not prove itself" in str(answer.error)
    assert pair.server_events == []
    assert pair.server.state is State.OPEN


def test_a_flood_of_proofs_is_a_violation_and_a_slow_sequence_is_not() -> None:
    pair = opened()
    for _ in range(MAX_PROOFS):
        pair.client.prove(BOB, None)
    pair.run()
    pair.advance(WITHIN)
    pair.client.prove(BOB, None)
    pair.run()
    assert pair.server.state is State.OPEN
    assert len(pair.server_events) == MAX_PROOFS + 1
    for _ in range(MAX_PROOFS):
        pair.client.prove(BOB, None)
    pair.run()
    assert isinstance(pair.server.reason, RemoteProtocolError)
    assert "AUTH frames within" in str(pair.client.reason)


def test_a_link_carries_only_so_many_principals() -> None:
    pair, peer = opened(), Peer()
    for number in range(MAX_PRINCIPALS):
        pair.client.prove(make_identity(str(number)), None)
        pair.run()
        event = pair.server_events.pop()
        assert isinstance(event, PeerOffered)
        peer = peer.with_proof(event.proof)
    assert peer.with_proof(peer.proofs[-1]) == peer
    pair.client.prove(BOB, None)
    pair.run()
    one_more = pair.server_events.pop()
    assert isinstance(one_more, PeerOffered)
    with pytest.raises(LimitError, match="carries no more"):
        peer.with_proof(one_more.proof)


def test_who_waits_for_an_answer_hears_of_the_end_of_the_link() -> None:
    pair = opened()
    pair.client.prove(BOB, "token")
    pair.client.abort(ConnectionLostError("cut"))
    pair.run()
    (answer,) = [event for event in pair.client_events if isinstance(event, ProofAnswered)]
    assert isinstance(answer.error, ConnectionLostError)
    with pytest.raises(NotSentError):
        pair.client.prove(BOB, "late")


def test_nothing_is_proven_before_the_link_is_open() -> None:
    with pytest.raises(NotSentError):
        Pair().client.prove(BOB, None)


def test_an_admission_is_due_at_its_time_and_may_be_prolonged() -> None:
    pair = opened(client_limits=PATIENT, server_limits=PATIENT)
    pair.server.stands(5.0)
    pair.advance(4.9)
    assert pair.server_events == []
    pair.server.set_time(pair.now)
    pair.server.stands(5.0)
    pair.advance(4.9)
    assert pair.server_events == []
    pair.advance(0.2)
    assert pair.server_events == [AdmissionDue()]
    pair.server.stands(None)
    pair.advance(1000.0)
    assert pair.server_events == [AdmissionDue()]


@pytest.mark.parametrize("kind", [Kind.EXPIRED, Kind.FORBIDDEN])
def test_a_dismissed_peer_and_its_calls_hear_why(kind: Kind) -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.run()
    pair.server.dismiss(kind, "your right has ended")
    pair.run()
    for core in (pair.client, pair.server):
        assert isinstance(core.reason, AuthenticationError)
        assert core.reason.kind is kind
        assert "your right has ended" in str(core.reason)


def test_what_was_found_out_about_a_path_is_forgotten_with_each_judgement() -> None:
    pair = opened()
    pair.client.call(PATH, b"", "token", None, 0.0)
    pair.run()
    call = pair.server_events.pop()
    assert isinstance(call, CallReceived)
    call.route.target = object()  # type: ignore[assignment]
    pair.server.stands(None)
    assert call.route.target is None


@pytest.mark.parametrize(
    ("timeout", "rights", "ends"), [(None, [5.0, 9.0], 9.0), (7.0, [5.0, 9.0], 7.0), (None, [5.0, None], None)]
)
def test_a_stream_lasts_as_long_as_its_right_does_now(
    timeout: float | None, rights: list[float | None], ends: float | None
) -> None:
    pair = opened(client_limits=PATIENT, server_limits=PATIENT)
    pair.client.open(PATH, b"", "token", timeout, 0.0)
    pair.run()
    (opening,) = pair.server_events
    assert isinstance(opening, StreamReceived)
    for seconds in rights:
        pair.server.limit_stream(opening.number, seconds)
    pair.advance((ends or 1000.0) - 0.1)
    assert not [event for event in pair.server_events if isinstance(event, StreamReset)]
    pair.advance(0.2)
    over = [event.error.kind for event in pair.server_events if isinstance(event, StreamReset)]
    assert over == ([] if ends is None else [Kind.EXPIRED if timeout is None else Kind.DEADLINE])


def test_an_identity_shows_its_chains_as_they_are_when_it_proves() -> None:
    pair = opened()
    bare: Identity = make_identity("bob")
    pair.client.prove(bare, None)
    pair.run()
    assert offered(pair).chains == DOMAIN["client"].chains
