"""Credentials in a TPM, on a real `swtpm`: the conformance suite, and what no other store has to fear."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from btlib.credentials import Credentials
from btlib.errors import CredentialError, SealError
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.public_keys import Suite
from btlib.testing import check_credential_store, make_domain_identities
from btlib.testing.swtpm import SoftwareTpm
from msgspec.structs import replace

from .tpm_rig import (
    PASS,
    TRIES,
    credential_store,
    end_lockout,
    extend_register,
    leave_objects,
    leave_session,
    running_tpm,
    set_owner_password,
    slots,
)

from btlib.tpm._format import decode_record, encode_record  # isort: skip
from tpm2_pytss import ESAPI, TPM2_RC, TSS2_Exception  # isort: skip
from btlib.tpm import (  # isort: skip - only where the rig did not skip all
    OtherTpmError,
    TpmCredentialStore,
    TpmError,
    TpmFullError,
    TpmLockedError,
    TpmMissingError,
    TpmStateError,
)


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[SoftwareTpm]:
    with running_tpm(tmp_path / "tpm") as chip:
        yield chip


@pytest.fixture
def store(tpm: SoftwareTpm, tmp_path: Path) -> TpmCredentialStore:
    made = credential_store(tpm.tcti, tmp_path / "home" / "credentials")
    made.generate(Suite.P256, PASS)
    return made


def again(store: TpmCredentialStore) -> TpmCredentialStore:
    """The store as another process finds it: only by its file."""
    return TpmCredentialStore(store.path)


@pytest.mark.parametrize("exportable", [False, True])
@pytest.mark.parametrize("pcrs", [(), (7, 16)])
def test_it_is_a_credential_store(tpm: SoftwareTpm, tmp_path: Path, exportable: bool, pcrs: tuple[int, ...]) -> None:
    numbers = itertools.count()

    def make() -> TpmCredentialStore:
        path = tmp_path / str(next(numbers)) / "credentials"
        return credential_store(tpm.tcti, path, exportable=exportable, pcrs=pcrs)

    check_credential_store(make, [Suite.P256])
    assert slots(tpm.tcti) == (0, 0)


def test_keys_made_in_the_chip_have_no_way_out(store: TpmCredentialStore) -> None:
    with pytest.raises(CredentialError, match=r"cannot leave their TPM; only a domain's root") as caught:
        store.reveal(PASS)
    assert caught.value.kind is Kind.NOT_SUPPORTED


def test_a_root_comes_out_under_its_passphrase_as_the_same_secret(tpm: SoftwareTpm, tmp_path: Path) -> None:
    root = Credentials.generate(Suite.P256)
    store = credential_store(tpm.tcti, tmp_path / "root-credentials", exportable=True)
    store.save(root, PASS)
    assert store.reveal(PASS) == root
    store.change_passphrase(PASS, "another")
    assert again(store).reveal("another").seed == root.seed
    with pytest.raises(CredentialError, match="not the passphrase"):
        store.reveal(PASS)


def test_imported_keys_are_those_that_the_words_give_in_software(tpm: SoftwareTpm, tmp_path: Path) -> None:
    root = Credentials.generate(Suite.P256)
    store = credential_store(tpm.tcti, tmp_path / "root-credentials")
    store.save(root, PASS)
    identity = store.unlock(PASS)
    sealed = root.public.seal(Label.READCAP, b"info", b"text")
    assert identity.opener.open(Label.READCAP, b"info", sealed) == b"text"
    assert root.identity().opener.open(Label.READCAP, b"info", sealed) == b"text"
    root.public.verify(Label.COMMIT, b"message", identity.signer.sign(Label.COMMIT, b"message"))


def test_the_file_alone_says_where_the_chip_is(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    assert again(store).tcti == tpm.tcti
    assert again(store).unlock(PASS).public == store.public()


def test_a_chip_reached_another_way_is_the_same_chip(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    tpm.kill()
    tpm.port = 0
    tpm.start()
    assert TpmCredentialStore(store.path, tcti=tpm.tcti).unlock(PASS).public == store.public()


def test_a_killed_and_restarted_chip_goes_on_under_the_same_identity(
    store: TpmCredentialStore, tpm: SoftwareTpm
) -> None:
    identity = store.unlock(PASS)
    tpm.kill()
    with pytest.raises(TpmMissingError, match=r"no TPM answers at swtpm:.*look at: ls /dev/tpm"):
        identity.signer.sign(Label.COMMIT, b"lost")
    tpm.start()
    store.public().verify(Label.COMMIT, b"again", identity.signer.sign(Label.COMMIT, b"again"))
    assert again(store).unlock(PASS).public == identity.public


@pytest.mark.parametrize("command", ["create_primary", "load", "ecdh_zgen"])
def test_a_chip_that_dies_in_the_middle_of_a_use_is_told_and_met_anew(
    store: TpmCredentialStore, tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    true = getattr(ESAPI, command)

    def dying(*words: object, **named: object) -> object:
        tpm.kill()
        return true(*words, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ESAPI, command, dying)
        with pytest.raises(TpmMissingError, match="the connection broke"):
            store.unlock(PASS)
    tpm.start()
    assert store.unlock(PASS).public == store.public()
    assert slots(tpm.tcti) == (0, 0)


def test_another_chip_refuses_the_keys(store: TpmCredentialStore, tmp_path: Path) -> None:
    with running_tpm(tmp_path / "other") as other:
        with pytest.raises(OtherTpmError, match="are in another TPM than the one at swtpm") as caught:
            TpmCredentialStore(store.path, tcti=other.tcti).unlock(PASS)
        assert caught.value.kind is Kind.UNAUTHENTICATED
        assert slots(other.tcti) == (0, 0)


def test_a_wrong_passphrase_is_told_with_what_is_left(store: TpmCredentialStore) -> None:
    with pytest.raises(
        CredentialError, match=rf"not the passphrase of .*credentials; try again; after {TRIES - 1} more"
    ):
        store.unlock("wrong")


def test_a_lockout_is_told_with_the_wait_and_the_command(tmp_path: Path) -> None:
    with running_tpm(tmp_path / "tpm", tries=3) as tpm:
        store = credential_store(tpm.tcti, tmp_path / "credentials")
        store.generate(Suite.P256, PASS)
        for _ in range(3):
            with pytest.raises(CredentialError, match="not the passphrase"):
                store.unlock("wrong")
        with pytest.raises(TpmLockedError, match=r"wait 10 minutes .*tpm2_dictionarylockout --clear-lockout") as caught:
            store.unlock(PASS)
        assert caught.value.kind is Kind.LIMIT
        assert slots(tpm.tcti) == (0, 0)
        end_lockout(tpm.tcti)
        assert store.unlock(PASS).public == store.public()


def test_a_power_cut_counts_as_one_wrong_passphrase_and_no_more(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    for _ in range(3):
        store.unlock(PASS)
        tpm.kill()
        tpm.start()
    with pytest.raises(CredentialError, match=f"after {TRIES - 4} more"):
        store.unlock("wrong")


def test_registers_that_changed_are_told_apart_from_a_wrong_passphrase(tpm: SoftwareTpm, tmp_path: Path) -> None:
    store = credential_store(tpm.tcti, tmp_path / "credentials", pcrs=[7, 16])
    store.generate(Suite.P256, PASS)
    with pytest.raises(CredentialError, match="not the passphrase"):
        store.unlock("wrong")
    assert store.unlock(PASS).public == store.public()
    extend_register(tpm.tcti, 16)
    with pytest.raises(TpmStateError, match="bound to how this machine starts, and it started differently"):
        store.unlock(PASS)
    assert slots(tpm.tcti) == (0, 0)


def test_full_slots_are_told_and_other_programs_keys_left_alone(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    leave_objects(tpm.tcti, 3)
    with pytest.raises(TpmFullError, match=r"no place left.*device:/dev/tpmrm0") as caught:
        store.unlock(PASS)
    assert caught.value.kind is Kind.BUSY
    assert slots(tpm.tcti) == (3, 0)


@pytest.mark.parametrize("command", ["start_auth_session", "load", "tr_set_auth", "ecdh_zgen", "read_public", "unseal"])
def test_whatever_command_fails_nothing_is_left_in_the_chip(
    tpm: SoftwareTpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    store = credential_store(tpm.tcti, tmp_path / "credentials", pcrs=[7], exportable=True)
    store.save(Credentials.generate(Suite.P256), PASS)
    for use in (store.unlock, store.reveal):
        with monkeypatch.context() as patch:
            patch.setattr(ESAPI, command, refusing)
            with contextlib.suppress(TpmError):  # each use needs most of them, none all
                use(PASS)
        assert slots(tpm.tcti) == (0, 0)


def refusing(*_: object, **__: object) -> NoReturn:
    raise TSS2_Exception(int(TPM2_RC.FAILURE))


def test_with_room_for_two_more_objects_all_works(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    leave_objects(tpm.tcti, 1)
    identity = store.unlock(PASS)
    identity.signer.sign(Label.COMMIT, b"message")
    store.change_passphrase(PASS, "another")
    assert slots(tpm.tcti) == (1, 0)


def test_orphaned_sessions_are_flushed_at_the_next_beginning(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    for _ in range(3):
        leave_session(tpm.tcti)
    assert slots(tpm.tcti) == (0, 3)
    store.unlock(PASS)
    assert slots(tpm.tcti) == (0, 0)


KILLED = """
import os, sys
from pathlib import Path
from btlib.labels import Label
from btlib.tpm import TpmCredentialStore
from tpm2_pytss import ESAPI

