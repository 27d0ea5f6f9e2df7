"""No command lets a secret out: not into arguments or environments of programs, files, tracebacks, logs or its words.

Canaries are the passphrases, whatever is made of the root's seed, codes of invitations, and seeds and names of groups.
Every program runs with an audit hook (a `sitecustomize` that it imports) that writes down each program started, with
its environment, and keeps a copy of each file that is removed, so that temporary ones are searched too. BLOCKTREE_DEBUG
makes every failure a traceback.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from blocktree.groups import known_groups
from blocktree.session import open_store
from btlib._ed25519 import Ed25519X25519Private
from btlib.credentials import FileCredentialStore
from btlib.home import Home
from btlib.key_pairs import KeyPair
from btlib.public_keys import Suite
from btlib.shares import Share, split_seed
from btlib.testing.audit import set_hook
from btlib.words import seed_to_words

from .conftest import CHEAP, PASSPHRASE, Done, Machine
from .inviting import inviting
from .serving import free_port, running_server
from .terminals import Answer, type_at_terminal
from .test_recover import write_private
from .test_shares import TYPED_BACK, sheets

CANARY = "canary-Passphrase-7f3a"
NEW = "canary-Another-19c4"
WRONG = "canary-Wrong-55d0"


@dataclass(frozen=True)
class Watched(Machine):
    """A machine all of whose programs are watched, and are given no passphrase but by file or terminal."""

    top: Path

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        made = super().environment(more)
        made |= {"PYTHONPATH": str(self.top / "hook"), "TMPDIR": str(self.top / "tmp"), "BLOCKTREE_DEBUG": "1"}
        return made | {"BLOCKTREE_PASSPHRASE": ""}

    @property
    def started(self) -> str:
        """Every program that was started, with arguments and environment."""
        log = self.top / "log"
        return log.read_text() if log.exists() else ""

    def files(self) -> Iterator[Path]:
        """Every file that is there or was removed, but those that the user keeps."""
        for place in (self.home, self.top / "tmp", self.top / "kept"):
            yield from (file for file in place.rglob("*") if file.is_file())


@dataclass(frozen=True)
class Keeper(Machine):
    """The same home, for a server that is given the passphrase."""

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return super().environment(more) | {"BLOCKTREE_PASSPHRASE": CANARY}


@dataclass(frozen=True)
class Case:
    """What a scenario has at hand."""

    machine: Watched
    top: Path
    words: tuple[str, ...]
    shares: tuple[Share, ...]
    raw: tuple[str, ...]
    other: Watched

    def file(self, name: str, text: str) -> Path:
        """A private file that the user keeps."""
        return write_private(self.top / name, text + "\n")

    @property
    def passphrase(self) -> list[str]:
        file = self.top / "passphrase"
        return ["--passphrase-file", str(file if file.exists() else self.file("passphrase", CANARY))]

    def wrong(self) -> list[str]:
        return ["--passphrase-file", str(self.file("wrong", WRONG))]


def watched(top: Path, home: Path, machine: Machine) -> Watched:
    top.mkdir()
    (top / "tmp").mkdir()
    set_hook(top, top / "log")
    return Watched(home, machine.call, top)


@pytest.fixture
def case(nas: Machine, homes: Path, tmp_path: Path) -> Case:
    for name in ("credentials", "root-credentials"):
        FileCredentialStore(nas.directory / name, CHEAP).change_passphrase(PASSPHRASE, CANARY)
    seed = FileCredentialStore(nas.directory / "root-credentials", CHEAP).reveal(CANARY).seed
    machine = watched(tmp_path / "watched", nas.home, nas)
    other = watched(tmp_path / "other", homes / "other", nas)
    return Case(machine, tmp_path, seed_to_words(seed), split_seed(seed, 2, 3), forms_of(seed), other)


def leaks(text: str, case: Case) -> list[str]:
    """The secrets in a text, in any of the forms in which they might be printed."""
    sequences = [case.words, *(share.words for share in case.shares)]
    pairs = [f"{first} {second}" for words in sequences for first, second in pairwise(words)]
    lower = text.lower()
    return [form for form in ("canary", *case.raw, *pairs) if form.lower() in lower]


def forms_of(seed: bytes) -> tuple[str, ...]:
    """A seed and the signing key made of it, as hexadecimal, base64, Python's notation, and as they are."""
    keys = KeyPair.from_seed(Suite.ED25519_X25519, seed)._private
    assert isinstance(keys, Ed25519X25519Private)
    values = (seed, keys._signing.private_bytes_raw())
    return tuple(
        form
        for value in values
        for form in (
            value.hex(),
            repr(value)[2:-1],
            base64.b64encode(value).decode().rstrip("="),
            value.decode("latin-1"),
        )
    )


