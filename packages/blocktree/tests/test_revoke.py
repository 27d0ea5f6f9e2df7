"""`bt revoke` with a real btfsd: what the revoked machine meets, what stays, and what the command says."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from btfproto.domain import Content, DomainReader, Draft
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions
from btfproto.opening import open_end_to_end, open_thin, store_at
from btfproto.provider import OpenFlags, Owner
from btfproto.store import Committed
from btfproto.testing.domains import person
from btfproto.testing.provider import read_file, write_file
from btlib.errors import BlocktreeError
from btlib.home import Domain, Home
from btlib.identity import Identity
from btlib.kinds import Kind

from .conftest import PASSPHRASE, Machine
from .serving import enrol, free_port, running_server, with_an_apple

ME = Owner(1000, 1000)


@pytest.fixture
def served(nas: Machine, laptop: Machine, port: int, tmp_path: Path) -> Iterator[Machine]:
    """The first machine, served, with a laptop that may read and write at `/notes`."""
    (tmp_path / "pear.txt").write_text("a pear")
    with_an_apple(nas, tmp_path, "home:/notes", "home:/private")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        nas("grant", "laptop", "home:/notes", "read,write")
        yield nas


def domain_of(machine: Machine) -> Domain:
    return Home.find({"BLOCKTREE_HOME": str(machine.home)}).domain("home")


def identity_of(machine: Machine) -> Identity:
    return domain_of(machine).credentials.unlock(PASSPHRASE)


def refusal(act: Callable[[], object]) -> BlocktreeError:
    with pytest.raises(BlocktreeError) as caught:
        act()
    return caught.value


def test_a_revoked_machine_is_refused_at_its_next_command_with_the_reason(served: Machine, laptop: Machine) -> None:
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
    served("revoke", "laptop", "--yes")
    refused = laptop("ls", "home:/notes", code=5)
    assert "was revoked on" in refused.err
    assert "bt enroll request" in refused.err
    assert refused.err.count("\n") == 1


def test_what_it_wrote_before_stays_readable(served: Machine, laptop: Machine, tmp_path: Path) -> None:
    laptop("cp", tmp_path / "pear.txt", "home:/notes/")
    served("revoke", "laptop", "--yes")
    assert served("cat", "home:/notes/pear.txt").out == "a pear"


def test_from_a_moment_in_the_past_what_was_written_since_is_lost_and_counted(
    served: Machine, laptop: Machine, tmp_path: Path
) -> None:
    laptop("mkdir", "home:/notes/mine")
    laptop("cp", tmp_path / "pear.txt", "home:/notes/mine/")
    served("cp", tmp_path / "apple.txt", "home:/notes/again.txt")  # the directory is the first machine's once more
    done = served("revoke", "laptop", "--yes", "--from", "1h", "--json").document
    assert "2 files or directories and 0 records" in str(done["not_undone"])
    refused = served("cat", "home:/notes/mine/pear.txt", code=6)
    assert "was revoked on" in refused.err
    assert served("cat", "home:/notes/again.txt").out == "an apple"


def test_what_would_make_the_whole_tree_unreadable_is_not_done(served: Machine) -> None:
    refused = served("revoke", served.principal, "--root", "--yes", "--from", "1h", code=2)
    assert "the whole tree would become unreadable" in refused.err
    assert served("cat", "home:/notes/apple.txt").out == "an apple"


def test_the_store_of_an_open_link_refuses_its_next_call_and_commit(served: Machine, laptop: Machine) -> None:
    domain, who = domain_of(laptop), identity_of(laptop)
    assert domain.server is not None
    store = store_at(domain.server, who, domain.server_path, patience=1.0)
    fs = open_end_to_end(domain, who, domain.root_path.child("notes"), options=FsOptions(commit_interval=None))
    store.status()
    write_file(fs, fs.root, "late", b"not yet committed")
    served("revoke", "laptop", "--yes")
    for act, kinds in ((store.status, (Kind.FORBIDDEN,)), (fs.sync, (Kind.FORBIDDEN, Kind.READ_ONLY))):
        error = refusal(act)
        assert error.kind in kinds  # it knows itself by now that it may not write, or hears it from the server
        assert "was revoked on" in error.message
    with pytest.raises((FsError, StoreError)):
        fs.shutdown()
    store.close()
    assert served("ls", "home:/notes").out == "apple.txt\n"


def test_a_commit_under_a_revoked_writecap_is_refused_by_a_server_that_cannot_read_it(
    served: Machine, laptop: Machine
) -> None:
    domain, who = domain_of(laptop), identity_of(laptop)
    assert domain.server is not None
    with closing(store_at(domain.server, who, domain.server_path)) as store:
        reader = DomainReader(store, domain.root)
        (chain,) = reader.grants(reader.domain().scope, who.principal)[1].chains
        scope = chain.caps[-1].scope
        draft = Draft(who.signer, chain, now=int(time.time()))
        draft.put(block=os.urandom(16), scope=scope, content=Content())
        draft.put_writer(scope)
        assert isinstance(store.commit(draft.commit(os.urandom(16))), Committed)
        served("revoke", write_serial(served), "--yes")
        draft = Draft(who.signer, chain, now=int(time.time()) - 60)  # dated back, for what that is worth
        draft.put(block=os.urandom(16), scope=scope, content=Content())
        error = refusal(lambda: store.commit(draft.commit(os.urandom(16))))
    assert error.kind is Kind.FORBIDDEN
    assert "writecap 2 for" in error.message
    assert "was revoked on" in error.message


def test_an_open_thin_session_is_refused_and_so_is_a_new_one(served: Machine, laptop: Machine) -> None:
    domain, who = domain_of(laptop), identity_of(laptop)
    thin = open_thin(domain, who, domain.root_path.child("notes"))
    found = thin.lookup(thin.root, "apple.txt")
    handle = thin.open(found.inode, OpenFlags.READ)
    assert thin.read(handle, 0, 100) == b"an apple"
    served("revoke", "laptop", "--yes")
    for act in (lambda: thin.read(handle, 0, 100), lambda: thin.mkdir(thin.root, "d", 0o755, ME)):
        error = refusal(act)
        assert error.kind is Kind.FORBIDDEN
        assert "was revoked on" in error.message
    refusal(thin.shutdown)
    error = refusal(lambda: open_thin(domain, who, domain.root_path.child("notes")))
    assert "was revoked on" in error.message


def test_revoking_writing_alone_ends_it_in_an_open_session_that_reads_on(served: Machine, laptop: Machine) -> None:
    domain, who = domain_of(laptop), identity_of(laptop)
    thin = open_thin(domain, who, domain.root_path.child("notes"))
    thin.mkdir(thin.root, "mine", 0o755, ME)
    serial = write_serial(served)
    done = served("revoke", serial, "--yes", "--json").document
    assert (done["serials"], done["version"], done["added"]) == ([serial], 1, 1)
    error = refusal(lambda: thin.mkdir(thin.root, "more", 0o755, ME))
    assert error.kind is Kind.READ_ONLY
    assert "was revoked on" in error.message
    assert read_file(thin, thin.lookup(thin.root, "apple.txt").inode) == b"an apple"
    thin.shutdown()
    assert laptop("cat", "home:/notes/apple.txt").out == "an apple"


def write_serial(machine: Machine) -> str:
    """The serial of the writecap at `/notes`, as the log shows it."""
    lines = machine("access", "log", "home:", "--json").document["entries"]
    assert isinstance(lines, list)
    (serial,) = {line["serial"] for line in lines if str(line.get("path")).endswith("/notes") and line.get("serial")}
    return str(serial)


def test_at_a_path_reading_and_writing_end_there_and_membership_stays(served: Machine, laptop: Machine) -> None:
    served("grant", "laptop", "home:/private", "read")
    done = served("revoke", "laptop", "home:/notes", "--yes", "--json").document
    assert (done["added"], done["readcaps_withdrawn"]) == (1, 1)
    refused = laptop("ls", "home:/notes", code=5)
    assert "holds no read capability" in refused.err
    assert laptop("ls", "home:/private").out == ""
    again = served("revoke", "laptop", "home:/notes", "--yes", code=1)
    assert "name nothing that laptop" in again.err
    assert "bt access list home:/notes" in again.err


@dataclass(frozen=True)
class Past:
    """The server as it was: it has the machine's keys and the store from then, and knows of no revocation."""

    evil: Machine
    port: int
    log: Path

    def lure(self, machine: Machine) -> None:
        """Let a machine take it for the domain's server."""
        settings = machine.directory / "domain.toml"
        address = json.loads(machine("status", "--json").out)["domains"][0]["server"]
        settings.write_text(settings.read_text().replace(address, f"127.0.0.1:{self.port}"))


