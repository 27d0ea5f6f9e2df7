"""Keys in a TPM through the commands, with a real `swtpm`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from btlib.testing.swtpm import SoftwareTpm

from .conftest import CHEAP, PASSPHRASE, Machine
from .inviting import inviting
from .serving import enrol, free_port, running_server
from .terminals import type_at_terminal

pytest.importorskip("tpm2_pytss", reason="the extra btlib[tpm] is not installed", exc_type=ImportError)
if not SoftwareTpm.available():
    pytest.skip("swtpm is not installed: apt-get install swtpm", allow_module_level=True)


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftwareTpm]:
    from btlib.tpm import TpmCredentialStore

    defaults = dict(TpmCredentialStore.__init__.__kwdefaults__ or {})
    monkeypatch.setattr(TpmCredentialStore.__init__, "__kwdefaults__", {**defaults, "cost": CHEAP})
    with SoftwareTpm(tmp_path / "tpm") as chip:
        yield chip


@pytest.fixture
def chipped(laptop: Machine, tpm: SoftwareTpm) -> Machine:
    """A machine whose domain `home` has its keys in the chip."""
    laptop("init", "home", "--host", "nas", "--no-input", "--tcti", tpm.tcti)
    return laptop


def test_a_domain_made_in_a_tpm_works_and_says_where_its_keys_are(laptop: Machine, tpm: SoftwareTpm) -> None:
    made = laptop("init", "home", "--no-input", "--tpm", BLOCKTREE_TCTI=tpm.tcti)
    assert f"keys      in the TPM at {tpm.tcti}, opened by {laptop.directory / 'credentials'}" in made.out
    status = laptop("status").out
    assert f"keys      in the TPM at {tpm.tcti}, opened by" in status
    assert laptop("status", "--json").out.count(f'"tpm": "{tpm.tcti}"') == 1


def test_keys_in_files_are_told_as_such(nas: Machine) -> None:
    assert f"keys      encrypted in {nas.directory / 'credentials'}" in nas("status").out
    assert nas("status", "--json").out.count('"tpm": null') == 1


def test_files_are_written_and_read_with_them(chipped: Machine, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("through the chip")
    chipped("cp", tmp_path / "note", "home:/note")
    assert chipped("cat", "home:/note").out == "through the chip"


def test_the_files_are_worth_nothing_at_another_chip(chipped: Machine, tmp_path: Path) -> None:
    with SoftwareTpm(tmp_path / "other") as other:
        done = chipped("ls", "home:", code=3, BLOCKTREE_TCTI=other.tcti)
    assert "are in another TPM" in done.err
    assert "new keys" in done.err


def test_a_chip_that_does_not_answer_is_told_with_what_to_look_at(chipped: Machine, tpm: SoftwareTpm) -> None:
    tpm.kill()
    assert "no TPM answers at" in chipped("ls", "home:", code=4).err
    tpm.start()
    assert chipped("ls", "home:").out == ""


def test_a_wrong_passphrase_and_then_a_lockout_are_told(chipped: Machine) -> None:
    for _ in range(3):  # swtpm's own limit
        done = chipped("ls", "home:", code=3, BLOCKTREE_PASSPHRASE="wrong")
        assert "this is not the passphrase" in done.err
    done = chipped("ls", "home:", code=1)
    assert "takes no passphrase for now" in done.err
    assert "tpm2_dictionarylockout --clear-lockout" in done.err


def test_the_passphrase_is_changed_in_the_chip(chipped: Machine, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text("another passphrase\n")
    new.chmod(0o600)
    chipped("key", "passphrase", "home", "--new-passphrase-file", new)
    assert chipped("ls", "home:", BLOCKTREE_PASSPHRASE="another passphrase").out == ""
    chipped("key", "passphrase", "home", "--root", "--new-passphrase-file", new)


def test_the_roots_words_come_out_at_a_terminal_for_the_passphrase(chipped: Machine, tmp_path: Path) -> None:
    question = "Passphrase of the root of home:"
    code, screen = type_at_terminal(chipped, ["key", "show-words"], [(question, PASSPHRASE)])
    shown = re.findall(r"\d+\. ([a-z]+)", screen)
    assert (code, len(shown)) == (0, 24)
    words = tmp_path / "words"
    words.write_text(" ".join(shown) + "\n")
    words.chmod(0o600)
    assert "These are the recovery words of home" in chipped("key", "verify-backup", "--words-file", words).out
    code, screen = type_at_terminal(chipped, ["key", "show-words"], [(question, "wrong")])
    assert (code, re.findall(r"\d+\. ([a-z]+)", screen)) == (3, [])


def test_an_agent_holds_what_opens_the_chip(chipped: Machine) -> None:
    chipped("agent", "start", "home")
    try:
        assert chipped("ls", "home:", BLOCKTREE_PASSPHRASE="").out == ""
    finally:
        chipped("agent", "stop")


def test_another_suite_is_refused_before_anything_is_made(laptop: Machine, tpm: SoftwareTpm) -> None:
    done = laptop("init", "home", "--no-input", "--tcti", tpm.tcti, "--suite", "hybrid-pq", code=1)
    assert "use --suite p256" in done.err
    assert not (laptop.home / "pending" / "home").exists()
    assert not laptop.store.exists()


def test_without_a_chip_nothing_is_left_half_made(laptop: Machine) -> None:
    done = laptop("init", "home", "--no-input", "--tcti", "device:/dev/no-such-tpm", code=4)
    assert "no TPM answers at device:/dev/no-such-tpm: there is no such device" in done.err
    assert not (laptop.home / "pending" / "home").exists()
    assert not laptop.store.exists()


def test_a_machine_is_enrolled_with_keys_in_its_tpm(
    nas: Machine, laptop: Machine, tpm: SoftwareTpm, tmp_path: Path
) -> None:
    asked, answered = tmp_path / "laptop.request", tmp_path / "laptop.response"
    laptop("enroll", "request", "home", "--host", "laptop", "--out", asked, "--tcti", tpm.tcti)
    nas("enroll", "sign", asked, "--out", answered, "--yes")
    laptop("enroll", "accept", answered, "--yes")
    assert "in the TPM at" in laptop("status").out


def test_a_server_and_its_clients_have_their_keys_in_chips(
    chipped: Machine, machine_at: Callable[[Path], Machine], homes: Path, tpm: SoftwareTpm, tmp_path: Path
) -> None:
    """btfsd with keys in one chip, a member with keys in another; then the server's chip is gone, and it serves on."""
    port = free_port()
    (tmp_path / "apple").write_text("an apple")
    with SoftwareTpm(tmp_path / "second") as second, running_server(chipped, port, tmp_path / "btfsd.log"):
        other = machine_at(homes / "other")
        enrol(chipped, other, port, "--tcti", second.tcti)
        chipped("grant", "other", "home:/", "read,write")
        other("cp", tmp_path / "apple", "home:/apple")
        tpm.kill()
        assert other("cat", "home:/apple").out == "an apple"
        other("cp", tmp_path / "apple", "home:/another")
        assert other("ls", "home:/").out == "another\napple\n"
        tpm.start()
        assert chipped("cat", "home:/another").out == "an apple"


