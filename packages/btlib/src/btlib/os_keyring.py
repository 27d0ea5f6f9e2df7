"""The passphrase of this machine's keys in the keyring of the desktop session (Secret Service, Keychain, Wallet).

Only where the user asked for it (`remember`), and only with the extra `btlib[keyring]`. Who can open the session's
keyring then has the passphrase; it is for machines where that login is as good as typing it. A mark beside the domain's
settings says that it was asked for, so that nobody else's keyring is ever opened or asked to unlock.
"""

from __future__ import annotations

from types import ModuleType

from .errors import CredentialError
from .home import Domain
from .kinds import Kind

SERVICE = "blocktree"
MARK = "keyring"  #: an empty file in the domain's directory


def remember(domain: Domain, passphrase: str) -> None:
    """Put it into the keyring. Whether it is right is for the caller to know. Raises CredentialError."""
    keyring = _require()
    try:
        keyring.set_password(SERVICE, _name(domain), passphrase)
    except keyring.errors.KeyringError as error:
        raise _unusable(error) from None  # a back end's message could quote what it was given
    (domain.directory / MARK).touch(mode=0o600)


def recall(domain: Domain) -> str | None:
    """What was put there; None where nothing was, or where there is no keyring."""
    if not (domain.directory / MARK).exists() or (keyring := _find()) is None:
        return None
    try:
        found = keyring.get_password(SERVICE, _name(domain))
    except (keyring.errors.KeyringError, RuntimeError, OSError):
        return None
    return None if found is None else str(found)


def distrust(domain: Domain) -> None:
    """Do not use what is remembered any more, since it was wrong: a chip would count each further try."""
    (domain.directory / MARK).unlink(missing_ok=True)


def forget(domain: Domain) -> bool:
    """Take it out again; False where nothing was there. Raises CredentialError."""
    keyring = _require()
    try:
        was_there = keyring.get_password(SERVICE, _name(domain)) is not None
        if was_there:
            keyring.delete_password(SERVICE, _name(domain))
    except keyring.errors.KeyringError as error:
        raise _unusable(error) from None
    (domain.directory / MARK).unlink(missing_ok=True)
    return was_there


def _name(domain: Domain) -> str:
    """The principal: a petname may be given to another domain later."""
    return str(domain.credentials.public().principal)


def _find() -> ModuleType | None:
    # Imported at the first use: it looks for back ends, which takes a tenth of a second.
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    return keyring


def _require() -> ModuleType:
    keyring = _find()
    if keyring is None:
        raise CredentialError(
            "the Python package keyring is not installed",
            kind=Kind.NOT_SUPPORTED,
            hint="run: pip install 'btlib[keyring]', or: pipx inject blocktree keyring",
        )
    return keyring


def _unusable(error: Exception) -> CredentialError:
    return CredentialError(
        f"there is no keyring that can be used here ({type(error).__name__})",
        kind=Kind.NOT_SUPPORTED,
        hint="see: keyring diagnose; without one, use bt agent start",
    )