def check(case: Case, *said: str) -> None:
    for machine in (case.machine, case.other):
        assert leaks(machine.started, case) == []
        for file in machine.files():
            assert leaks(file.read_bytes().decode("latin-1"), case) == [], file
    for text in said:
        assert leaks(text, case) == [], text


def both(done: Done) -> str:
    return done.out + done.err


def init(case: Case) -> str:
    words = ["init", "home", "--no-input", "--host", "other", "--suite", "hybrid-pq"]
    return both(case.other.process(*words, *case.passphrase)) + both(
        case.other.process(*words, *case.passphrase, code=1)
    )


def use(case: Case) -> str:
    return both(case.machine.process("ls", "home:", *case.passphrase)) + both(
        case.machine.process("ls", "home:", *case.wrong(), code=3)
    )


def change_passphrase(case: Case) -> str:
    new = ["--new-passphrase-file", str(case.file("new", NEW))]
    said = both(case.machine.process("key", "passphrase", *case.wrong(), *new, code=3))
    said += both(case.machine.process("key", "passphrase", "--root", *case.passphrase, *new))
    return said + both(case.machine.process("key", "passphrase", *case.passphrase, *new))


def verify_words(case: Case) -> str:
    good = case.file("words", " ".join(case.words))
    bad = case.file("bad", " ".join([*case.words[1:], case.words[0]]))
    worse = case.file("worse", " ".join([*case.words[:-1], "canary"]))
    said = both(case.machine.process("key", "verify-backup", "--words-file", good))
    for file in (bad, worse):
        said += both(case.machine.process("key", "verify-backup", "--words-file", file, code=3))
    return said


def verify_shares(case: Case) -> str:
    files = [case.file(f"share{share.number}", " ".join(share.words)) for share in case.shares]
    options = [["--share-file", str(file)] for file in files]
    bad = case.file("bad", " ".join([*case.shares[0].words[1:], case.shares[0].words[0]]))
    said = both(case.machine.process("key", "verify-backup", *options[0], *options[2]))
    said += both(case.machine.process("key", "verify-backup", *options[0], code=3))
    return said + both(case.machine.process("key", "verify-backup", *options[0], "--share-file", bad, code=3))


def recover(case: Case) -> str:
    words = ["recover", "home", "--store", str(case.machine.store), *case.passphrase]
    bad = case.file("bad", " ".join([*case.words[1:], case.words[0]]))
    said = both(case.other.process(*words, "--words-file", bad, code=3))
    return said + both(case.other.process(*words, "--words-file", case.file("words", " ".join(case.words))))


def rotate(case: Case) -> str:
    good = case.file("words", " ".join(case.words))
    bad = case.file("bad", " ".join([*case.words[1:], case.words[0]]))
    said = both(case.machine.process("key", "rotate", *case.wrong(), code=3))
    said += both(case.machine.process("key", "rotate", "--grace", "now", *case.passphrase))
    said += both(case.machine.process("key", "rotate", "--root", "--words-file", bad, *case.passphrase, code=3))
    said += both(case.machine.process("key", "rotate", "--root", "--words-file", good, *case.passphrase))
    return said + both(case.machine.process("compare", "home", "--write", case.top / "view", *case.passphrase))


