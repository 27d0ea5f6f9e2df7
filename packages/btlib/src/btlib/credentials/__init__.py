"""Credentials: what one principal keeps secret, and where it keeps it.

`Credentials` is the secret itself: a seed and the chains held by its keys. A `CredentialStore` keeps it under a
passphrase: in a file, or in memory for tests. Using keys (`Identity`) is separate from keeping them.
"""

from ._file import FileCredentialStore
from ._format import DEFAULT_COST, PassphraseCost
from ._interface import Credentials, CredentialStore
from ._memory import MemoryCredentialStore

__all__ = [
    "DEFAULT_COST",
    "CredentialStore",
    "Credentials",
    "FileCredentialStore",
    "MemoryCredentialStore",
    "PassphraseCost",
]
