"""Credential stores: the conformance suite on each, and what the file adds."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from btlib import Kind, Suite
from btlib.credentials import (
    DEFAULT_COST,
    Credentials,
    FileCredentialStore,
    MemoryCredentialStore,
    PassphraseCost,
    _format,
)
from btlib.errors import CredentialError
from btlib.labels import Label, tagged_hash
from btlib.testing import QUICK_COST, check_credential_store, make_domain_identities
from btserde import encode
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

SALT, NONCE = bytes(16), bytes(12)
CREDENTIALS = Credentials(
    suite=Suite.P256, seed=bytes(range(32)), chains=make_domain_identities("alice")["alice"].chains
)


def sealed(credentials: Credentials = CREDENTIALS, passphrase: str = "pass") -> bytes:
    return _format.seal_credentials(credentials, passphrase, QUICK_COST, salt=SALT, nonce=NONCE)


def with_check(body: bytes) -> bytes:
    return body + tagged_hash(Label.CREDENTIALS_CHECK, body)


@pytest.fixture
def store(tmp_path: Path) -> FileCredentialStore:
    return FileCredentialStore(tmp_path / "home" / "credentials", QUICK_COST)


def test_files_keep_the_promises_of_a_credential_store(tmp_path: Path) -> None:
    numbers = count()
    check_credential_store(lambda: FileCredentialStore(tmp_path / str(next(numbers)) / "credentials", QUICK_COST))


def test_memory_keeps_the_promises_of_a_credential_store() -> None:
    check_credential_store(MemoryCredentialStore)


def test_the_conformance_suite_finds_a_store_that_forgets_the_passphrase() -> None:
    class Careless(MemoryCredentialStore):
        def _load(self, passphrase: str) -> Credentials:
            return self._held()[0]

    with pytest.raises(AssertionError, match="UNAUTHENTICATED"):
        check_credential_store(Careless)


def test_a_file_is_for_its_owner_alone_whatever_the_umask(store: FileCredentialStore) -> None:
    before = os.umask(0)
    try:
        store.save(CREDENTIALS, "pass")
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in store.path.parent.iterdir()] == ["credentials"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620])
def test_a_file_that_others_may_use_is_refused_with_the_command_that_helps(
    store: FileCredentialStore, mode: int
) -> None:
    store.save(CREDENTIALS, "pass")
    store.path.chmod(mode)
    with pytest.raises(CredentialError, match=f"run: chmod 600 {store.path}"):
        store.unlock("pass")


def test_nothing_is_left_behind_by_a_refused_save(store: FileCredentialStore) -> None:
    store.save(CREDENTIALS, "pass")
    with pytest.raises(CredentialError, match="keys that are overwritten are lost; move it away first"):
        store.save(Credentials.generate(), "pass")
    assert [entry.name for entry in store.path.parent.iterdir()] == ["credentials"]


def test_an_interrupted_save_leaves_the_old_file(store: FileCredentialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(CREDENTIALS, "pass")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("btlib._private_files.os.fsync", full)
    with pytest.raises(CredentialError, match="cannot be written: No space left on device") as caught:
        store.save(Credentials.generate(), "pass", replace=True)
    assert caught.value.kind is Kind.IO
    assert store.unlock("pass").public == CREDENTIALS.public
    assert [entry.name for entry in store.path.parent.iterdir()] == ["credentials"]


def test_a_missing_file_is_answered_with_the_commands_that_make_one(store: FileCredentialStore) -> None:
    with pytest.raises(CredentialError, match=r"there are no credentials at .*; make a domain with bt init, or join"):
        store.unlock("pass")


def test_a_directory_in_its_place_is_an_error_of_the_device(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="cannot be read: Is a directory") as caught:
        FileCredentialStore(tmp_path).unlock("pass")
    assert caught.value.kind is Kind.IO


def test_the_same_credentials_are_sealed_differently_each_time(store: FileCredentialStore) -> None:
    store.save(CREDENTIALS, "pass")
    first = store.path.read_bytes()
    store.save(CREDENTIALS, "pass", replace=True)
    assert store.path.read_bytes() != first


def test_the_file_is_what_the_specification_says() -> None:
    """Opened by hand: the format a second time, from its description."""
    content = sealed()
    assert content[:16] == b"blocktree-keys/1"
    end = 18 + int.from_bytes(content[16:18], "little")
    header = content[18:end]
    costs = [int.from_bytes(header[i : i + 4], "little") for i in (0, 4, 8)]
    assert costs == [QUICK_COST.memory_kib, QUICK_COST.iterations, QUICK_COST.lanes]
    assert header[12:] == SALT + NONCE + encode(CREDENTIALS.public)
    kdf = Argon2id(salt=SALT, length=32, memory_cost=costs[0], iterations=costs[1], lanes=costs[2])
    cipher = AESGCM(kdf.derive(b"pass"))
    plain = cipher.decrypt(NONCE, content[end:-32], b"blocktree/1 credentials\0" + header)
    assert plain == encode(CREDENTIALS)
    assert plain[:33] == b"\x02" + CREDENTIALS.seed


def test_the_default_cost_is_the_recommended_one() -> None:
    assert PassphraseCost(memory_kib=65536, iterations=3, lanes=4) == DEFAULT_COST


def test_a_file_with_the_default_cost_opens(tmp_path: Path) -> None:
    store = FileCredentialStore(tmp_path / "credentials")
    store.save(CREDENTIALS, "pass")
    assert FileCredentialStore(tmp_path / "credentials", QUICK_COST).unlock("pass").public == CREDENTIALS.public


def test_the_passphrase_counts_however_its_accents_are_typed() -> None:
    assert _format.open_credentials(sealed(passphrase="caf\u00e9"), "cafe\u0301", "x") == CREDENTIALS


@pytest.mark.parametrize("passphrase", ["Pass", "pass ", " pass", "pas", "\0", "pässword" * 400])
def test_a_wrong_passphrase_is_told_from_damage(passphrase: str) -> None:
    with pytest.raises(CredentialError, match="this is not the passphrase of my file; try again") as caught:
        _format.open_credentials(sealed(), passphrase, "my file")
    assert caught.value.kind is Kind.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("passphrase", "reason"),
    [("", "empty passphrase"), ("x" * 4097, "at most 4096 bytes"), ("\udc80", "not valid UTF-8")],
)
def test_a_passphrase_that_cannot_be_one_is_refused(passphrase: str, reason: str) -> None:
    for use in (lambda: sealed(passphrase=passphrase), lambda: _format.open_credentials(sealed(), passphrase, "x")):
        with pytest.raises(CredentialError, match=reason):
            use()


def test_every_cut_and_every_flipped_byte_of_the_file_is_called_damage() -> None:
    content = sealed()
    damaged = [content[:size] for size in range(len(content))] + [content + b"\0"]
    damaged += [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))]
    for text in damaged:
        with pytest.raises(CredentialError, match=r"my file is damaged: .*; restore it from a backup") as caught:
            _format.open_credentials(text, "pass", "my file")
        assert caught.value.kind is Kind.INTEGRITY
        with pytest.raises(CredentialError, match="my file is damaged"):
            _format.read_public(text, "my file")


def test_what_is_changed_on_purpose_does_not_open_either() -> None:
    """With a correct checksum: only the passphrase's key stands in the way."""
    body = sealed()[:-32]
    costs = range(18, 30)  # a changed cost could be within the limits, and slow
    for i in range(len(body)):
        if i not in costs:
            changed = with_check(body[:i] + bytes([body[i] ^ 1 << i % 8]) + body[i + 1 :])
            with pytest.raises(CredentialError):
                _format.open_credentials(changed, "pass", "x")