def agent(case: Case) -> str:
    said = both(case.machine.process("agent", "start", *case.wrong(), code=3))
    try:
        said += both(case.machine.process("agent", "start", *case.passphrase))
        said += both(case.machine.process("ls", "home:"))
        said += both(case.machine.process("agent", "status", "--json"))
        said += both(case.machine.process("agent", "lock"))
        said += both(case.machine.process("ls", "home:", code=3))
    finally:
        said += both(case.machine.process("agent", "stop"))
    return said


def keyring(case: Case) -> str:
    return both(case.machine.process("key", "remember", *case.passphrase, code=1, PYTHON_KEYRING_BACKEND=FAILING))


def invite(case: Case) -> str:
    said = both(case.machine.process("invite", "--listen", "127.0.0.1:0", *case.wrong(), code=3))
    with inviting(case.machine, "--server", "nas:1", *case.passphrase) as invitation:
        said += both(case.other.process("join", invitation.wrong_code(), *case.passphrase, code=3))
        said += both(invitation.end(code=3))
    return said + let_in(case, "nas:1")


def let_in(case: Case, server: str) -> str:
    """The other machine joins, as `laptop`."""
    with inviting(case.machine, "--server", server, "--host", "laptop", *case.passphrase) as invitation:
        said = both(case.other.process("join", invitation.code, *case.passphrase))
        return said + both(invitation.end())


def rotate_by_request(case: Case) -> str:
    port, log = free_port(), case.top / "btfsd.log"
    asked, answer = case.top / "laptop.rotation", case.top / "laptop.response"
    with running_server(Keeper(case.machine.home, case.machine.call), port, log):
        said = let_in(case, f"127.0.0.1:{port}")
        said += both(case.other.process("key", "rotate", "--out", asked, *case.wrong(), code=3))
        said += both(case.other.process("key", "rotate", "--out", asked, *case.passphrase))
        said += both(case.machine.process("key", "sign-rotation", asked, *case.wrong(), code=3))
        said += both(case.machine.process("key", "sign-rotation", asked, "--out", answer, *case.passphrase))
        said += both(case.other.process("key", "rotate", "--response", answer, "--grace", "now", *case.passphrase))
    return said + log.read_text()


def contact(case: Case) -> str:
    card, later = case.top / "bob.request", case.top / "later.request"
    said = both(case.other.process("init", "mine", "--no-input", "--host", "bobs", *case.passphrase))
    said += both(case.other.process("contact", "card", "--name", "bob", "--out", card, *case.wrong(), code=3))
    said += both(case.other.process("contact", "card", "--name", "bob", "--out", card, *case.passphrase))
    said += both(case.machine.process("contact", "add", "bob", card, "--yes"))
    said += both(case.other.process("init", "second", "--no-input", "--host", "bobs", *case.passphrase))
    card_of = ["contact", "card", "--name", "bob", "--domain", "second", "--out", str(later)]
    said += both(case.other.process(*card_of, *case.passphrase))
    said += both(case.machine.process("contact", "add", "bob", later, "--yes", code=5))
    said += both(case.machine.process("contact", "show", "bob")) + both(case.machine.process("contact", "list"))
    return said


def group(case: Case) -> str:
    said = contact(case)
    said += both(case.machine.process("group", "create", GROUP, *case.wrong(), code=3))
    for words in (["create", GROUP], ["add", GROUP, "bob"], ["remove", GROUP, "bob", "--yes"], ["rotate", GROUP]):
        said += both(case.machine.process("group", *words, *case.passphrase))
    for words in (["list"], ["show", GROUP]):
        said += both(case.machine.process("group", *words, "--json", *case.passphrase))
    return said + both(case.machine.process("contact", "remove", "bob"))


