"""What a revocation list holds, and how it may grow."""

from __future__ import annotations

import pytest
from btlib import Principal
from btlib.errors import CapabilityError
from btlib.revocations import MAX_REVOKED, NO_LIST, NO_REVOCATIONS, RevocationList, Revocations, Revoked, growth_fault
from btserde import SerdeError, decode, encode
from hypothesis import given
from hypothesis import strategies as st

ALICE, BOB, ROOT = (Principal(digest=bytes([number]) * 32) for number in (1, 2, 3))
SERIAL = b"serial of a cap."


def entry(since: int) -> Revoked:
    return Revoked(since=since, recorded=100, by=ROOT)


revoked = st.builds(Revoked, since=st.integers(-(2**63), 2**63 - 1), recorded=st.integers(0, 2**40), by=st.just(ROOT))
principals = st.dictionaries(st.sampled_from([ALICE, BOB]), revoked)
serials = st.dictionaries(st.binary(min_size=16, max_size=16), revoked, max_size=3)
lists = st.builds(RevocationList, version=st.integers(1, 2**40), principals=principals, serials=serials)


@given(lists)
def test_a_list_comes_back_from_its_encoding(known: RevocationList) -> None:
    assert decode(encode(known), RevocationList) == known


@given(lists, st.data())
def test_a_cut_or_flipped_list_is_refused_or_another_one(known: RevocationList, data: st.DataObject) -> None:
    encoded = bytearray(encode(known))
    with pytest.raises(SerdeError):
        decode(bytes(encoded[: data.draw(st.integers(0, len(encoded) - 1))]), RevocationList)
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = decode(bytes(encoded), RevocationList)
    except (SerdeError, CapabilityError):
        return
    assert other != known


@given(lists, principals, serials)
def test_an_extended_list_is_the_next_version_and_takes_nothing_back(
    known: RevocationList, more: dict[Principal, Revoked], some: dict[bytes, Revoked]
) -> None:
    longer = known.extended(more, some)
    assert longer.version == known.version + 1
    assert growth_fault(known, longer) is None
    assert all(longer.principals[who].since <= new.since for who, new in more.items())
    assert all(longer.serials[serial].since <= new.since for serial, new in some.items())


def test_only_an_earlier_moment_replaces_an_entry() -> None:
    known = NO_LIST.extended({ALICE: entry(50)}, {})
    assert known.extended({ALICE: entry(60)}, {}).principals == {ALICE: entry(50)}
    assert known.extended({ALICE: entry(40)}, {}).principals == {ALICE: entry(40)}


def test_taking_back_or_postponing_is_named() -> None:
    known = NO_LIST.extended({ALICE: entry(50)}, {SERIAL: entry(60)})
    without_alice = RevocationList(version=2, serials=dict(known.serials))
    without_serial = RevocationList(version=2, principals=dict(known.principals))
    later = RevocationList(version=2, principals={ALICE: entry(51)}, serials=dict(known.serials))
    assert "takes back the revocation of bt1" in (growth_fault(known, without_alice) or "")
    assert f"writecap {SERIAL.hex()}" in (growth_fault(known, without_serial) or "")
    assert "later (1970-01-01 00:00:51 UTC) than before" in (growth_fault(known, later) or "")


def test_a_standing_changes_with_the_version_and_with_each_moment_that_comes() -> None:
    known = Revocations(version=3, principals={ALICE: 50}, serials={SERIAL: 60})
    assert [known.standing(now) for now in (49, 50, 59, 60)] == [(3, 0), (3, 1), (3, 1), (3, 2)]
    assert NO_REVOCATIONS.standing(0) == (0, 0)


def test_a_revoked_principal_is_told_since_when() -> None:
    known = NO_LIST.extended({ALICE: entry(50)}, {}).effective
    assert known.revoked(ALICE, 49) is None
    assert known.revoked(BOB, 50) is None
    assert known.revoked(ALICE, 50) == f"{ALICE} was revoked on 1970-01-01 00:00:50 UTC"


def test_a_list_beyond_its_bound_does_not_exist() -> None:
    many = {number.to_bytes(16, "big"): entry(0) for number in range(MAX_REVOKED + 1)}
    with pytest.raises(CapabilityError, match="at most 25000"):
        NO_LIST.extended({}, many)
