"""Paths, principals, credentials, capabilities, blocks and their Merkle tree."""

from .credentials import Credentials, CredentialStore, FileCredentialStore, MemoryCredentialStore
from .errors import (
    BlockError,
    BlocktreeError,
    CapabilityError,
    CredentialError,
    IntegrityError,
    PathError,
    PrincipalError,
    SealError,
    SignatureError,
)
from .identity import Identity
from .key_pairs import KeyPair
from .kinds import Kind
from .labels import Label
from .paths import BlockPath, check_name
from .principals import Principal
from .public_keys import PublicKeys, Suite
from .readcaps import Readcap, ReadKey, open_readcap, seal_readcap
from .revocations import NO_REVOCATIONS, Revocations
from .signing import Opener, Signer
from .verification import Decision, VerifiedLinks, verify_chain
from .words import seed_to_words, words_to_seed
from .writecaps import Chain, Rights, Writecap, issue_writecap

__all__ = [
    "NO_REVOCATIONS",
    "BlockError",
    "BlockPath",
    "BlocktreeError",
    "CapabilityError",
    "Chain",
    "CredentialError",
    "CredentialStore",
    "Credentials",
    "Decision",
    "FileCredentialStore",
    "Identity",
    "IntegrityError",
    "KeyPair",
    "Kind",
    "Label",
    "MemoryCredentialStore",
    "Opener",
    "PathError",
    "Principal",
    "PrincipalError",
    "PublicKeys",
    "ReadKey",
    "Readcap",
    "Revocations",
    "Rights",
    "SealError",
    "SignatureError",
    "Signer",
    "Suite",
    "VerifiedLinks",
    "Writecap",
    "check_name",
    "issue_writecap",
    "open_readcap",
    "seal_readcap",
    "seed_to_words",
    "verify_chain",
    "words_to_seed",
]