@pytest.mark.parametrize(
    ("memory_kib", "iterations", "lanes"),
    [
        (0, 1, 1),
        (7, 1, 1),
        (2**20 + 1, 1, 1),
        (8, 0, 1),
        (8, 65, 1),
        (8, 1, 0),
        (2**20, 1, 65),
        (15, 1, 2),
        (2**32 - 1,) * 3,
    ],
)
def test_costs_outside_the_limits_are_refused_before_any_work(memory_kib: int, iterations: int, lanes: int) -> None:
    body = bytearray(sealed()[:-32])
    body[18:30] = b"".join(number.to_bytes(4, "little") for number in (memory_kib, iterations, lanes))
    with pytest.raises(CredentialError, match="demands a cost outside the limits"):
        _format.open_credentials(with_check(bytes(body)), "pass", "x")


@pytest.mark.parametrize(
    ("failure", "reason", "kind"),
    [
        (MemoryError("not enough"), "takes 8 KiB of memory, which this machine does not give", Kind.LIMIT),
        (UnsupportedAlgorithm("no argon2"), "has no Argon2id; install the wheel", Kind.NOT_SUPPORTED),
    ],
)
def test_a_machine_that_cannot_derive_the_key_says_why(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, reason: str, kind: Kind
) -> None:
    content = sealed()

    def derive(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("btlib.credentials._format.Argon2id", derive)
    with pytest.raises(CredentialError, match=reason) as caught:
        _format.open_credentials(content, "pass", "x")
    assert caught.value.kind is kind


def test_a_header_with_anothers_public_keys_is_refused() -> None:
    """Even by whoever knows the passphrase: `public` must not say what `unlock` would not."""
    other = Credentials.generate(Suite.P256)
    content = sealed()
    end = 18 + int.from_bytes(content[16:18], "little")
    header = content[18:end].replace(encode(CREDENTIALS.public), encode(other.public))
    key = Argon2id(
        salt=SALT,
        length=32,
        memory_cost=QUICK_COST.memory_kib,
        iterations=QUICK_COST.iterations,
        lanes=QUICK_COST.lanes,
    ).derive(b"pass")
    inner = AESGCM(key).encrypt(NONCE, encode(CREDENTIALS), Label.CREDENTIALS.value + header)
    with pytest.raises(CredentialError, match="what is inside does not fit its header"):
        _format.open_credentials(with_check(content[:18] + header + inner), "pass", "x")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"blocktree-keys/1", b"blocktree-keys/2" + bytes(200), bytes(2**20 + 1)]
)
def test_some_other_file_is_refused(store: FileCredentialStore, content: bytes) -> None:
    store.save(CREDENTIALS, "pass")
    store.path.write_bytes(content)
    for use in (store.public, lambda: store.unlock("pass"), lambda: store.add_chains("pass")):
        with pytest.raises(CredentialError, match="is damaged"):
            use()
    assert store.exists()


