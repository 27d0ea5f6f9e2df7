"""Mounts and servers that run on past the end of what they were given, for real: processes, links and their own clocks.

What ends here ends some seconds after the test began. A membership that ends so soon began a year ago, so it is in its
last third, and is renewed; a grant is renewed by hand.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from btfproto.domain import DomainReader, Draft, commit_draft, grants_block
from btfproto.opening import open_store
from btfproto.store import EmbeddedStore
from btlib.credentials import FileCredentialStore
from btlib.home import Home
from btlib.principals import Principal
from btlib.writecaps import Chain, issue_writecap

from .conftest import CHEAP, PASSPHRASE, Machine
from .serving import enrol, free_port, running_server, with_an_apple

YEAR = 365 * 86_400
SPAN = 20  #: seconds that everything lasts: until servers and mounts run, on a busy machine
PATIENCE = 30.0


def reissue(machine: Machine, root: Machine, begin: int, end: int) -> tuple[Chain, ...]:
    """Let the machine hold what it was given from `begin` to `end` instead, from the root itself."""
    kept = FileCredentialStore(machine.directory / "credentials", CHEAP)
    issuer = FileCredentialStore(root.directory / "root-credentials").unlock(PASSPHRASE)
    last = [chain.last for chain in kept.unlock(PASSPHRASE).chains]
    chains = tuple(
        issue_writecap(
            issuer.signer,
            Chain(),
            subject=cap.subject,
            path=cap.block_path,
            scope=cap.scope,
            rights=cap.rights,  # type: ignore[arg-type]
            not_before=begin,
            not_after=end,
            may_delegate=cap.may_delegate,
            serial=secrets.token_bytes(16),
        )
        for cap in last
        if cap is not None
    )
    kept.save(msgspec.structs.replace(kept.reveal(PASSPHRASE), chains=chains), PASSPHRASE, replace=True)
    return chains


def record(machine: Machine, chains: Sequence[Chain]) -> None:
    """Let the records say so too, and nothing else, of the first machine."""
    domain = Home.find({"BLOCKTREE_HOME": str(machine.home)}).domain("home")
    root = FileCredentialStore(machine.directory / "root-credentials").unlock(PASSPHRASE)
    with closing(open_store(domain, root)) as store:
        reader = DomainReader(store, domain.root)
        scope, who = reader.domain().scope, Principal.parse(machine.principal)
        header, old = reader.grants(scope, who)
        draft = Draft(root.signer, Chain(), now=int(time.time()))
        grants = msgspec.structs.replace(old, chains=tuple(chains))
        draft.put_public(grants_block(scope, who), scope, grants, previous=header)
        commit_draft(store, draft, scope, secrets.token_bytes(16))


@dataclass
class Mounted:
    place: Path
    log: Path
    written: int = 0

    def write(self) -> None:
        """One more file, durable."""
        with (self.place / f"{self.place.name} {self.written}").open("wb") as file:
            file.write(b"content")
            file.flush()
            os.fsync(file.fileno())
        self.written += 1

    def check(self, reader: Machine, directory: str) -> None:
        """Somebody else, who believes nothing unverified, has all that was written, and reads what came last."""
        names = reader("ls", directory).out.splitlines()
        assert {f"{self.place.name} {number}" for number in range(self.written)} <= set(names)
        assert reader("cat", f"{directory}/{self.place.name} {self.written - 1}").out == "content"


@contextmanager
def mounted(machine: Machine, place: Path, *words: str) -> Iterator[Mounted]:
    place.mkdir()
    log = place.with_suffix(".log")
    command = [sys.executable, "-m", "btfuse", "-f", *words, str(place)]
    with log.open("wb") as messages:
        process = subprocess.Popen(command, env=machine.environment(), stdout=messages, stderr=messages)
    try:
        end = time.monotonic() + PATIENCE
        while "is mounted" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield Mounted(place, log)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def write_until(moment: float, mounts: Sequence[Mounted]) -> None:
    """All the time, so that nobody misses the moment."""
    while time.time() < moment:
        for mount in mounts:
            mount.write()
        time.sleep(0.2)


@pytest.mark.mount
def test_mounts_write_on_past_the_end_of_what_they_began_with(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    with_an_apple(nas, tmp_path, "home:/notes")
    with running_server(nas, port, tmp_path / "btfsd.log"), ExitStack() as stack:
        enrol(nas, laptop, port)
        end = int(time.time()) + SPAN
        reissue(laptop, nas, end - YEAR, end)
        nas("grant", "laptop", "home:/notes", "read,write", "--until", iso(end))
        mounts = [
            stack.enter_context(mounted(laptop, tmp_path / name, "--server", *words, "home:/notes"))
            for name, words in {"here": [], "thin": ["--thin"]}.items()
        ]
        assert time.time() < end - 2, "this machine is too slow for SPAN"
        write_until(end - 1, mounts)
        nas("grant", "laptop", "home:/notes", "read,write", "--until", "1y")
        write_until(end + 4, mounts)
        told = (tmp_path / "btfsd.log").read_text()
        assert told.count("renewed the membership of") == 2  # of its two chains, once each
        assert "no membership that counts" not in told
        for mount in mounts:
            assert re.search(r"warning|error|cannot", mount.log.read_text(), re.IGNORECASE) is None
        nas("revoke", "laptop", "--yes")
        for mount in mounts:
            with pytest.raises(OSError, match=r"ermission denied|Read-only|Key has been revoked|Key has expired"):
                mount.place.joinpath("after it was revoked").write_bytes(b"content")
        for mount in mounts:
            mount.check(nas, "home:/notes")


@pytest.mark.mount
def test_a_server_and_its_own_machine_go_on_when_the_root_gave_it_more(
    nas: Machine, laptop: Machine, tmp_path: Path
) -> None:
    port = free_port()
    with_an_apple(nas, tmp_path, "home:/notes")
    end = int(time.time()) + SPAN
    record(nas, reissue(nas, nas, end - YEAR, end))
    with running_server(nas, port, tmp_path / "btfsd.log"), ExitStack() as stack:
        own = stack.enter_context(mounted(nas, tmp_path / "own", "home:/"))
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/notes", "read,write")
        thin = stack.enter_context(mounted(laptop, tmp_path / "thin", "--server", "--thin", "home:/notes"))
        assert time.time() < end - 2, "this machine is too slow for SPAN"
        write_until(end - 1, [own, thin])
        nas("grant", nas.principal, "home:/", "write,execute", "--delegate", "--until", "10y", "--root")
        nas("grant", "laptop", "home:/notes", "write")
        nas("enroll", "sign", "laptop", "--yes", "--out", tmp_path / "laptop.response")
        write_until(end + 4, [own, thin])
        own.check(nas, "home:")
        thin.check(nas, "home:/notes")


@pytest.mark.mount
def test_a_mount_alone_says_how_long_is_left_and_stops_at_the_end_until_the_root_gave_more(
    nas: Machine, tmp_path: Path
) -> None:
    end = int(time.time()) + SPAN // 2
    record(nas, reissue(nas, nas, end - YEAR, end))
    with mounted(nas, tmp_path / "own", "home:/") as own:
        write_until(end - 1, [own])
        told = own.log.read_text()
        assert "ends in 0 hours, and nothing follows it yet" in told
        assert f"bt grant {nas.principal}" in told
        assert "--root" in told
        while time.time() < end + 1.5:
            time.sleep(0.1)
        with pytest.raises(OSError, match="Read-only file system"):
            own.write()
        assert (tmp_path / "own" / "own 0").read_bytes() == b"content"
    nas("grant", nas.principal, "home:/", "write,execute", "--delegate", "--until", "10y", "--root")
    own.check(nas, "home:")
    with mounted(nas, tmp_path / "again", "home:/") as again:
        again.write()
    again.check(nas, "home:")


def test_who_was_revoked_in_the_last_third_is_not_renewed_and_stays_out(
    nas: Machine, laptop: Machine, tmp_path: Path
) -> None:
    port, now = free_port(), int(time.time())
    with_an_apple(nas, tmp_path, "home:/notes")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/notes", "read,write")
        reissue(laptop, nas, now - YEAR, now + YEAR // 10)
        nas("revoke", "laptop", "--yes")
        assert "was revoked on" in laptop("cat", "home:/notes/apple.txt", code=5).err
    assert "renewed" not in (tmp_path / "btfsd.log").read_text()


def test_who_connects_in_the_last_third_is_renewed_once(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    port, now = free_port(), int(time.time())
    log = tmp_path / "btfsd.log"
    with_an_apple(nas, tmp_path, "home:/notes")
    with running_server(nas, port, log):
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/notes", "read,write")
        laptop("cat", "home:/notes/apple.txt")
        reissue(laptop, nas, now - YEAR, now + YEAR // 10)
        for _ in range(3):
            assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
    with running_server(nas, port, tmp_path / "again.log"):
        laptop("cat", "home:/notes/apple.txt")
    assert log.read_text().count("renewed the membership of") == 2
    assert "renewed" not in (tmp_path / "again.log").read_text()


def test_a_membership_that_is_signed_again_stands_in_the_records_before_it_is_accepted(
    nas: Machine, laptop: Machine, tmp_path: Path
) -> None:
    port, now = free_port(), int(time.time())
    with_an_apple(nas, tmp_path, "home:/notes")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/notes", "read")
        reissue(laptop, nas, now - 90_000, now - 1000)  # too short for a server to renew it
        assert "bt enroll" in laptop("cat", "home:/notes/apple.txt", code=5).err
        nas("enroll", "sign", "laptop", "--yes", "--out", tmp_path / "again.response")
        assert laptop("cat", "home:/notes/apple.txt").out == "an apple"


def test_who_signs_without_reaching_the_store_is_told_that_what_runs_there_has_to_be_started_again(
    nas: Machine, laptop: Machine, tmp_path: Path
) -> None:
    enrol(nas, laptop, free_port())
    with closing(EmbeddedStore(nas.store, program="another program")):
        done = nas("enroll", "sign", "laptop", "--yes", "--out", tmp_path / "again.response")
    assert "has to be started again after accept" in done.err
    assert (tmp_path / "again.response").exists()


def test_status_says_what_ends_soon_and_which_command_helps(nas: Machine) -> None:
    assert "ending" not in nas("status", "--check").out
    end = int(time.time()) + 3 * 86_400 + 60
    record(nas, reissue(nas, nas, end - YEAR, end))
    (line,) = [line for line in nas("status", "--check").out.splitlines() if line.startswith("  ending ")]
    assert f"write and execute at /{nas.root} until " in line
    assert f"bt grant {nas.principal} /{nas.root} write,execute --delegate --root" in line
    (one,) = nas("status", "--check", "--json").document["domains"][0]["check"]["ending"]  # type: ignore[index]
    assert one["until"] == end
    nas("grant", nas.principal, "home:/", "write,execute", "--delegate", "--until", "10y", "--root")
    assert "ending" not in nas("status", "--check").out