GROUP = "unlisted-friends"  #: the name is a secret of its members
FAILING = "keyring.backends.fail.Keyring"
SCENARIOS: list[Callable[[Case], str]] = [
    init,
    use,
    change_passphrase,
    verify_words,
    verify_shares,
    recover,
    rotate,
    rotate_by_request,
    invite,
    contact,
    group,
    agent,
    keyring,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_no_secret_shows_whatever_succeeds_or_fails(case: Case, scenario: Callable[[Case], str]) -> None:
    said = scenario(case)
    assert "Traceback" in said
    check(case, said)


def test_a_passphrase_that_is_typed_shows_nowhere(case: Case) -> None:
    new: list[tuple[str, Answer]] = [
        ("Passphrase of this machine in home:", CANARY),
        ("New passphrase of this machine in home:", NEW),
        ("The same again:", NEW),
    ]
    code, screen = type_at_terminal(case.machine, ["key", "passphrase"], new)
    assert code == 0, screen
    check(case, screen)


def test_a_code_that_is_typed_is_in_no_file_and_no_environment(case: Case) -> None:
    with inviting(case.machine, "--server", "nas:1", *case.passphrase) as invitation:
        answers: list[tuple[str, Answer]] = [
            ("The code that bt invite shows:", invitation.code),
            ("New passphrase of this machine in home:", CANARY),
            ("The same again:", CANARY),
        ]
        code, screen = type_at_terminal(case.other, ["join"], answers)
        done = invitation.end()
    assert code == 0, screen
    check(case, screen, both(done))
    secret = tuple(invitation.code.partition("@")[0].split("-")[1:])
    assert "-".join(secret) in done.out
    assert "-".join(secret) not in done.err
    check(replace(case, raw=("-".join(secret), " ".join(secret))))


def test_what_a_group_keeps_from_servers_is_in_no_file(case: Case) -> None:
    said = group(case)
    domain = Home.find({"BLOCKTREE_HOME": str(case.machine.home)}).domain("home")
    identity = domain.credentials.unlock(CANARY)
    with closing(open_store(domain, identity)) as store:
        (found,) = known_groups(domain, store, identity)
    managed = found.require_managed()
    assert managed.former_seed is not None
    assert managed.name in said
    seeds = (*forms_of(managed.seed), *forms_of(managed.former_seed))
    check(replace(case, raw=seeds), said)
    check(replace(case, raw=(managed.name,)))


def test_words_and_shares_that_are_shown_go_to_the_terminal_alone(case: Case) -> None:
    asked: list[tuple[str, Answer]] = [("Passphrase of the root of home:", CANARY)]
    code, screen = type_at_terminal(case.machine, ["key", "show-words"], asked)
    assert code == 0, screen
    assert "canary" not in screen
    code, screen = type_at_terminal(case.machine, ["key", "shares"], [*asked, *TYPED_BACK * 3])
    assert code == 0, screen
    assert "canary" not in screen
    check(replace(case, shares=tuple(Share.parse(sheet) for sheet in sheets(screen))))


def test_the_search_finds_what_it_looks_for(case: Case) -> None:
    seed = FileCredentialStore(case.machine.directory / "root-credentials", CHEAP).reveal(CANARY).seed
    for text in (CANARY, " ".join(case.words), seed.hex(), repr(seed), " ".join(case.shares[1].words)):
        assert leaks(f"x {text} y", case) != []


def test_the_watch_sees_programs_and_removed_files(case: Case, tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, tempfile; f = tempfile.NamedTemporaryFile(); f.write(b'canary'); f.flush(); f.close();"
        "subprocess.run([sys.executable, '-S', '-c', '', 'canary argument'], env={'A': 'canary value'})"
    )
    environment = case.machine.environment()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, cwd=tmp_path)
    assert "canary argument" in case.machine.started
    assert "canary value" in case.machine.started
    kept = [file for file in case.machine.files() if b"canary" in file.read_bytes()]
    assert [file.parent.name for file in kept] == ["kept"]
    assert list((tmp_path / "watched" / "tmp").iterdir()) == []