def test_more_chains_than_a_file_may_hold_are_refused(store: FileCredentialStore) -> None:
    (chain,) = CREDENTIALS.chains
    store.save(CREDENTIALS, "pass")
    huge = Credentials(suite=Suite.P256, seed=bytes(32), chains=(chain,) * 4000)
    with pytest.raises(CredentialError, match="4000 chains are too large"):
        store.save(huge, "pass", replace=True)
    assert store.unlock("pass").chains == (chain,)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(CredentialError, match="32 bytes"):
        Credentials(suite=Suite.P256, seed=bytes(size))


def test_a_store_shows_where_it_is_and_nothing_else(store: FileCredentialStore) -> None:
    assert repr(store) == f"FileCredentialStore({str(store.path)!r})"
    assert repr(MemoryCredentialStore()) == "MemoryCredentialStore(empty)"


def test_the_secret_itself_is_revealed_to_the_passphrase_alone(store: FileCredentialStore) -> None:
    store.save(CREDENTIALS, "pass")
    assert store.reveal("pass") == CREDENTIALS
    with pytest.raises(CredentialError, match="not the passphrase"):
        store.reveal("word")


@pytest.mark.parametrize("make", [Credentials.generate, lambda: Credentials.generate(Suite.P256)])
def test_generated_credentials_differ(make: Callable[[], Credentials]) -> None:
    assert make().public != make().public
