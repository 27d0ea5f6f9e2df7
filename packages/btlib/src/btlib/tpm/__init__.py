"""Credentials in a TPM 2.0: keys that are made in the chip and never leave it. Needs the extra `btlib[tpm]`.

`TpmCredentialStore` keeps the promises of `CredentialStore`. Importing this package without the extra raises
`TpmMissingError`, a `CredentialError` that names what to install.
"""

from ._errors import OtherTpmError, TpmError, TpmFullError, TpmLockedError, TpmMissingError, TpmStateError

try:
    import tpm2_pytss  # noqa: F401
except (ImportError, OSError) as error:
    raise TpmMissingError(
        f"keys in a TPM need the extra `tpm` of btlib, which is not usable here ({error})",
        hint="install Debian's libtss2-dev, gcc, pkg-config and python3-dev, then run: pip install 'btlib[tpm]'",
    ) from error

from ._store import DEFAULT_TCTI, TpmCredentialStore

__all__ = [
    "DEFAULT_TCTI",
    "OtherTpmError",
    "TpmCredentialStore",
    "TpmError",
    "TpmFullError",
    "TpmLockedError",
    "TpmMissingError",
    "TpmStateError",
]
