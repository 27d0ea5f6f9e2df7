"""`bt` and servers: the machine that holds the store, one that reaches it over TLS, and servers not to be trusted."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from blocktree.commands import enroll
from blocktree.session import now

from .conftest import Machine
from .serving import enrol, running_server


def test_the_machine_with_the_store_works_on_while_it_is_served(served: Machine, tmp_path: Path) -> None:
    assert served("cat", "home:/notes/apple.txt").out == "an apple"
    served("cp", tmp_path / "apple.txt", "home:/notes/pear.txt")
    assert served("ls", "home:/notes").out == "apple.txt\npear.txt\n"
    (domain,) = json.loads(served("status", "--check", "--json").out)["domains"]
    assert domain["holder"]["program"] == "btfsd"
    assert domain["check"]["blocks"] > 0


def test_a_member_without_a_grant_is_refused_with_what_to_ask_for(served: Machine, laptop: Machine, port: int) -> None:
    enrol(served, laptop, port)
    refused = laptop("ls", "home:/notes", code=5)
    assert "holds no read capability for" in refused.err
    assert "bt grant" in refused.err
    assert refused.err.count("\n") == 1


def test_reading_was_granted_and_nothing_else(served: Machine, laptop: Machine, port: int, tmp_path: Path) -> None:
    enrol(served, laptop, port)
    served("grant", "laptop", "home:/notes", "read")
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
    laptop("ls", "home:/private", code=5)
    laptop("ls", "home:", code=5)
    refused = laptop.process("cp", tmp_path / "apple.txt", "home:/notes/plum.txt", code=1)
    assert refused.err.count("Traceback") == 0
    assert served("ls", "home:/notes").out == "apple.txt\n"
    explained = json.loads(laptop("access", "explain", "home:/notes", "--json").out)
    assert (explained["read"]["allowed"], explained["write"]["allowed"]) == (True, False)


def test_each_sees_what_the_other_writes(served: Machine, laptop: Machine, port: int, tmp_path: Path) -> None:
    enrol(served, laptop, port)
    served("grant", "laptop", "home:/notes", "read,write")
    laptop("cp", tmp_path / "apple.txt", "home:/notes/from-laptop.txt")
    assert served("cat", "home:/notes/from-laptop.txt").out == "an apple"
    served("cp", "home:/notes/from-laptop.txt", "home:/notes/from-nas.txt")
    assert laptop("cat", "home:/notes/from-nas.txt").out == "an apple"
    laptop("rm", "home:/notes/apple.txt")
    assert served("ls", "home:/notes").out == "from-laptop.txt\nfrom-nas.txt\n"


def test_a_server_that_is_down(nas: Machine, laptop: Machine, port: int) -> None:
    enrol(nas, laptop, port)
    done = laptop("ls", "home:/", code=4)
    assert f"127.0.0.1:{port}" in done.err
    assert done.err.count("\n") == 1
    assert json.loads(laptop("status", "--check", "--json", code=4).out)["domains"][0]["error"]["kind"] == "UNREACHABLE"


def test_a_server_of_another_root_is_not_believed(
    nas: Machine, laptop: Machine, machine_at: Callable[[Path], Machine], port: int, tmp_path: Path
) -> None:
    enrol(nas, laptop, port)
    evil = machine_at(tmp_path / "evil")
    evil("init", "home", "--host", "nas", "--no-input")
    with running_server(evil, port, tmp_path / "evil.log"):
        done = laptop("ls", "home:/", code=5)
    assert "is not the root" in done.err
    assert done.err.count("\n") == 1


def test_something_else_at_the_servers_port(nas: Machine, laptop: Machine, port: int) -> None:
    enrol(nas, laptop, port)
    with socket.create_server(("127.0.0.1", port)):
        done = laptop("ls", "home:/", code=4)
    assert "Traceback" not in done.err


def test_a_machine_whose_time_is_over(
    served: Machine, laptop: Machine, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enrolled a little in the past, within the clocks' skew at which the domain's own chain begins.
    with monkeypatch.context() as past:
        past.setattr(enroll, "now", lambda: now() - 200)
        past.setattr(enroll, "parse_until", lambda text, moment: now() - 100)
        enrol(served, laptop, port)
    done = laptop("ls", "home:/notes", code=5)
    assert "expired on" in done.err


@pytest.mark.mount
def test_a_mount_end_to_end_and_thin(served: Machine, laptop: Machine, port: int, tmp_path: Path) -> None:
    enrol(served, laptop, port)
    served("grant", "laptop", "home:/notes", "read,write")
    place = tmp_path / "tree"
    place.mkdir()
    for options in (["--server"], ["--server", "--thin"]):
        laptop("mount", *options, "home:/notes", place)
        try:
            assert (place / "apple.txt").read_text() == "an apple"
            (place / "new.txt").write_text(" ".join(options))
            os.sync()
        finally:
            laptop("umount", place)
        assert served("cat", "home:/notes/new.txt").out == " ".join(options)


def test_the_services_of_the_server_are_listed_with_what_they_hold(served: Machine, port: int) -> None:
    at = f"127.0.0.1:{port}"
    lines = [line.split() for line in served("ps", "home:/hosts/nas/btfsd", "--at", at).out.splitlines()[1:]]
    assert [line[:4] for line in lines] == [
        ["store", "StoreService", "running", "0"],
        ["fs", "FileService", "running", "0"],
    ]
    actors = served("ps", "home:/hosts/nas/btfsd", "--at", at, "--json").document["actors"]
    assert isinstance(actors, list)
    assert actors[1]["figures"] == {"lock owners": 0, "open files": 0, "sessions": 0, "under way": 0}