command, count = sys.argv[2], int(sys.argv[3])
true = getattr(ESAPI, command)

def killing(self, *args, **named):
    global count
    answer = true(self, *args, **named)
    count -= 1
    if count == 0:
        os.kill(os.getpid(), 9)
    return answer

identity = TpmCredentialStore(Path(sys.argv[1])).unlock("correct horse")
setattr(ESAPI, command, killing)
identity.signer.sign(Label.COMMIT, b"message")
print("survived")
"""


@pytest.mark.parametrize(
    "command", ["create_primary", "start_auth_session", "load", "policy_pcr", "sign", "flush_context"]
)
def test_what_a_killed_process_left_is_flushed_by_the_next(tpm: SoftwareTpm, tmp_path: Path, command: str) -> None:
    pcrs = [7] if command == "policy_pcr" else []
    store = credential_store(tpm.tcti, tmp_path / "credentials", pcrs=pcrs)
    store.generate(Suite.P256, PASS)
    for _ in range(4):  # more often than there are slots
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(store.path), command, "1"], check=False, capture_output=True, text=True
        )
        assert (ended.returncode, ended.stdout) == (-9, ""), ended.stderr
    assert slots(tpm.tcti) != (0, 0)
    assert store.unlock(PASS).public == store.public()
    assert slots(tpm.tcti) == (0, 0)


SIGNING = """
import sys
from pathlib import Path
from btlib.labels import Label
from btlib.testing import QUICK_COST
from btlib.tpm import TpmCredentialStore
store = TpmCredentialStore(Path(sys.argv[1]), tcti=sys.argv[2], cost=QUICK_COST)
keys = store.unlock(sys.argv[3])
for number in range(20):
    message = bytes([number])
    keys.public.verify(Label.COMMIT, message, keys.signer.sign(Label.COMMIT, message))
