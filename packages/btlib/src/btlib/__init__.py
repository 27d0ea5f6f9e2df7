"""Paths, principals, credentials, capabilities, blocks and their Merkle tree.

The names that most programs need; the rest is in the modules: `btlib.errors`, `btlib.words`, `btlib.block` and so on.
"""

from .credentials import Credentials, CredentialStore, FileCredentialStore
from .errors import BlocktreeError, CapabilityError, IntegrityError
from .identity import Identity
from .key_pairs import KeyPair
from .kinds import Kind
from .labels import Label
from .paths import BlockPath
from .principals import Principal
from .public_keys import PublicKeys, Suite
from .readcaps import Readcap, ReadKey, open_readcap, seal_readcap
from .revocations import Revocations
from .signing import Opener, Signer
from .verification import Decision, verify_chain
from .writecaps import Chain, Rights, Writecap, issue_writecap

__all__ = [
    "BlockPath",
    "BlocktreeError",
    "CapabilityError",
    "Chain",
    "CredentialStore",
    "Credentials",
    "Decision",
    "FileCredentialStore",
    "Identity",
    "IntegrityError",
    "KeyPair",
    "Kind",
    "Label",
    "Opener",
    "Principal",
    "PublicKeys",
    "ReadKey",
    "Readcap",
    "Revocations",
    "Rights",
    "Signer",
    "Suite",
    "Writecap",
    "issue_writecap",
    "open_readcap",
    "seal_readcap",
    "verify_chain",
]