@pytest.fixture
def past(served: Machine, machine_at: Callable[[Path], Machine], homes: Path, tmp_path: Path) -> Past:
    evil = machine_at(homes / "evil")
    shutil.copytree(served.home, evil.home, ignore=shutil.ignore_patterns("btfsd.sock", "lock", "revoked"))
    return Past(evil, free_port(), tmp_path / "evil.log")


def forget_the_store(machine: Machine) -> None:
    """How far it had come, that is, which a store that lies can say rightly."""
    (machine.home / "data/domains/home/pins").unlink()


def test_a_rolled_back_list_is_refused_by_a_machine_that_saw_it(
    served: Machine, port: int, past: Past, machine_at: Callable[[Path], Machine], homes: Path
) -> None:
    tablet = machine_at(homes / "tablet")
    enrol(served, tablet, port)
    served("revoke", "laptop", "--yes")
    served("grant", "tablet", "home:/notes", "read")
    assert tablet("cat", "home:/notes/apple.txt").out == "an apple"
    past.lure(tablet)
    with running_server(past.evil, past.port, past.log):
        assert "went back in time" in tablet("cat", "home:/notes/apple.txt", code=6).err
        forget_the_store(tablet)
        refused = tablet("cat", "home:/notes/apple.txt", code=6)
    assert "the revocation list is missing from the store; version 1 was seen before" in refused.err


