"""A machine that was off for a year, at a real server: it comes back by itself, unless it was revoked."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from btlib.credentials import FileCredentialStore
from btlib.writecaps import Chain, issue_writecap

from .conftest import CHEAP, PASSPHRASE, Machine
from .serving import enrol, free_port, running_server, with_an_apple

YEAR = 365 * 86_400


def age(machine: Machine, root: Machine, span: int) -> None:
    """Let what the machine holds have run out a year ago, as the root issued it then."""
    kept = FileCredentialStore(machine.directory / "credentials", CHEAP)
    issuer = FileCredentialStore(root.directory / "root-credentials").unlock(PASSPHRASE)
    now = int(time.time())
    old = []
    for chain in kept.unlock(PASSPHRASE).chains:
        last = chain.last
        assert last is not None
        old.append(
            issue_writecap(
                issuer.signer,
                Chain(),
                subject=last.subject,
                path=last.block_path,
                scope=last.scope,
                rights=last.rights,  # type: ignore[arg-type]
                not_before=now - YEAR - span,
                not_after=now - YEAR,
                may_delegate=last.may_delegate,
                serial=secrets.token_bytes(16),
            )
        )
    credentials = msgspec.structs.replace(kept.reveal(PASSPHRASE), chains=tuple(old))
    kept.save(credentials, PASSPHRASE, replace=True)


@pytest.fixture
def served(nas: Machine, laptop: Machine, tmp_path: Path) -> Iterator[Machine]:
    port = free_port()
    with_an_apple(nas, tmp_path, "home:/notes")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/notes", "read,write", "--until", "5y")
        yield nas


def test_it_reads_and_writes_at_once(served: Machine, laptop: Machine, tmp_path: Path) -> None:
    age(laptop, served, YEAR)
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
    laptop("cp", tmp_path / "apple.txt", "home:/notes/back.txt")
    assert "renewed the membership" in (tmp_path / "btfsd.log").read_text()


def test_not_if_it_was_revoked(served: Machine, laptop: Machine) -> None:
    age(laptop, served, YEAR)
    served("revoke", "laptop", "--yes")
    assert "was revoked on" in laptop("cat", "home:/notes/apple.txt", code=5).err


def test_not_if_it_was_given_an_end(served: Machine, laptop: Machine) -> None:
    age(laptop, served, YEAR // 4)
    assert "bt enroll" in laptop("cat", "home:/notes/apple.txt", code=5).err
