"""Which store keeps the credentials of a file: the file itself says so by how it begins.

The chip's package is imported only where a file, or the user, names a chip; it needs an extra.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..credentials import CredentialStore, FileCredentialStore

TCTI_VARIABLE = "BLOCKTREE_TCTI"  #: how the TPM is reached, where that differs from what the file of its keys says
_TPM_MAGIC = b"blocktree-tpm/"


def open_credential_store(file: Path, tcti: str | None = None) -> CredentialStore:
    """The store behind a file; one that does not exist yet will keep keys in itself.

    `tcti`: how to reach the chip, where it is not as when the keys were made. Raises TpmMissingError where the keys are
    in a chip and this installation cannot talk to one.
    """
    if not is_in_tpm(file):
        return FileCredentialStore(file)
    from ..tpm import TpmCredentialStore

    return TpmCredentialStore(file, tcti=tcti)


def tcti_of(file: Path, tcti: str | None = None) -> str | None:
    """How the chip is reached that holds the keys of a file; None where the file holds them itself."""
    if not is_in_tpm(file):
        return None
    from ..tpm import TpmCredentialStore

    return TpmCredentialStore(file, tcti=tcti).tcti


def is_in_tpm(file: Path) -> bool:
    """Whether the keys of a file are in a chip. False also where the file cannot be read."""
    with contextlib.suppress(OSError), file.open("rb") as stream:
        return stream.read(len(_TPM_MAGIC)) == _TPM_MAGIC
    return False