def test_a_server_that_tells_each_client_another_list_is_found_out(
    served: Machine, port: int, past: Past, machine_at: Callable[[Path], Machine], homes: Path
) -> None:
    tablet = machine_at(homes / "tablet")
    enrol(served, tablet, port)
    served("grant", "tablet", "home:/notes", "read")
    served("revoke", "laptop", "--yes")
    assert tablet("cat", "home:/notes/apple.txt").out == "an apple"
    with running_server(past.evil, past.port, past.log):
        somebody = str(person(77).principal)
        assert past.evil("revoke", somebody, "--yes", "--json").document["version"] == 1
        past.lure(tablet)
        assert "is another one than was seen" in tablet("cat", "home:/notes/apple.txt", code=6).err
        forget_the_store(tablet)
        refused = tablet("cat", "home:/notes/apple.txt", code=6)
    assert "there are two revocation lists of version 1" in refused.err
    assert "bt access log" in refused.err


def test_a_revoked_server_is_not_spoken_with_by_who_knows(served: Machine, laptop: Machine, past: Past) -> None:
    served("revoke", served.principal, "--root", "--yes")
    known = Path("data", "domains", "home", "revoked")
    shutil.copy(served.home / known, laptop.home / known)
    past.lure(laptop)
    with running_server(past.evil, past.port, past.log):
        refused = laptop("cat", "home:/notes/apple.txt", code=5)
    assert "was revoked on" in refused.err


def test_whom_a_revoked_machine_enrolled_is_out_until_the_root_lets_it_in_anew(
    served: Machine, laptop: Machine
) -> None:
    served("revoke", served.principal, "--root", "--yes")
    refused = laptop("ls", "home:/notes", code=5)
    assert f"{served.principal}, the subject of writecap 1, was revoked on" in refused.err


def test_it_says_what_it_does_and_cannot_do_and_asks(served: Machine) -> None:
    asked = served("revoke", "laptop", code=2)
    assert "This cannot be undone" in asked.err
    assert "what stays as it is it can open, if it gets hold of the stored bytes" in asked.err
    assert "use --yes" in asked.err
    done = served("revoke", "laptop", "--yes")
    assert "(list version 1)" in done.out
    assert "was revoked already" in served("revoke", "laptop", "--yes").out


def test_a_machine_cannot_revoke_itself_but_the_root_can(served: Machine) -> None:
    nas = served.principal
    refused = served("revoke", nas, "--yes", code=5)
    assert "bt revoke --root" in refused.err


def test_a_member_cannot_revoke_another(served: Machine, laptop: Machine) -> None:
    nas = served.principal
    refused = laptop("revoke", nas, "--yes", code=5)
    assert "cannot sign this revocation" in refused.err


def test_without_the_roots_file_it_says_where_that_may_be(laptop: Machine, served: Machine) -> None:
    refused = laptop("revoke", "bt1", "--root", "--yes", code=1)
    assert "root-credentials is missing" in refused.err