@pytest.mark.mount
def test_a_mount_writes_with_the_keys_of_its_process(chipped: Machine, tpm: SoftwareTpm, tmp_path: Path) -> None:
    """Once it is mounted the chip is not needed, and what was written is believed by others."""
    if not Path("/dev/fuse").exists() or os.geteuid() != 0:
        pytest.skip("a mount needs /dev/fuse and root")
    mountpoint = tmp_path / "mount"
    mountpoint.mkdir()
    words = [sys.executable, "-m", "btfuse", "-f", "home:/", str(mountpoint)]
    with subprocess.Popen(words, env=chipped.environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "is mounted" in process.stderr.readline()
            synced_file(mountpoint / "first")
            tpm.kill()
            synced_file(mountpoint / "second")
        finally:
            subprocess.run([*words[:3], "-u", str(mountpoint)], env=chipped.environment(), check=False)
            assert process.wait(60) == 0
    tpm.start()
    assert chipped("ls", "home:/").out == "first\nsecond\n"


def synced_file(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"content")
        file.flush()
        os.fsync(file.fileno())


def test_a_domain_is_recovered_into_a_tpm(
    chipped: Machine, machine_at: Callable[[Path], Machine], homes: Path, tmp_path: Path, tpm: SoftwareTpm
) -> None:
    from btlib.tpm import TpmCredentialStore
    from btlib.words import seed_to_words

    words = tmp_path / "words"
    seed = TpmCredentialStore(chipped.directory / "root-credentials").reveal(PASSPHRASE).seed
    words.write_text(" ".join(seed_to_words(seed)) + "\n")
    words.chmod(0o600)
    store = tmp_path / "copy"
    shutil.copytree(chipped.store, store)
    other = machine_at(homes / "other")
    other("recover", "home", "--store", store, "--words-file", words, "--tcti", tpm.tcti)
    assert other("ls", "home:").out == ""
    assert TpmCredentialStore(other.directory / "root-credentials").reveal(PASSPHRASE).seed == seed


def test_a_machine_joins_by_a_code_with_its_keys_in_a_tpm(
    nas: Machine, laptop: Machine, tpm: SoftwareTpm, tmp_path: Path
) -> None:
    nas("mkdir", "home:/notes")
    (tmp_path / "apple.txt").write_text("an apple")
    nas("cp", tmp_path / "apple.txt", "home:/notes/")
    port = free_port()
    with running_server(nas, port, tmp_path / "btfsd.log"):
        with inviting(nas, "--path", "home:/notes", "--server", f"127.0.0.1:{port}") as invitation:
            laptop("join", invitation.code, "--tpm", BLOCKTREE_TCTI=tpm.tcti)
            invitation.end()
        assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
    assert laptop("status", "--json").out.count(f'"tpm": "{tpm.tcti}"') == 1
