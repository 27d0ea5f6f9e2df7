"""`bt group`: three homes and a server; who is in a group may, who was put out may not, and all of it is shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import blocktree.commands.group
import pytest
from btfproto.domain import GroupKeeper

from .conftest import Machine
from .serving import enrol, free_port, running_server, with_an_apple
from .test_access import explained, joined, rows


@pytest.fixture
def tablet(machine_at: Callable[[Path], Machine], homes: Path) -> Machine:
    return machine_at(homes / "tablet")


@pytest.fixture
def family(nas: Machine, laptop: Machine, tablet: Machine) -> Machine:
    """The first machine; `/photos` is granted to a group in which the laptop is, and the tablet is not."""
    nas("mkdir", "-p", "home:/photos/2026")
    joined(nas, laptop)
    joined(nas, tablet)
    nas("group", "create", "family")
    nas("group", "add", "family", "laptop", "--until", "90d")
    nas("grant", "family", "home:/photos", "read,write,run")
    return nas


@pytest.fixture
def served(
    nas: Machine, laptop: Machine, tablet: Machine, tmp_path: Path, homes: Path
) -> Iterator[tuple[Machine, Machine, Machine]]:
    """Three homes: one with the store, two that are enrolled and reach it."""
    with_an_apple(nas, tmp_path, "home:/photos", "home:/private")
    port = free_port()
    with running_server(nas, port, tmp_path / "btfsd.log"):
        for machine in (laptop, tablet):
            enrol(nas, machine, port)
        yield nas, laptop, tablet


def test_members_read_and_write_end_to_end_until_they_are_put_out(
    served: tuple[Machine, Machine, Machine], tmp_path: Path
) -> None:
    nas, laptop, tablet = served
    nas("group", "create", "family")
    nas("grant", "family", "home:/photos", "read,write")
    done = nas("group", "add", "family", "laptop", "tablet", "--json").document
    assert done["writecaps"] == 2
    for machine in (laptop, tablet):
        name = f"{machine.home.name}.txt"
        assert machine("cat", "home:/photos/apple.txt").out == "an apple"
        machine("cp", tmp_path / "apple.txt", f"home:/photos/{name}")
        machine("ls", "home:/private", code=5)
    assert explained(laptop, "home:/photos")["read"]["via"] == done["principal"]
    assert "readcap of the group family" in laptop("access", "explain", "home:/photos").out

    gone = nas("group", "remove", "family", "tablet", "--yes")
    assert "What it has read it keeps." in gone.err
    assert "files when they are written" in gone.err
    assert "3 files there get theirs when they are written, or by bt rekey --resume." in gone.out
    assert "holds no read capability" in tablet("cat", "home:/photos/apple.txt", code=5).err
    tablet("cp", tmp_path / "apple.txt", "home:/photos/more.txt", code=5)
    laptop("cp", tmp_path / "apple.txt", "home:/photos/still.txt")
    assert nas("ls", "home:/photos").out.split() == ["apple.txt", "laptop.txt", "still.txt", "tablet.txt"]

    assert "3 files and directories at home:/photos have new keys" in nas("rekey", "--resume").out
    assert laptop("cat", "home:/photos/tablet.txt").out == "an apple"
    tablet("ls", "home:/photos", code=5)


@pytest.mark.mount
def test_members_mount_thin_until_they_are_put_out(served: tuple[Machine, Machine, Machine], tmp_path: Path) -> None:
    nas, laptop, tablet = served
    nas("group", "create", "family")
    nas("grant", "family", "home:/photos", "read,write")
    nas("group", "add", "family", "laptop", "tablet")
    nas("group", "remove", "family", "tablet", "--yes")
    place = tmp_path / "mounted"
    place.mkdir()
    laptop("mount", "--server", "--thin", "home:/photos", place)
    try:
        assert (place / "apple.txt").read_text() == "an apple"
        (place / "thin.txt").write_text("through the server")
        os.sync()
    finally:
        laptop("umount", place)
    assert nas("cat", "home:/photos/thin.txt").out == "through the server"
    tablet("mount", "--server", "--thin", "home:/photos", place, code=5)


def test_list_and_explain_show_the_group_and_through_which_chain(family: Machine) -> None:
    found = rows(family, "home:/photos/2026")
    group, laptop = found["family"], found["laptop"]
    assert (group["group"], laptop["group"]) == (True, False)
    assert laptop["read"]["via"] == group["principal"]
    assert [cap["issuer"] for cap in laptop["write"]["chain"]][-1] == group["principal"]
    assert [laptop[power]["allowed"] for power in ("read", "write", "execute")] == [True, True, True]
    assert laptop["read"]["until"] == laptop["write"]["until"] < group["write"]["until"]
    assert "tablet" not in found
    text = family("access", "list", "home:/photos").out
    assert "group family (" in text
    assert "by a readcap of family" in text
    assert "→ family" in text
    told = family("access", "explain", "laptop", "home:/photos").out
    assert "a readcap of the group" in told
    assert family("access", "explain", "family", "home:/photos", "--json").document["read"] is not None
    why_not = explained(family, "tablet", "home:/photos")
    assert [why_not[power]["failed"] for power in ("read", "write", "execute")] == ["readcap", "subject", "subject"]


def test_who_was_put_out_is_told_why_not_and_the_log_tells_when(family: Machine) -> None:
    family("group", "add", "family", "tablet")
    family("group", "remove", "family", "tablet", "--yes")
    why_not = explained(family, "tablet", "home:/photos")
    assert why_not["write"]["failed"] == "revocation"
    assert not why_not["read"]["allowed"]
    log = family("access", "log", "home:").out
    assert "into the group family until" in log
    assert "out of the group family" in log
    told = family("access", "log", "home:", "--principal", "family", "--json").document["entries"]
    assert isinstance(told, list)
    assert {entry["what"] for entry in told} >= {"granted", "key given", "joined", "left"}
    shown = family("group", "show", "family")
    assert "tablet (" in shown.out
    assert "was put out on" in shown.out


def test_a_group_is_listed_and_shown_and_rotated(family: Machine, laptop: Machine) -> None:
    before = family("group", "show", "family", "--json").document
    assert [member["name"] for member in before["members"]] == ["laptop"]  # type: ignore[attr-defined]
    assert len(before["managers"]) == 2  # type: ignore[arg-type]
    rotated = family("group", "rotate", "family", "--json").document
    assert rotated["revoked"] == before["principal"]
    assert rotated["principal"] != before["principal"]
    assert "1 members, managed here" in family("group", "list").out
    assert rows(family, "home:/photos")["laptop"]["write"]["allowed"]


class Killed(BaseException):
    """In the middle of a command."""


def kill(*_: object) -> None:
    raise Killed


def rekeying(machine: Machine) -> list[str]:
    """What is noted to be re-keyed."""
    found = machine("status", "--json").document["domains"]
    assert isinstance(found, list)
    return [note["path"] for domain in found for note in domain["rekeying"]]


def test_who_was_put_out_when_the_command_was_killed_gets_no_new_keys_either(
    family: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    family("group", "add", "family", "tablet")
    with monkeypatch.context() as patch:
        patch.setattr(blocktree.commands.group, "_let_the_second_pass", kill)  # the removal is durable
        with pytest.raises(Killed):
            family("group", "remove", "family", "tablet", "--yes")
    assert rekeying(family) == ["home:/photos"]
    assert "2 files and directories at home:/photos have new keys" in family("rekey", "--resume").out
    assert rekeying(family) == []


def test_completing_a_removal_gives_directories_new_keys_too(family: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    family("group", "add", "family", "tablet")
    with monkeypatch.context() as patch:
        patch.setattr(GroupKeeper, "_revoke", kill)  # the last step of it
        with pytest.raises(Killed):
            family("group", "remove", "family", "tablet", "--yes")
    done = family("group", "rotate", "family", "--json").document
    assert done["revoked"] is not None
    assert done["rekeyed"] == [{"path": f"/{family.root}/photos", "blocks": 2, "waiting": 0}]
    assert rekeying(family) == []


def test_collecting_and_scrubbing_leave_a_group_as_it_is(family: Machine) -> None:
    family("gc", "home:")
    assert family("scrub", "home:", "--json").document
    assert rows(family, "home:/photos")["laptop"]["write"]["allowed"]
    family("group", "add", "family", "tablet")
    family("rekey", "home:/photos")
    found = rows(family, "home:/photos")
    assert [found[who]["read"]["allowed"] for who in ("family", "laptop", "tablet")] == [True, True, True]


def test_the_root_brings_a_group_back_that_its_manager_lost(family: Machine) -> None:
    family("group", "add", "family", "tablet", "--root")
    assert rows(family, "home:/photos")["tablet"]["write"]["allowed"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("grant", "family", "home:/photos", "write", "--delegate"), 2, "do not pass on"),
        (("group", "create", "family"), 1, "there is a group called family already"),
        (("group", "create", "laptop"), 1, "is somebody's name here already"),
        (("group", "add", "family", "nobody"), 1, "the keys of nobody are not known"),
        (("group", "add", "strangers", "laptop"), 1, "no group is called strangers here; see: bt group list"),
        (("group", "remove", "family", "tablet", "--yes"), 1, "is not in the group family"),
        (("group", "add", "family", "family"), 1, "a group cannot be in a group"),
        (("group", "remove", "family", "laptop"), 2, "use --yes"),
        (("group", "add", "family", "laptop", "--until", "1d"), 2, "remove it, and add it again"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(
    family: Machine, words: tuple[str, ...], code: int, text: str
) -> None:
    done = family(*words, code=code)
    assert text in done.err
    assert "Traceback" not in done.err
