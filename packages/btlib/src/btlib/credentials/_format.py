"""The credential file: a principal's seed and chains, encrypted under a passphrase. Pure; `_file` reads and writes it.

    file    = "blocktree-keys/1" ‖ header length U16 ‖ header ‖ sealed ‖ check
    header  = memory_kib U32, iterations U32, lanes U32, salt (16), nonce (12), public: PublicKeys
    key     = Argon2id(passphrase as NFKC in UTF-8, salt, iterations, lanes, memory_kib, 32 bytes)
    sealed  = AES-256-GCM(key, nonce, Credentials, associated data = CREDENTIALS label ‖ header)
    check   = SHA-256(CREDENTIALS_CHECK label ‖ all before)

The check is no protection: it tells a damaged file from a wrong passphrase. Salt and nonce are fresh at every writing,
so no key is used twice. Costs beyond the limits are refused before any work: a foreign file cannot exhaust the machine.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

import msgspec
from btserde import U32, DecodeError, Fixed, decode, encode
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from ..errors import CredentialError
from ..kinds import Kind
from ..labels import Label, tagged_hash
from ..public_keys import PublicKeys
from ._interface import Credentials

MAGIC = b"blocktree-keys/1"
MAX_FILE_BYTES = 1 << 20  #: some 10 longest chains; a larger file is some other file
MAX_PASSPHRASE_BYTES = 4096
MAX_MEMORY_KIB = 1 << 20  #: 1 GiB
MAX_ITERATIONS = 64
MAX_LANES = 64

_LENGTH_SIZE = 2
_CHECK_SIZE = 32
_KEY_SIZE = 32
_TAG_SIZE = 16
SALT_SIZE = 16
NONCE_SIZE = 12

_DAMAGED_HINT = "restore it from a backup, or make the keys again from their recovery words"


class PassphraseCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one guess at a passphrase costs (Argon2id)."""

    memory_kib: int
    iterations: int
    lanes: int

    @property
    def in_bounds(self) -> bool:
        """Whether the limits of this module allow it."""
        within = 1 <= self.lanes <= MAX_LANES and 1 <= self.iterations <= MAX_ITERATIONS
        return within and 8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB


# The second recommendation of RFC 9106, for machines of any size: about 0.1 s and 64 MiB a guess.
DEFAULT_COST = PassphraseCost(memory_kib=64 * 1024, iterations=3, lanes=4)


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    memory_kib: U32
    iterations: U32
    lanes: U32
    salt: Annotated[bytes, Fixed[16]]
    nonce: Annotated[bytes, Fixed[12]]
    public: PublicKeys

    def __post_init__(self) -> None:
        if not self.cost.in_bounds:
            raise ValueError("it demands a cost outside the limits")

    @property
    def cost(self) -> PassphraseCost:
        return PassphraseCost(memory_kib=self.memory_kib, iterations=self.iterations, lanes=self.lanes)


def seal_credentials(
    credentials: Credentials, passphrase: str, cost: PassphraseCost, *, salt: bytes, nonce: bytes
) -> bytes:
    """The file's content. `salt` (16) and `nonce` (12) are fresh random bytes. Raises CredentialError."""
    header = _Header(
        memory_kib=cost.memory_kib,
        iterations=cost.iterations,
        lanes=cost.lanes,
        salt=salt,
        nonce=nonce,
        public=credentials.public,
    )
    raw = encode(header)
    cipher = AESGCM(derive_key(passphrase, header.salt, header.cost))
    sealed = cipher.encrypt(nonce, encode(credentials), Label.CREDENTIALS.value + raw)
    content = MAGIC + len(raw).to_bytes(_LENGTH_SIZE, "little") + raw + sealed
    if len(content) + _CHECK_SIZE > MAX_FILE_BYTES:
        raise CredentialError(f"credentials with {len(credentials.chains)} chains are too large to keep")
    return content + tagged_hash(Label.CREDENTIALS_CHECK, content)


def open_credentials(content: bytes, passphrase: str, name: str) -> Credentials:
    """What was sealed. `name` says in errors where it lay. Raises CredentialError."""
    header, raw, sealed = _split(content, name)
    try:
        plain = AESGCM(derive_key(passphrase, header.salt, header.cost)).decrypt(
            header.nonce, sealed, Label.CREDENTIALS.value + raw
        )
    except InvalidTag:
        raise CredentialError(f"this is not the passphrase of {name}", hint="try again") from None
    try:
        credentials = decode(plain, Credentials)
    except DecodeError:
        credentials = None  # its message could quote the plaintext
    if credentials is None or credentials.public != header.public:
        raise _damaged(name, "what is inside does not fit its header")
    return credentials


def read_public(content: bytes, name: str) -> PublicKeys:
    """Whose credentials these are, without opening them. Raises CredentialError."""
    return _split(content, name)[0].public


def _split(content: bytes, name: str) -> tuple[_Header, bytes, bytes]:
    """The header, its encoding, and the sealed part."""
    start = len(MAGIC) + _LENGTH_SIZE
    if not content.startswith(MAGIC):
        raise _damaged(name, "it does not begin as a credential file")
    if not start + _TAG_SIZE + _CHECK_SIZE <= len(content) <= MAX_FILE_BYTES:
        raise _damaged(name, f"it has {len(content)} bytes")
    body, check = content[:-_CHECK_SIZE], content[-_CHECK_SIZE:]
    if tagged_hash(Label.CREDENTIALS_CHECK, body) != check:
        raise _damaged(name, "its checksum does not match")
    end = start + int.from_bytes(body[len(MAGIC) : start], "little")
    raw, sealed = body[start:end], body[end:]
    try:
        return decode(raw, _Header), raw, sealed
    except DecodeError as error:
        raise _damaged(name, f"its header cannot be read: {error}") from error


def _damaged(name: str, reason: str) -> CredentialError:
    return CredentialError(f"{name} is damaged: {reason}", kind=Kind.INTEGRITY, hint=_DAMAGED_HINT)


def derive_key(passphrase: str, salt: bytes, cost: PassphraseCost) -> bytes:
    """32 bytes that only the passphrase gives. Raises CredentialError."""
    secret = check_passphrase(passphrase)
    try:
        kdf = Argon2id(
            salt=salt,
            length=_KEY_SIZE,
            iterations=cost.iterations,
            lanes=cost.lanes,
            memory_cost=cost.memory_kib,
        )
        return kdf.derive(secret)
    except MemoryError:
        raise CredentialError(
            f"opening credentials takes {cost.memory_kib} KiB of memory, which this machine does not give",
            kind=Kind.LIMIT,
        ) from None
    except UnsupportedAlgorithm as error:
        raise CredentialError(
            "this build of OpenSSL has no Argon2id",
            kind=Kind.NOT_SUPPORTED,
            hint="install the wheel of cryptography, which brings its own: pip install --force-reinstall cryptography",
        ) from error


def check_passphrase(passphrase: str) -> bytes:
    """The bytes that a passphrase stands for, however its accents were typed. Raises CredentialError."""
    try:
        raw = unicodedata.normalize("NFKC", passphrase).encode()
    except UnicodeEncodeError:
        raise CredentialError("the passphrase is not valid UTF-8", kind=Kind.INVALID) from None
    if not raw:
        raise CredentialError("an empty passphrase protects nothing", kind=Kind.INVALID)
    if len(raw) > MAX_PASSPHRASE_BYTES:
        raise CredentialError(f"a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes", kind=Kind.INVALID)
    return raw
