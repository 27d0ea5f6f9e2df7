"""The target of files of keys in a TPM. Importing it needs the library of chips, as `btlib.tpm` does."""

from __future__ import annotations

from collections.abc import Iterator

from btlib.errors import CredentialError
from btlib.public_keys import Suite
from btlib.testing import make_domain_identities, make_keys
from btlib.tpm._format import Blob, TpmRecord, decode_record, encode_record

from .principals import with_check
from .target import target


@target("tpm-file", "files of keys in a chip (the checksum is put right)", refuses=CredentialError)
def tpm_file(data: bytes) -> None:
    content = with_check(data)
    assert encode_record(decode_record(content, "a file")) == content


def made() -> Iterator[tuple[str, str, bytes]]:
    """Its seed."""
    blob = Blob(public=b"public", private=b"private")
    record = TpmRecord(
        tcti="device:/dev/tpmrm0",
        memory_kib=8,
        iterations=1,
        lanes=1,
        salt=bytes(16),
        chip=b"chip",
        pcrs=(0, 7),
        public=make_keys("machine", Suite.P256).public,
        signing=blob,
        sealing=blob,
        seed=None,
        chains=make_domain_identities("alice")["alice"].chains,
    )
    yield "tpm-file", "made", encode_record(record)