"""


def test_processes_take_turns_at_a_bare_chip(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    words = [sys.executable, "-c", SIGNING, str(store.path), tpm.tcti, PASS]
    running = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert slots(tpm.tcti) == (0, 0)


def test_threads_share_a_chip_and_no_context(
    store: TpmCredentialStore, tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: list[tuple[int, int]] = []  # by whom a context was made, and by whom it is used
    make = ESAPI.__init__

    def making(self: ESAPI, tcti: str) -> None:
        make(self, tcti)
        self._made_by = threading.get_ident()

    def watched(name: str) -> Callable[..., object]:
        true = getattr(ESAPI, name)

        def use(self: ESAPI, *words: object, **named: object) -> object:
            owners.append((self._made_by, threading.get_ident()))
            return true(self, *words, **named)

        return use

    monkeypatch.setattr(ESAPI, "__init__", making)
    for name in ("create_primary", "load", "sign", "ecdh_zgen", "flush_context", "close"):
        monkeypatch.setattr(ESAPI, name, watched(name))
    identity = store.unlock(PASS)
    sealed = identity.public.seal(Label.READCAP, b"info", b"text")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                message = bytes([number, turn])
                identity.public.verify(Label.COMMIT, message, identity.signer.sign(Label.COMMIT, message))
                assert identity.opener.open(Label.READCAP, b"info", sealed) == b"text"
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {made == used for made, used in owners} == {True}
    assert len({used for _, used in owners}) == 5
    monkeypatch.undo()
    assert slots(tpm.tcti) == (0, 0)


def test_a_point_off_the_curve_does_not_reach_the_chip(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    identity = store.unlock(PASS)
    tpm.kill()
    sealed = b"\4" + bytes(64) + bytes(32)
    for text in (b"", sealed, b"\2" + sealed[1:], sealed[:70]):
        with pytest.raises(SealError):
            identity.opener.open(Label.READCAP, b"", text)


@pytest.mark.parametrize("blob", ["signing", "sealing", "seed"])
@pytest.mark.parametrize("bit", [16, 300, 900])
def test_a_blob_that_was_changed_is_refused_by_the_chip(tpm: SoftwareTpm, tmp_path: Path, blob: str, bit: int) -> None:
    store = credential_store(tpm.tcti, tmp_path / "credentials", exportable=True)
    store.save(Credentials.generate(Suite.P256), PASS)
    record = decode_record(store.path.read_bytes(), "")
    private = bytearray(getattr(record, blob).private)
    private[bit // 8] ^= 1 << bit % 8
    changed = replace(getattr(record, blob), private=bytes(private))
    store.path.write_bytes(encode_record(replace(record, **{blob: changed})))
    with pytest.raises(CredentialError, match="is damaged: the TPM does not recognise its keys") as caught:
        store.reveal(PASS) if blob == "seed" else store.unlock(PASS)
    assert caught.value.kind is Kind.INTEGRITY
    assert slots(tpm.tcti) == (0, 0)


@pytest.mark.parametrize("blob", ["signing", "sealing", "seed"])
@pytest.mark.parametrize("part", ["public", "private"])
def test_a_blob_cut_short_or_with_more_at_its_end_is_damage(
    tpm: SoftwareTpm, tmp_path: Path, blob: str, part: str
) -> None:
    store = credential_store(tpm.tcti, tmp_path / "credentials", exportable=True)
    store.save(Credentials.generate(Suite.P256), PASS)
    record = decode_record(store.path.read_bytes(), "")
    whole: bytes = getattr(getattr(record, blob), part)
    for wrong in (*(whole[:size] for size in range(len(whole))), whole + b"\0"):
        changed = replace(getattr(record, blob), **{part: wrong})
        store.path.write_bytes(encode_record(replace(record, **{blob: changed})))
        with pytest.raises(CredentialError, match="is damaged") as caught:
            store.unlock(PASS)
        assert caught.value.kind is Kind.INTEGRITY


def test_keys_of_two_stores_cannot_be_mixed(tpm: SoftwareTpm, tmp_path: Path) -> None:
    records = []
    for name in ("one", "two"):
        store = credential_store(tpm.tcti, tmp_path / name)
        store.generate(Suite.P256, PASS)
        records.append(decode_record(store.path.read_bytes(), ""))
    mixed = replace(records[0], sealing=replace(records[0].sealing, private=records[1].sealing.private))
    store.path.write_bytes(encode_record(mixed))
    with pytest.raises(CredentialError, match="is damaged"):
        store.unlock(PASS)


def test_chains_are_kept_beside_the_keys(store: TpmCredentialStore) -> None:
    (chain,) = make_domain_identities("alice")["alice"].chains
    store.add_chains(PASS, chain)
    assert again(store).unlock(PASS).chains == (chain,)


def test_where_no_chip_is_the_error_says_what_to_look_at(tmp_path: Path) -> None:
    for tcti in ("device:/dev/no-such-tpm", "nosuchkind:x", "swtpm:host=127.0.0.1,port=1"):
        store = credential_store(tcti, tmp_path / "credentials")
        with pytest.raises(TpmMissingError, match=r"no TPM answers at .*BLOCKTREE_TCTI"):
            store.generate(Suite.P256, PASS)
        assert not store.exists()


def test_an_owners_password_is_not_taken_for_a_wrong_passphrase(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    set_owner_password(tpm.tcti)
    with pytest.raises(TpmError, match=r"owner of the TPM .* has set a password.*tpm2_changeauth -c owner"):
        store.unlock(PASS)
    assert slots(tpm.tcti) == (0, 0)


def test_no_error_and_no_traceback_holds_a_secret(tmp_path: Path) -> None:
    with running_tpm(tmp_path / "tpm", tries=2) as tpm:
        store = credential_store(tpm.tcti, tmp_path / "credentials", exportable=True)
        root = Credentials.generate(Suite.P256)
        store.save(root, PASS)
        told = []
        uses: list[Callable[[], object]] = [
            lambda: store.unlock(PASS + "x"),
            lambda: store.reveal(PASS + "y"),
            lambda: store.unlock(PASS),  # locked by now
            lambda: store.change_passphrase(PASS, PASS + "z"),
            lambda: store.save(root, PASS),
        ]
        for use in uses:
            with pytest.raises(CredentialError) as caught:
                use()
            told += traceback.format_exception(caught.value)
    text = "".join(told)
    assert "takes no passphrase for now" in text
    for secret in (PASS, root.seed.hex(), repr(root.seed)[2:-1]):
        assert secret not in text


def test_nothing_shows_in_representations_and_nothing_is_pickled(store: TpmCredentialStore, tpm: SoftwareTpm) -> None:
    identity = store.unlock(PASS)
    assert repr(store) == f"TpmCredentialStore({str(store.path)!r})"
    assert repr(identity.signer) == f"TpmKeys({store.public()!r}, {tpm.tcti!r})"
    with pytest.raises(TypeError):
        pickle.dumps(identity.signer)
