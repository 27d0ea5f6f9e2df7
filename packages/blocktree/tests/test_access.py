"""`bt access list`, `explain` and `log`: who, through whom, until when, why not, and since when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Machine


def joined(nas: Machine, machine: Machine) -> str:
    """Enrol a machine without a server; its principal."""
    file = machine.home.parent / f"{machine.home.name}.request"
    asked = machine("enroll", "request", "home", "--host", machine.home.name, "--out", file, "--json").document
    nas("enroll", "sign", file, "--yes", "--server", "127.0.0.1:1")
    return str(asked["principal"])


@pytest.fixture
def tablet(machine_at: Callable[[Path], Machine], homes: Path) -> Machine:
    return machine_at(homes / "tablet")


@pytest.fixture
def shared(nas: Machine, laptop: Machine, tablet: Machine) -> tuple[Machine, str, str]:
    """The first machine; the laptop may read and write at `/photos`, the tablet read below."""
    nas("mkdir", "-p", "home:/photos/2026", "home:/notes")
    one, two = joined(nas, laptop), joined(nas, tablet)
    nas("grant", "laptop", "home:/photos", "read,write", "--until", "90d")
    nas("grant", "tablet", "home:/photos/2026", "read")
    return nas, one, two


def explained(machine: Machine, *words: str) -> dict[str, Any]:
    return machine("access", "explain", *words, "--json").document


def rows(machine: Machine, path: str) -> dict[str | None, dict[str, Any]]:
    listed = machine("access", "list", path, "--json").document["principals"]
    assert isinstance(listed, list)
    return {row["name"]: row for row in listed}


def entries(machine: Machine, *words: str) -> list[dict[str, Any]]:
    found = machine("access", "log", *words, "--json").document["entries"]
    assert isinstance(found, list)
    return found


class TestList:
    def test_names_who_can_do_what_through_whom_and_until_when(self, shared: tuple[Machine, str, str]) -> None:
        nas, laptop, _ = shared
        found = rows(nas, "home:/photos")
        assert set(found) == {"root", None, "laptop"}
        row = found["laptop"]
        assert row["principal"] == laptop
        assert [row[power]["allowed"] for power in ("read", "write", "execute")] == [True, True, False]
        assert [cap["issuer"] for cap in row["write"]["chain"]] == [
            found["root"]["principal"],
            found[None]["principal"],
        ]
        text = nas("access", "list", "home:/photos")
        assert f"laptop ({laptop})" in text.out
        assert "by a readcap" in text.out
        assert "by root → " in text.out
        assert "Not shown: what passed from hand to hand" in text.err

    def test_below_a_grant_it_shows_the_grants_above_as_well(self, shared: tuple[Machine, str, str]) -> None:
        nas, _, tablet = shared
        found = rows(nas, "home:/photos/2026")
        assert found["tablet"]["principal"] == tablet
        assert found["tablet"]["read"]["allowed"]
        assert found["laptop"]["write"]["allowed"]
        assert "tablet" not in rows(nas, "home:/notes")

    def test_shows_who_was_revoked_and_since_when(self, shared: tuple[Machine, str, str]) -> None:
        nas, laptop, _ = shared
        nas("revoke", "laptop", "--yes")
        row = rows(nas, "home:/photos")["laptop"]
        assert row["revoked_since"] is not None
        assert [row[power]["failed"] for power in ("read", "write")] == ["revocation", "revocation"]
        assert f"no: {laptop} was revoked on" in nas("access", "list", "home:/photos").out


class TestExplain:
    def test_names_the_failing_step(self, shared: tuple[Machine, str, str]) -> None:
        nas, laptop, _ = shared
        above = explained(nas, "laptop", "home:/notes")
        assert [above[power]["failed"] for power in ("read", "write", "execute")] == ["readcap", "path", "path"]
        nas("revoke", "laptop", "--yes")
        text = nas("access", "explain", laptop, "home:/photos").out
        assert "read: no, it fails at: revocation" in text
        assert "write: no, it fails at: revocation" in text
        assert "the subject of writecap 2, was revoked on" in text

    def test_a_right_elsewhere_fails_at_the_path(self, shared: tuple[Machine, str, str]) -> None:
        nas, _, _ = shared
        nas("grant", "tablet", "home:/", "execute")
        done = explained(nas, "tablet", "home:/photos")
        assert done["execute"]["allowed"]
        assert done["write"]["failed"] == "right"

    def test_to_run_and_to_delegate_are_said_as_people_say_them(self, shared: tuple[Machine, str, str]) -> None:
        nas, _, _ = shared
        nas("grant", "tablet", "home:/notes", "run", "--delegate", "--until", "2d")
        done = explained(nas, "tablet", "home:/notes")
        assert [done[power]["allowed"] for power in ("read", "write", "execute")] == [False, False, True]
        given = next(entry for entry in entries(nas, "home:/notes") if entry["rights"] == "execute")
        assert given["may_delegate"]
        assert given["until"] == done["execute"]["until"]

    def test_more_than_two_words_are_refused(self, nas: Machine) -> None:
        assert "[PRINCIPAL] PETNAME:/PATH" in nas("access", "explain", "a", "b", "home:/", code=2).err


def test_who_was_granted_something_above_keeps_it_and_that_is_said(shared: tuple[Machine, str, str]) -> None:
    nas, laptop, _ = shared
    nas("grant", "laptop", "home:/photos/2026", "read")
    done = nas("revoke", "laptop", "home:/photos/2026", "--yes")
    assert "What it was granted above reaches there as well, and stays" in done.err
    assert rows(nas, "home:/photos/2026")["laptop"]["read"]["allowed"]
    assert "above" not in nas("revoke", laptop, "home:/photos", "--yes").err


class TestLog:
    def test_tells_grants_keys_and_revocations_in_their_order(self, shared: tuple[Machine, str, str]) -> None:
        nas, laptop, tablet = shared
        nas("revoke", "tablet", "--yes", "--keep-keys")
        found = entries(nas, "home:")
        assert [entry["time"] for entry in found] == sorted(entry["time"] for entry in found)
        (grant,) = [entry for entry in found if entry["principal"] == laptop and entry["what"] == "granted"]
        assert (grant["rights"], grant["path"].split("/", 2)[2], grant["may_delegate"]) == ("write", "photos", False)
        assert {entry["what"] for entry in found if entry["principal"] == tablet} == {"key given", "revoked"}
        text = nas("access", "log", "home:")
        assert "lets laptop write at home:/photos until" in text.out
        assert "revoked tablet from" in text.out
        assert "readcaps that were withdrawn" in text.err

    def test_can_be_asked_by_principal_place_and_time(self, shared: tuple[Machine, str, str]) -> None:
        nas, laptop, tablet = shared
        assert {entry["principal"] for entry in entries(nas, "home:", "--principal", "tablet")} == {tablet}
        assert {entry["principal"] for entry in entries(nas, "home:/photos")} == {laptop}
        assert entries(nas, "home:", "--since", "2999-01-01") == []

    def test_a_serial_from_the_log_can_be_revoked_and_is_told(self, shared: tuple[Machine, str, str]) -> None:
        nas, laptop, _ = shared
        (grant,) = entries(nas, "home:/photos")
        nas("revoke", grant["serial"], "--yes")
        (revoked,) = [entry for entry in entries(nas, "home:/photos") if entry["what"] == "revoked"]
        assert (revoked["principal"], revoked["serial"]) == (laptop, grant["serial"])
        assert "of laptop at home:/photos" in nas("access", "log", "home:/photos").out
