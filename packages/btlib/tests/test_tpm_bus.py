"""Who listens on the wires between processor and chip learns nothing that helps him."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from btlib.credentials import Credentials, _format
from btlib.labels import Label
from btlib.public_keys import Suite
from btlib.testing import QUICK_COST

from .tpm_rig import Bus, credential_store, running_tpm

from tpm2_pytss import TPMA_SESSION  # isort: skip
from btlib.tpm import _chip  # isort: skip - only where the rig did not skip all
from btlib.tpm._format import decode_record  # isort: skip

FIRST = "päss the salt, please"
SECOND = "another canary passphrase"
CONTENT = b"the sealed content, a canary of its own"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with running_tpm(tmp_path / "tpm") as tpm, Bus(tpm) as wires:
        yield wires


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The Diffie-Hellman results that the chip gives out."""
    results: list[bytes] = []
    true = _chip.Conversation.exchange

    def noting(*words: object) -> bytes:
        results.append(true(*words))  # type: ignore[arg-type]
        return results[-1]

    monkeypatch.setattr(_chip.Conversation, "exchange", noting)
    return results


def authorization(path: Path, passphrase: str) -> bytes:
    record = decode_record(path.read_bytes(), str(path))
    return _format.derive_key(passphrase, record.salt, QUICK_COST)


@pytest.mark.parametrize("pcrs", [(), (7,)])
@pytest.mark.parametrize("exportable", [False, True])
def test_no_secret_crosses_the_bus(
    bus: Bus, tmp_path: Path, exchanged: list[bytes], pcrs: tuple[int, ...], exportable: bool
) -> None:
    credentials = Credentials.generate(Suite.P256)
    path = tmp_path / "credentials"
    store = credential_store(bus.tcti, path, pcrs=pcrs, exportable=exportable)
    store.save(credentials, FIRST)
    secrets = {"first authorization value": authorization(path, FIRST)}
    identity = store.unlock(FIRST)
    identity.signer.sign(Label.COMMIT, b"message")
    sealed = identity.public.seal(Label.READCAP, b"info", CONTENT)
    assert identity.opener.open(Label.READCAP, b"info", sealed) == CONTENT
    store.change_passphrase(FIRST, SECOND)
    if exportable:
        assert store.reveal(SECOND).seed == credentials.seed
    keys = credentials.identity().signer._private  # type: ignore[attr-defined]
    secrets |= {
        "second authorization value": authorization(path, SECOND),
        "first passphrase": unicodedata.normalize("NFKC", FIRST).encode(),
        "second passphrase": SECOND.encode(),
        "seed": credentials.seed,
        "signing key": keys._signing.private_numbers().private_value.to_bytes(32),
        "sealing key": keys._sealing.private_numbers().private_value.to_bytes(32),
        "content": CONTENT,
        **{f"shared secret {number}": secret for number, secret in enumerate(exchanged)},
    }
    assert len(exchanged) == 2
    recorded = bus.recorded
    crossed = [name for name, secret in secrets.items() for part in halves(secret) if part in recorded]
    assert crossed == []
    # The capture is one: what may be seen is seen.
    assert identity.public.signing[1:] in recorded


def halves(secret: bytes) -> tuple[bytes, bytes]:
    """Parts long enough not to occur by chance, so that a split secret is found too."""
    middle = len(secret) // 2
    return secret[:middle], secret[middle:]


def test_the_capture_would_find_what_an_open_session_shows(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = credential_store(bus.tcti, tmp_path / "credentials", exportable=True)
    credentials = Credentials.generate(Suite.P256)
    monkeypatch.setattr(_chip, "_BOTH_WAYS", TPMA_SESSION.CONTINUESESSION)
    store.save(credentials, FIRST)
    assert credentials.seed in bus.recorded
