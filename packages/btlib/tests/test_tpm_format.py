"""The file of credentials in a TPM, and the half of HPKE that is left to software. Needs no chip and no library."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path

import pytest
from btlib.credentials import Credentials
from btlib.errors import CredentialError, SealError
from btlib.kinds import Kind
from btlib.labels import Label, tagged_hash
from btlib.public_keys import Suite
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from .slow_hpke import AES_256_GCM, P256, SlowHpke, uncompressed

pytest.importorskip("tpm2_pytss", reason="the extra btlib[tpm] is not installed", exc_type=ImportError)

from btlib.tpm import TpmCredentialStore
from btlib.tpm._answers import Lockout, missing, refusal
from btlib.tpm._format import MAGIC, MAX_FILE_BYTES, Blob, TpmRecord, decode_record, encode_record
from btlib.tpm._hpke import open_shared, split_sealed
from btlib.tpm._templates import storage_template
from tpm2_pytss import TPM2_RC

PUBLIC = Credentials(suite=Suite.P256, seed=bytes(range(32))).public
BLOB = Blob(public=b"public", private=b"private")
RECORD = TpmRecord(
    tcti="device:/dev/tpmrm0",
    memory_kib=8,
    iterations=1,
    lanes=1,
    salt=bytes(16),
    chip=bytes(34),
    pcrs=(0, 7),
    public=PUBLIC,
    signing=BLOB,
    sealing=BLOB,
    seed=None,
    chains=(),
)
FILE = encode_record(RECORD)


def checked(body: bytes) -> bytes:
    return body + tagged_hash(Label.CREDENTIALS_CHECK, body)


def test_a_record_comes_back() -> None:
    assert decode_record(FILE, "keys") == RECORD


def test_the_formats_bytes_and_the_storage_keys_template_never_change() -> None:
    """A file of today has to be read for ever; with another template every key ever made would be lost."""
    assert hashlib.sha256(FILE).hexdigest() == "7132d707bc9cf95fec721fdfee58bb1bf7f22f2f981704ef1613bf72ff06e087"
    mark = tagged_hash(Label.TPM_STORAGE).hex()
    template = f"003a0023000b000304720020{mark}00060080004300100003001000000000"
    assert storage_template().marshal().hex() == template


@pytest.mark.parametrize("size", range(len(FILE)))
def test_a_truncated_file_is_damaged(size: int) -> None:
    with pytest.raises(CredentialError, match="keys is damaged") as caught:
        decode_record(FILE[:size], "keys")
    assert caught.value.kind is Kind.INTEGRITY


@given(st.integers(0, len(FILE) * 8 - 1))
def test_a_flipped_bit_is_damage(bit: int) -> None:
    flipped = bytearray(FILE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CredentialError, match="keys is damaged"):
        decode_record(bytes(flipped), "keys")


@given(st.binary(max_size=400))
def test_whatever_stands_under_a_right_checksum_is_a_record_or_damage(body: bytes) -> None:
    with contextlib.suppress(CredentialError):
        assert encode_record(decode_record(checked(MAGIC + body), "keys")) == checked(MAGIC + body)


@pytest.mark.parametrize("content", [b"", MAGIC, bytes(100), FILE + b"\0", MAGIC + bytes(MAX_FILE_BYTES)])
def test_some_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    store = TpmCredentialStore(tmp_path / "credentials")
    store.path.write_bytes(content)
    store.path.chmod(0o600)
    for use in (store.public, lambda: store.unlock("pass"), lambda: store.reveal("pass")):
        with pytest.raises(CredentialError, match="is damaged"):
            use()


def test_blobs_that_are_none_are_damage_before_any_chip_is_asked(tmp_path: Path) -> None:
    store = TpmCredentialStore(tmp_path / "credentials")
    store.path.write_bytes(FILE)
    store.path.chmod(0o600)
    with pytest.raises(CredentialError, match="no object of a TPM"):
        store.unlock("pass")


@pytest.mark.parametrize("pcrs", [(7, 0), (7, 7), (24,)])
def test_registers_out_of_order_or_range_are_refused(pcrs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="registers"):
        TpmRecord(**{name: getattr(RECORD, name) for name in RECORD.__struct_fields__ if name != "pcrs"}, pcrs=pcrs)


@given(plain=st.binary(max_size=300), info=st.binary(max_size=100))
def test_software_opens_what_the_library_seals_given_the_chips_result(plain: bytes, info: bytes) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    public, sealed = compressed(own), b""
    sealed = seal(public, info, plain)
    assert open_shared(exchange(own, sealed), sealed, public, info) == plain
    scalar = own.private_numbers().private_value.to_bytes(32)
    assert SlowHpke(P256, AES_256_GCM).open(scalar, info, b"", sealed) == plain


def test_software_opens_what_the_slow_writing_seals() -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    public = compressed(own)
    sealed = SlowHpke(P256, AES_256_GCM).seal(uncompressed(public), secrets.token_bytes(32), b"info", b"", b"text")
    assert open_shared(exchange(own, sealed), sealed, public, b"info") == b"text"


@pytest.mark.parametrize("place", ["dh", "enc", "ciphertext", "info", "own"])
def test_nothing_opens_with_any_part_wrong(place: str) -> None:
    own, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    public = compressed(own)
    sealed, foreign = seal(public, b"info", b"text"), seal(public, b"info", b"text")
    parts = {"dh": exchange(own, sealed), "sealed": sealed, "own": public, "info": b"info"}
    parts |= {
        "dh": {"dh": exchange(own, foreign)},
        "enc": {"sealed": foreign[:65] + sealed[65:]},
        "ciphertext": {"sealed": sealed[:-1] + bytes([sealed[-1] ^ 1])},
        "info": {"info": b"other"},
        "own": {"own": compressed(other)},
    }[place]
    with pytest.raises(SealError):
        open_shared(**parts)


@pytest.mark.parametrize("sealed", [b"", bytes(65), b"\4" + bytes(64) + bytes(16), b"\2" + bytes(100)])
def test_what_is_no_sealed_text_is_refused_before_any_chip_is_asked(sealed: bytes) -> None:
    with pytest.raises(SealError):
        split_sealed(sealed)


def compressed(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32)


def seal(public: bytes, info: bytes, plain: bytes) -> bytes:
    from btlib.public_keys import suite_code

    return suite_code(Suite.P256).seal(public, info, plain)


def exchange(own: ec.EllipticCurvePrivateKey, sealed: bytes) -> bytes:
    return own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sealed[:65]))


REFUSALS = {
    TPM2_RC.AUTH_FAIL: (Kind.UNAUTHENTICATED, "not the passphrase of keys; try again; after 29 more"),
    TPM2_RC.BAD_AUTH: (Kind.UNAUTHENTICATED, "not the passphrase of keys"),
    TPM2_RC.LOCKOUT: (Kind.LIMIT, "wait 2 minutes and try once"),
    TPM2_RC.OBJECT_MEMORY: (Kind.BUSY, "has no place left"),
    TPM2_RC.SESSION_HANDLES: (Kind.BUSY, "has no place left"),
    TPM2_RC.POLICY_FAIL: (Kind.UNAUTHENTICATED, "started differently"),
    TPM2_RC.INTEGRITY: (Kind.INTEGRITY, "keys is damaged"),
    TPM2_RC.FAILURE: (Kind.IO, "the TPM at bus refused: its words"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_each_answer_of_a_chip_has_its_error(code: int) -> None:
    kind, words = REFUSALS[code]
    lockout = Lockout(counted=3, allowed=32, seconds=61)
    error = refusal(int(code), int(code), "its words", tcti="bus", name="keys", lockout=lockout)
    assert error.kind is kind
    assert words in str(error)
    assert error.hint is not None


@pytest.mark.parametrize("fault", [None, "there is no such device", "this user may not use it"])
def test_a_chip_that_is_not_there_is_told_with_the_next_step(fault: str | None) -> None:
    error = missing("device:/dev/tpmrm0", fault)
    assert error.kind is Kind.UNREACHABLE
    assert fault is None or fault in str(error)
    assert ("usermod -aG tss" if fault == "this user may not use it" else "BLOCKTREE_TCTI") in str(error)
