"""`bt key rotate`: new keys for a machine and for the root; whoever is killed at whatever step loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from btfproto.store import EmbeddedStore
from btlib.credentials import FileCredentialStore
from btlib.words import seed_to_words

from .conftest import PASSPHRASE, Machine
from .serving import enrol, free_port, running_server, with_an_apple

KILLED = 9
MOST_WRITES = 60  #: of one rotation; a loop that never ends shall fail
ROTATE = ("key", "rotate", "home")
AT_ONCE = (*ROTATE, "--grace", "now")


def principal(machine: Machine, name: str = "credentials") -> str:
    return str(FileCredentialStore(machine.directory / name).public().principal)


@pytest.fixture
def words(nas: Machine, tmp_path: Path) -> Path:
    """The root's words, as on paper."""
    seed = FileCredentialStore(nas.directory / "root-credentials").reveal(PASSPHRASE).seed
    file = tmp_path / "words"
    file.write_text(" ".join(seed_to_words(seed)))
    file.chmod(0o600)
    return file


def counted(calls: Iterator[int], last: int, function: Callable[..., object]) -> Callable[..., object]:
    """The same function; at call number `last` the process ends instead, as under SIGKILL: nothing is cleaned up."""

    def call(*words: object, **named: object) -> object:
        if next(calls) == last:
            os._exit(KILLED)
        return function(*words, **named)

    return call


def killed_at(machine: Machine, last: int, *words: str | Path) -> bool:
    """Run `bt` in a process of its own that dies before its durable write number `last`. False: it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            calls = count()
            for owner, name in (
                (os, "link"),
                (Path, "replace"),
                (Path, "rename"),
                (Path, "unlink"),
                (EmbeddedStore, "commit"),
            ):
                setattr(owner, name, counted(calls, last, getattr(owner, name)))
            code = machine.call(machine.home, [str(word) for word in words], {}).code
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED), code
    return code == KILLED


MORTAL = """
import os, sys
from itertools import count
from pathlib import Path
from btfproto.store.remote import StoreClient
from blocktree.__main__ import run
calls, last = count(), int(sys.argv[1])
def mortal(function):
    def call(*words, **named):
        if next(calls) == last:
            os._exit(9)
        return function(*words, **named)
    return call
for owner, name in ((os, "link"), (Path, "replace"), (Path, "rename"), (Path, "unlink"), (StoreClient, "commit")):
    setattr(owner, name, mortal(getattr(owner, name)))
