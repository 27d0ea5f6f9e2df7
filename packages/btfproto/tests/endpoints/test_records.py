"""Endpoint records: what is signed, what is believed, and what is refused with which reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from btfproto.endpoints import (
    MAX_ENDPOINTS,
    MAX_LIFETIME,
    EndpointRecord,
    SignedRecord,
    check_record,
    endpoint_fault,
    endpoints_block,
    read_record,
    resolve,
    sign_record,
)
from btfproto.errors import FsError
from btfproto.testing.domains import DAY, NOW, World, person
from btlib.clocks import CLOCK_SKEW
from btlib.errors import BlocktreeError, CapabilityError
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.revocations import Revocations
from btlib.writecaps import SERVE, Rights
from btserde import encode
from hypothesis import given
from hypothesis import strategies as st

WORLD = World.make()
SERVER = WORLD.path("hosts", "nas", "btfsd")
ENDPOINTS = ("nas.example:7464", "[2001:db8::1]:7464")


def signed(
    *, path: BlockPath = SERVER, now: int = NOW, lifetime: int = DAY, endpoints: Any = ENDPOINTS
) -> SignedRecord:
    return sign_record(WORLD.machine, path=path, server=SERVER, endpoints=endpoints, now=now, lifetime=lifetime)


def forged(**changes: Any) -> SignedRecord:
    """A record that the machine signed, though the library would not make it."""
    record = msgspec.structs.replace(read_record(signed()), **changes)
    body = encode(record)
    from btlib.labels import Label

    signature = WORLD.machine.signer.sign(Label.ENDPOINT, body)
    return msgspec.structs.replace(signed(), record=body, signature=signature)


def refusal(claim: SignedRecord, *, path: BlockPath = SERVER, now: int = NOW, **more: Any) -> FsError:
    with pytest.raises(FsError) as caught:
        check_record(claim, path=path, now=now, **more)
    return caught.value


def test_a_record_says_who_serves_where_and_until_when() -> None:
    record = check_record(signed(), path=SERVER, now=NOW + DAY)
    assert (record.path, record.server, record.endpoints) == (SERVER, SERVER, ENDPOINTS)
    assert (record.issued, record.expires) == (NOW, NOW + DAY)


def test_an_expired_record_is_refused() -> None:
    error = refusal(signed(), now=NOW + 4 * DAY)
    assert error.kind is Kind.EXPIRED
    assert "expired 3 days ago" in error.message


def test_a_record_from_the_future_is_refused() -> None:
    check_record(signed(now=NOW + CLOCK_SKEW), path=SERVER, now=NOW)
    error = refusal(signed(now=NOW + CLOCK_SKEW + 100), now=NOW)
    assert (error.kind, "made 86800 s from now" in error.message) == (Kind.INVALID, True)
    assert "clocks" in (error.hint or "")


def test_a_record_that_is_older_than_one_seen_is_refused() -> None:
    newest = signed(now=NOW + 60)
    error = refusal(signed(now=NOW), now=NOW + 60, newest=newest)
    assert (error.kind, "60 s older" in error.message) == (Kind.ROLLBACK, True)
    check_record(newest, path=SERVER, now=NOW + 60, newest=signed(now=NOW))
    check_record(newest, path=SERVER, now=NOW + 60, newest=newest)


def test_two_records_of_one_moment_are_refused() -> None:
    error = refusal(signed(endpoints=["other:1"]), newest=signed())
    assert error.kind is Kind.CONFLICT


def test_a_successor_is_newer_even_where_the_clock_was_put_back() -> None:
    first = read_record(signed(now=NOW))
    second = sign_record(
        WORLD.machine, path=SERVER, server=SERVER, endpoints=ENDPOINTS, now=NOW - 50, lifetime=DAY, before=first
    )
    assert read_record(second).issued == NOW + 1


def test_a_record_that_stands_at_another_path_is_refused() -> None:
    error = refusal(signed(), path=WORLD.path())
    assert (error.kind, "stands at" in error.message) == (Kind.INTEGRITY, True)


def test_a_stranger_serves_nothing() -> None:
    with pytest.raises(CapabilityError):
        sign_record(person(9), path=SERVER, server=SERVER, endpoints=ENDPOINTS, now=NOW, lifetime=DAY)


@pytest.mark.parametrize(
    ("names", "rights"),
    [(("hosts", "nas"), Rights.WRITE), (("hosts",), Rights.EXECUTE), (("hosts", "other"), SERVE)],
    ids=["write", "membership", "path"],
)
def test_whoever_may_not_serve_there_serves_nothing(names: tuple[str, ...], rights: Rights) -> None:
    bob = person(9)
    bob = bob.with_chains(WORLD.chain(bob, *names, rights=rights))
    with pytest.raises(CapabilityError):
        sign_record(bob, path=SERVER, server=SERVER, endpoints=ENDPOINTS, now=NOW, lifetime=DAY)
    claim = msgspec.structs.replace(signed(), chain=bob.chains[0])
    assert refusal(claim).kind is Kind.FORBIDDEN


def test_who_serves_below_does_not_serve_above() -> None:
    bob = person(9)
    bob = bob.with_chains(WORLD.chain(bob, "hosts", "nas"))
    sign_record(bob, path=SERVER, server=SERVER, endpoints=ENDPOINTS, now=NOW, lifetime=DAY)
    with pytest.raises(BlocktreeError):
        sign_record(bob, path=WORLD.path(), server=SERVER, endpoints=ENDPOINTS, now=NOW, lifetime=DAY)


def test_a_revoked_signer_is_refused() -> None:
    revoked = Revocations(version=1, principals={WORLD.machine.principal: NOW})
    error = refusal(signed(), revocations=revoked)
    assert "revoked" in error.message


def test_a_signature_of_somebody_else_is_refused() -> None:
    claim = msgspec.structs.replace(signed(), signer=WORLD.root.public)
    assert refusal(claim).kind is Kind.INTEGRITY


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoints": ()}, "0 endpoints"),
        ({"endpoints": tuple(f"h:{n}" for n in range(1, MAX_ENDPOINTS + 2))}, "17 endpoints"),
        ({"endpoints": ("a:1", "a:1")}, "twice"),
        ({"endpoints": ("a",)}, "host or port is missing"),
        ({"endpoints": ("unix:/run/x",)}, "socket of one machine"),
        ({"endpoints": ("0.0.0.0:1",)}, "where one listens"),
        ({"endpoints": ("[::]:1",)}, "where one listens"),
        ({"endpoints": ("a:0",)}, "where one listens"),
        ({"endpoints": ("a:0080",)}, "not written as"),
        ({"endpoints": ("a\x1b:80",)}, "not written as"),
        ({"endpoints": ("a" * 400 + ":1",)}, "at most 320"),
        ({"expires": NOW - 1}, "-1 s"),
        ({"expires": NOW + MAX_LIFETIME + 1}, "it lasts"),
        ({"server": BlockPath(person(9).principal)}, "different roots"),
        ({"format": 2}, "format 2"),
    ],
)
def test_what_is_malformed_is_refused_though_it_is_signed(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(forged(**changes)).message


@given(st.data())
def test_a_changed_or_cut_record_is_refused(data: st.DataObject) -> None:
    good = signed()
    body = bytearray(good.record)
    if data.draw(st.booleans()):
        del body[data.draw(st.integers(0, len(body) - 1)) :]
    else:
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BlocktreeError):
        check_record(msgspec.structs.replace(good, record=bytes(body)), path=SERVER, now=NOW)


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_or_has_a_fault(text: str) -> None:
    fault = endpoint_fault(text)
    assert fault is None or fault


# --- the longest prefix


def at(*names: str, now: int = NOW, lifetime: int = DAY, endpoint: str = "nas.example:1") -> SignedRecord:
    return sign_record(
        WORLD.machine, path=WORLD.path(*names), server=SERVER, endpoints=[endpoint], now=now, lifetime=lifetime
    )


def records(*claims: SignedRecord) -> dict[BlockPath, list[SignedRecord]]:
    found: dict[BlockPath, list[SignedRecord]] = {}
    for claim in claims:
        found.setdefault(read_record(claim).path, []).append(claim)
    return found


Look = Callable[..., Any]


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=3), max_size=6), st.lists(st.sampled_from("ab"), max_size=4))
def test_the_longest_prefix_wins(served: list[list[str]], target: list[str]) -> None:
    known = records(*(at(*names, endpoint=f"{'-'.join(names) or 'root'}:1") for names in served))
    found = resolve(WORLD.path(*target), known, now=NOW)
    fitting = [names for names in served if target[: len(names)] == names]
    expected = (f"{'-'.join(max(fitting, key=lambda names: len(list(names)))) or 'root'}:1",) if fitting else ()
    assert found.endpoints == expected


def test_an_expired_record_gives_way_to_one_further_up_and_says_why() -> None:
    found = resolve(WORLD.path("a", "b"), records(at("a", lifetime=5), at(endpoint="root:1")), now=NOW + 10)
    assert found.endpoints == ("root:1",)
    (refused,) = found.refused
    assert (refused.path, refused.server, refused.kind) == (WORLD.path("a"), SERVER, Kind.EXPIRED)


def test_nothing_found_says_what_stands_in_the_way() -> None:
    with pytest.raises(FsError, match="no endpoint record is known"):
        resolve(SERVER, {}, now=NOW).require()
    with pytest.raises(FsError, match="expired 9 seconds ago") as caught:
        resolve(SERVER, records(at(lifetime=1)), now=NOW + 10).require()
    assert caught.value.kind is Kind.EXPIRED


def test_several_servers_of_a_path_are_all_found_the_newest_first() -> None:
    other = person(9)
    elsewhere = WORLD.path("hosts", "other", "btfsd")
    other = other.with_chains(WORLD.chain(other))
    second = sign_record(other, path=WORLD.path(), server=elsewhere, endpoints=["other:1"], now=NOW + 5, lifetime=DAY)
    found = resolve(WORLD.path("x"), records(at(), second), now=NOW + 5)
    assert found.endpoints == ("other:1", "nas.example:1")
    assert [each.record.server for each in found.found] == [elsewhere, SERVER]


def test_what_is_rolled_back_is_named() -> None:
    newest = {(SERVER, SERVER): signed(now=NOW + 60)}
    found = resolve(SERVER, records(signed()), now=NOW + 60, newest=newest)
    assert (found.endpoints, found.refused[0].kind) == ((), Kind.ROLLBACK)


def test_each_path_has_a_block_of_its_own() -> None:
    assert endpoints_block(SERVER) != endpoints_block(WORLD.path()) == endpoints_block(WORLD.path())


def test_a_record_survives_its_encoding() -> None:
    claim = signed()
    assert isinstance(read_record(claim), EndpointRecord)
    assert encode(read_record(claim)) == claim.record
