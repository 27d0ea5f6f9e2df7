"""Paths, principals, credentials, capabilities, blocks and their Merkle tree."""

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
from .key_pairs import KeyPair
from .kinds import Kind
from .labels import Label
from .paths import BlockPath, check_name
from .principals import Principal
from .public_keys import PublicKeys, Suite
from .signing import Opener, Signer

__all__ = [
    "BlockError",
    "BlockPath",
    "BlocktreeError",
    "CapabilityError",
    "CredentialError",
    "IntegrityError",
    "KeyPair",
    "Kind",
    "Label",
    "Opener",
    "PathError",
    "Principal",
    "PrincipalError",
    "PublicKeys",
    "SealError",
    "SignatureError",
    "Signer",
    "Suite",
    "check_name",
]
