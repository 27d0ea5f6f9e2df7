"""`bt status`: what it says of changes that could not be saved."""

from __future__ import annotations

from btfproto.localfs import FileKeeper, Kept

from .conftest import Machine

REASON = "another client took the write lease over while this one was away"


def keep(machine: Machine) -> None:
    keeper = FileKeeper(machine.home / "data" / "domains" / "home" / "recovered")
    keeper.note(Kept(name="a", time=1, reason=REASON, files=2, tree="/.recovered/a"))
    keeper.note(Kept(name="b", time=2, reason=REASON, files=1, directory="/somewhere"))


def test_status_says_where_changes_are_that_could_not_be_saved(nas: Machine) -> None:
    keep(nas)
    out = nas("status").out
    assert f"2 files in home:/.recovered/a: {REASON}" in out
    assert f"1 files in /somewhere: {REASON}" in out
    recovered = nas("status", "--json").document["domains"][0]["recovered"]  # type: ignore[index]
    assert [kept["files"] for kept in recovered] == [2, 1]


def test_and_does_not_any_more_once_the_note_is_gone(nas: Machine) -> None:
    keep(nas)
    for kept in nas("status", "--json").document["domains"][0]["recovered"]:  # type: ignore[index]
        nas.home.joinpath(str(kept["note"])).unlink()
    assert "recovered" not in nas("status").out
