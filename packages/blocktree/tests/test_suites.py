"""Domains of one suite with machines of another, over a real btfsd: whoever verifies reads the suite from the keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from btlib.credentials import FileCredentialStore
from btlib.public_keys import Suite
from btlib.shares import split_seed

from .conftest import CHEAP, PASSPHRASE, Machine
from .serving import enrol, free_port, running_server, with_an_apple
from .test_recover import words_of, write_private

CLASSIC, P256, HYBRID = (suite.text for suite in (Suite.ED25519_X25519, Suite.P256, Suite.HYBRID_PQ))


def make_domain(machine: Machine, suite: str) -> None:
    machine("init", "home", "--host", "nas", "--no-input", "--suite", suite)
    store = FileCredentialStore(machine.directory / "credentials", CHEAP)
    assert store.public().suite is Suite.parse(suite)
    store.change_passphrase(PASSPHRASE, PASSPHRASE)


@pytest.mark.parametrize(("domain", "member"), [(HYBRID, CLASSIC), (CLASSIC, HYBRID), (HYBRID, P256), (HYBRID, HYBRID)])
def test_a_machine_of_another_suite_reads_and_writes_over_a_server(
    domain: str, member: str, homes: Path, machine_at: Callable[[Path], Machine], tmp_path: Path
) -> None:
    nas, laptop, port = machine_at(homes / "nas"), machine_at(homes / "laptop"), free_port()
    make_domain(nas, domain)
    with_an_apple(nas, tmp_path, "home:/notes")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port, "--suite", member)
        nas("grant", "laptop", "home:/notes", "read,write")
        assert FileCredentialStore(laptop.directory / "credentials").public().suite is Suite.parse(member)
        assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
        laptop("cp", tmp_path / "apple.txt", "home:/notes/pear.txt")
        assert nas("ls", "home:/notes").out == "apple.txt\npear.txt\n"
        assert nas("cat", "home:/notes/pear.txt").out == "an apple"
    assert nas("scrub", "home:").code == 0


def test_a_domain_moves_to_another_suite_with_one_command(
    homes: Path, machine_at: Callable[[Path], Machine], tmp_path: Path
) -> None:
    nas = machine_at(homes / "nas")
    make_domain(nas, CLASSIC)
    deep = tmp_path / "deep"
    (deep / "er").mkdir(parents=True)
    (deep / "er" / "apple.txt").write_text("an apple")
    (deep / "link").symlink_to("er/apple.txt")
    (deep / "er").chmod(0o750)
    nas("cp", "-r", deep, "home:/")
    nas("cp", deep / "er" / "apple.txt", "home:/")
    facts = nas("init", "new", "--host", "nas", "--no-input", "--suite", HYBRID, "--from", "home", "--json").document
    assert facts["copied"] == {"files": 2, "bytes": 16, "failures": 0}
    credentials = FileCredentialStore(nas.home / "domains" / "new" / "root-credentials")
    assert credentials.public().suite is Suite.HYBRID_PQ
    assert nas("ls", "new:").out == nas("ls", "home:").out == "apple.txt\ndeep/\n"
    assert nas("ls", "-l", "new:/deep").out == nas("ls", "-l", "home:/deep").out
    assert nas("cat", "new:/deep/link", "new:/apple.txt").out == "an applean apple"


@pytest.mark.mount
@pytest.mark.parametrize("suite", [P256, HYBRID])
def test_a_mount_of_each_suite_keeps_what_is_written(
    suite: str, homes: Path, machine_at: Callable[[Path], Machine], tmp_path: Path
) -> None:
    if not Path("/dev/fuse").exists():
        pytest.skip("needs /dev/fuse")
    nas, mountpoint = machine_at(homes / "nas"), tmp_path / "mnt"
    make_domain(nas, suite)
    mountpoint.mkdir()
    nas.process("mount", "home:", mountpoint)
    try:
        for number in range(50):
            (mountpoint / f"file{number:02}").write_text("small " * number)
        (mountpoint / "large").write_bytes(bytes(300_000))
        (mountpoint / "file00").unlink()
    finally:
        nas.process("umount", mountpoint)
    assert nas("ls", "home:").out.split() == [*(f"file{number:02}" for number in range(1, 50)), "large"]
    assert nas("cat", "home:/file49").out == "small " * 49
    assert len(nas("cat", "home:/large").out) == 300_000
    assert nas("scrub", "home:").code == 0


def test_what_cannot_be_copied_is_told_and_nothing_is_made_of_an_unknown_domain(nas: Machine) -> None:
    assert "no domain is called 'work'" in nas("init", "new", "--no-input", "--from", "work", code=2).err
    assert not (nas.home / "domains" / "new").exists()
    done = nas("init", "new", "--no-input", "--from", "home", code=3, BLOCKTREE_PASSPHRASE="wrong")
    assert "not the passphrase" in done.err
    assert not (nas.home / "domains" / "new").exists()


def test_a_hybrid_domain_comes_back_from_its_words(
    homes: Path, machine_at: Callable[[Path], Machine], tmp_path: Path
) -> None:
    nas, fresh = machine_at(homes / "nas"), machine_at(homes / "fresh")
    make_domain(nas, HYBRID)
    (tmp_path / "apple.txt").write_text("an apple")
    nas("cp", tmp_path / "apple.txt", "home:/")
    words = write_private(tmp_path / "words", " ".join(words_of(nas)))
    fresh("recover", "home", "--store", nas.store, "--words-file", words)
    assert fresh("cat", "home:/apple.txt").out == "an apple"
    assert FileCredentialStore(fresh.directory / "credentials").public().suite is Suite.HYBRID_PQ
    assert FileCredentialStore(fresh.directory / "root-credentials").public().suite is Suite.HYBRID_PQ


def test_a_hybrid_domain_comes_back_from_its_shares_and_a_server(
    homes: Path, machine_at: Callable[[Path], Machine], tmp_path: Path
) -> None:
    nas, fresh, port = machine_at(homes / "nas"), machine_at(homes / "fresh"), free_port()
    make_domain(nas, HYBRID)
    (tmp_path / "apple.txt").write_text("an apple")
    nas("cp", tmp_path / "apple.txt", "home:/")
    seed = FileCredentialStore(nas.directory / "root-credentials").reveal(PASSPHRASE).seed
    files = [write_private(tmp_path / f"{n}", " ".join(s.words)) for n, s in enumerate(split_seed(seed, 2, 3))]
    shares = [word for file in files[1:] for word in ("--share-file", str(file))]
    with running_server(nas, port, tmp_path / "btfsd.log"):
        fresh("recover", "home", "--server", f"127.0.0.1:{port}", "--server-host", "nas", *shares)
        assert fresh("cat", "home:/apple.txt").out == "an apple"
