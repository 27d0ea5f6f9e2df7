"""The file of credentials in a chip: everything but the secret. Pure; `_store` reads and writes it.

    file   = "blocktree-tpm/1\\0" ‖ record ‖ check
    record = tcti, memory_kib U32, iterations U32, lanes U32, salt (16), chip, pcrs, public: PublicKeys,
             signing: Blob, sealing: Blob, seed: Blob or nothing, chains
    Blob   = TPM2B_PUBLIC, TPM2B_PRIVATE                     as the chip gave them; only it can use the private part
    check  = SHA-256(CREDENTIALS_CHECK label ‖ all before)

    authorization value = Argon2id(passphrase as NFKC in UTF-8, salt, iterations, lanes, memory_kib, 32 bytes)

Nothing here is encrypted by us, and nothing here is a test for the passphrase: only the chip can tell whether one is
right, and it counts wrong ones. `chip` is the name of the storage key under which the blobs lie; another chip has
another. The chains are in the clear, as they are in the store.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from btserde import U8, U32, DecodeError, Fixed, decode, encode

from ..credentials import PassphraseCost
from ..errors import CredentialError
from ..kinds import Kind
from ..labels import Label, tagged_hash
from ..public_keys import PublicKeys
from ..writecaps import Chain

MAGIC = b"blocktree-tpm/1\0"
MAX_FILE_BYTES = 1 << 20  #: as of a credential file
MAX_PCR = 23  #: a PC's chip has registers 0 to 23
SALT_SIZE = 16

_CHECK_SIZE = 32
_DAMAGED_HINT = "restore it from a backup; keys that were made in the chip have no other copy"


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """One object as the chip gave it out: useless anywhere else."""

    public: bytes
    private: bytes


class TpmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept about credentials in a chip."""

    tcti: str  #: how the chip was reached
    memory_kib: U32
    iterations: U32
    lanes: U32
    salt: Annotated[bytes, Fixed[16]]
    chip: bytes
    pcrs: tuple[U8, ...]
    public: PublicKeys
    signing: Blob
    sealing: Blob
    seed: Blob | None  #: where the secret may come out again: the seed, sealed
    chains: tuple[Chain, ...]

    def __post_init__(self) -> None:
        if list(self.pcrs) != sorted(set(self.pcrs)) or any(pcr > MAX_PCR for pcr in self.pcrs):
            raise ValueError("it names registers that no chip has, or not in order")

    @property
    def cost(self) -> PassphraseCost:
        return PassphraseCost(memory_kib=self.memory_kib, iterations=self.iterations, lanes=self.lanes)

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All objects, each as the chip gave it out."""
        return (self.signing, self.sealing) if self.seed is None else (self.signing, self.sealing, self.seed)


def encode_record(record: TpmRecord) -> bytes:
    """The file's content. Raises CredentialError where it would be too large."""
    content = MAGIC + encode(record)
    if len(content) + _CHECK_SIZE > MAX_FILE_BYTES:
        raise CredentialError(f"credentials with {len(record.chains)} chains are too large to keep")
    return content + tagged_hash(Label.CREDENTIALS_CHECK, content)


def decode_record(content: bytes, name: str) -> TpmRecord:
    """What was encoded. `name` says in errors where it lay. Raises CredentialError."""
    if not content.startswith(MAGIC):
        raise damaged(name, "it does not begin as credentials in a TPM")
    if not len(MAGIC) + _CHECK_SIZE <= len(content) <= MAX_FILE_BYTES:
        raise damaged(name, f"it has {len(content)} bytes")
    body, check = content[:-_CHECK_SIZE], content[-_CHECK_SIZE:]
    if tagged_hash(Label.CREDENTIALS_CHECK, body) != check:
        raise damaged(name, "its checksum does not match")
    try:
        return decode(body[len(MAGIC) :], TpmRecord)
    except DecodeError as error:
        raise damaged(name, f"it cannot be read: {error}") from error


def damaged(name: str, reason: str) -> CredentialError:
    """The error about a file whose bytes are not those that were written."""
    return CredentialError(f"{name} is damaged: {reason}", kind=Kind.INTEGRITY, hint=_DAMAGED_HINT)