sys.exit(run(sys.argv[2:]))
"""


def killed_over_a_link_at(machine: Machine, last: int, *words: str | Path) -> bool:
    """The same for a command that talks to a server: what makes links has a thread, which does not survive a fork."""
    command = [sys.executable, "-c", MORTAL, str(last), *map(str, words)]
    done = subprocess.run(command, env=machine.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, KILLED), done
    return done.returncode == KILLED


def works(machine: Machine, tmp_path: Path, number: int) -> None:
    """It reads what was there, and writes."""
    assert machine("cat", "home:/notes/apple.txt").out == "an apple"
    machine("cp", tmp_path / "apple.txt", f"home:/notes/{number}.txt")


@pytest.fixture
def filled(nas: Machine, tmp_path: Path) -> Machine:
    with_an_apple(nas, tmp_path, "home:/notes")
    return nas


def test_the_machine_has_new_keys_and_all_it_had(filled: Machine, tmp_path: Path) -> None:
    before = principal(filled)
    done = filled(*ROTATE, "--json").document
    assert (done["old"], done["new"], done["refused"]) == (before, principal(filled), [])
    assert done["old_revoked_from"] is not None
    assert principal(filled) != before
    works(filled, tmp_path, 0)
    filled("revoke", before, "--yes")  # owners can go on revoking, and this one is revoked already
    assert sorted(path.name for path in filled.directory.glob("*credentials*")) == ["credentials", "root-credentials"]
    filled("scrub", "home:")


def test_the_old_keys_are_refused_afterwards(filled: Machine, tmp_path: Path) -> None:
    kept = (filled.directory / "credentials").read_bytes()
    filled(*AT_ONCE)
    (filled.directory / "credentials").write_bytes(kept)
    refused = filled("cp", tmp_path / "apple.txt", "home:/notes/late.txt", code=1)
    assert "can only be read here" in refused.err


def test_with_a_grace_the_old_keys_go_on_until_then(filled: Machine, tmp_path: Path) -> None:
    kept = (filled.directory / "credentials").read_bytes()
    assert "has to start anew by then" in filled("key", "rotate", "home").out
    new = (filled.directory / "credentials").read_bytes()
    (filled.directory / "credentials").write_bytes(kept)
    works(filled, tmp_path, 1)
    (filled.directory / "credentials").write_bytes(new)
    works(filled, tmp_path, 2)


def test_killed_before_any_durable_write_access_stays_and_the_same_command_completes_it(
    filled: Machine, tmp_path: Path
) -> None:
    before = principal(filled)
    for last in range(MOST_WRITES):
        killed = killed_at(filled, last, *ROTATE)
        works(filled, tmp_path, last)  # from whatever it left
        filled(*ROTATE) if killed else None
        works(filled, tmp_path, last)
        assert (filled.directory / "credentials.old").exists() is False
        assert (filled.directory / "credentials.next").exists() is False
        assert principal(filled) != before
        if not killed:
            break
    else:
        pytest.fail("a rotation never ends")
    assert last > 5  # it was killed at several places


def test_killed_again_and_again_it_still_arrives(filled: Machine, tmp_path: Path) -> None:
    before = principal(filled)
    for last in range(1, MOST_WRITES):
        if not killed_at(filled, last, *ROTATE):
            break
        works(filled, tmp_path, last)
    assert principal(filled) != before
    works(filled, tmp_path, 0)


def test_who_was_enrolled_and_granted_by_the_old_keys_works_on(
    filled: Machine, laptop: Machine, tmp_path: Path
) -> None:
    port = free_port()
    with running_server(filled, port, tmp_path / "first.log"):
        enrol(filled, laptop, port)
        filled("grant", "laptop", "home:/notes", "read,write")
        works(laptop, tmp_path, 1)
    filled(*AT_ONCE)
    with running_server(filled, port, tmp_path / "second.log"):
        works(laptop, tmp_path, 2)
        works(filled, tmp_path, 3)


def test_a_machine_without_the_root_asks_an_owner(filled: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    asked, answer = tmp_path / "laptop.rotation", tmp_path / "laptop.response"
    with running_server(filled, port, tmp_path / "btfsd.log"):
        enrol(filled, laptop, port)
        filled("grant", "laptop", "home:/notes", "read,write")
        before = principal(laptop)
        waiting = laptop("key", "rotate", "--out", asked, "--json").document
        assert waiting["waiting"] is True
        works(laptop, tmp_path, 1)
        signed = filled("key", "sign-rotation", asked, "--json").document
        assert (signed["old"], signed["new"], signed["host"]) == (before, waiting["new"], "laptop")
        works(laptop, tmp_path, 2)
        done = laptop("key", "rotate", "--response", answer)
        assert f"bt revoke {before}" in done.err
        assert principal(laptop) == waiting["new"]
        works(laptop, tmp_path, 3)
        filled("revoke", before, "--yes")
        works(laptop, tmp_path, 4)
        filled("grant", "laptop", "home:/notes", "read")  # the name goes with the new keys


def test_killed_again_and_again_while_an_owner_is_asked_a_person_has_access_all_the_time(
    filled: Machine, laptop: Machine, tmp_path: Path
) -> None:
    port = free_port()
    asked, answer = tmp_path / "laptop.rotation", tmp_path / "laptop.response"
    with running_server(filled, port, tmp_path / "btfsd.log"):
        enrol(filled, laptop, port)
        filled("grant", "laptop", "home:/notes", "read,write")
        before = principal(laptop)
        steps = (
            (laptop, ("key", "rotate", "--out", asked)),
            (filled, ("key", "sign-rotation", asked)),
            (laptop, ("key", "rotate", "--response", answer)),
            (filled, ("revoke", before, "--yes", "--keep-keys")),
        )
        killed = []
        for who, command in steps:
            for last in range(MOST_WRITES):
                if not killed_over_a_link_at(who, last, *command):
                    killed.append(last)
                    break
                works(laptop, tmp_path, last)
            else:
                pytest.fail(f"{command} never ends")
            works(laptop, tmp_path, 0)
        assert sum(killed) > 5  # it was killed at several places
        assert principal(laptop) != before


def test_new_keys_that_could_do_less_are_not_taken_into_use(filled: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    asked = tmp_path / "laptop.rotation"
    with running_server(filled, port, tmp_path / "btfsd.log"):
        enrol(filled, laptop, port)
        filled("grant", "laptop", "home:/notes", "read")
        before = principal(laptop)
        laptop("key", "rotate", "--out", asked)
        filled("key", "sign-rotation", asked)
        filled("mkdir", "home:/photos")
        filled("grant", before, "home:/photos", "read", code=1)  # its keys are known no more
        text = asked.with_suffix(".response").read_text()
        assert "blocktree enroll response" in text
        laptop("key", "rotate", "--cancel")
        assert principal(laptop) == before
        assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
        refused = laptop("key", "rotate", "--response", asked.with_suffix(".response"), code=3)
        assert "not for the keys that wait here" in refused.err


def test_an_altered_request_is_refused(filled: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    asked = tmp_path / "laptop.rotation"
    with running_server(filled, port, tmp_path / "btfsd.log"):
        enrol(filled, laptop, port)
        laptop("key", "rotate", "--out", asked)
        lines = asked.read_text().splitlines()
        middle = len(lines) // 2
        lines[middle] = lines[middle][::-1]
        asked.write_text("\n".join(lines) + "\n")
        filled("key", "sign-rotation", asked, code=6)


def test_keys_that_act_for_the_root_replace_the_roots_and_each_other(
    filled: Machine, words: Path, tmp_path: Path
) -> None:
    root = principal(filled, "root-credentials")
    first = filled("key", "rotate", "home", "--root", "--words-file", words)
    assert "on paper only" in first.out
    deputy = principal(filled, "root-credentials")
    assert deputy != root
    second = filled("key", "rotate", "home", "--root", "--words-file", words, "--json").document
    assert second["old"] == deputy
    assert second["old_revoked_from"] is not None
    filled(*ROTATE)  # signed by them
    works(filled, tmp_path, 0)
    filled("revoke", "00" * 16, "--root", "--yes")


def test_killed_at_any_write_the_root_acts_on(filled: Machine, words: Path, tmp_path: Path) -> None:
    command = ("key", "rotate", "home", "--root", "--words-file", words)
    for last in range(MOST_WRITES):
        killed = killed_at(filled, last, *command)
        filled("revoke", f"{last:032x}", "--root", "--yes")  # whatever stands there can act for the root
        filled(*command) if killed else None
        filled("revoke", f"{last + 1000:032x}", "--root", "--yes")
        if not killed:
            break
    else:
        pytest.fail("a rotation never ends")
    works(filled, tmp_path, 0)


def test_words_of_another_root_rotate_nothing(filled: Machine, tmp_path: Path) -> None:
    file = tmp_path / "other"
    file.write_text(" ".join(seed_to_words(bytes(32))))
    file.chmod(0o600)
    refused = filled("key", "rotate", "home", "--root", "--words-file", file, code=3)
    assert "not those of home" in refused.err
