"""AUTH frames: what binds an identity to one link, and what is refused."""

from __future__ import annotations

import pytest
from btlib.testing import make_domain_identities, make_identity
from bttp import AuthenticationError, RemoteProtocolError
from bttp._auth import MAX_AUTH, MAX_CHAINS, Role, prove, transcript, verify
from hypothesis import given, settings
from hypothesis import strategies as st

ALICE = make_domain_identities("alice")["alice"]
THIS = transcript(b"client certificate", b"server certificate")
PROOF = prove(ALICE, Role.CLIENT, THIS)


def test_a_proof_shows_keys_and_chains() -> None:
    auth = verify(PROOF, Role.CLIENT, THIS)
    assert auth.public == ALICE.public
    assert auth.chains == ALICE.chains


@pytest.mark.parametrize(
    "other",
    [
        transcript(b"client certificate", b"another server"),
        transcript(b"another client", b"server certificate"),
        transcript(b"server certificate", b"client certificate"),
    ],
)
def test_a_proof_from_another_link_is_refused(other: bytes) -> None:
    with pytest.raises(AuthenticationError, match=f"{ALICE.principal} did not prove itself"):
        verify(PROOF, Role.CLIENT, other)


def test_a_reflected_proof_is_refused() -> None:
    with pytest.raises(AuthenticationError):
        verify(PROOF, Role.SERVER, THIS)


@settings(max_examples=50)
@given(st.integers(0, len(PROOF) * 8 - 1))
def test_a_flipped_bit_is_refused_or_changes_only_what_is_shown(bit: int) -> None:
    changed = bytearray(PROOF)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        auth = verify(bytes(changed), Role.CLIENT, THIS)
    except (AuthenticationError, RemoteProtocolError):
        return
    assert auth.public == ALICE.public  # a chain proves itself, elsewhere
    assert auth.chains != ALICE.chains


@pytest.mark.parametrize("size", range(0, len(PROOF), 7))
def test_a_truncated_proof_is_malformed(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        verify(PROOF[:size], Role.CLIENT, THIS)


def test_bytes_that_trail_are_malformed() -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        verify(PROOF + b"\0", Role.CLIENT, THIS)


def test_a_proof_beyond_its_limit_is_not_looked_at() -> None:
    with pytest.raises(RemoteProtocolError, match="exceeds the limit"):
        verify(bytes(MAX_AUTH + 1), Role.CLIENT, THIS)


def test_only_so_many_chains_are_shown() -> None:
    chains = [make_domain_identities("bob", root=f"root {n}")["bob"].chains[0] for n in range(MAX_CHAINS + 2)]
    auth = verify(prove(make_identity("bob", *chains), Role.SERVER, THIS), Role.SERVER, THIS)
    assert auth.chains == tuple(chains[:MAX_CHAINS])
