"""What is served, as whom, and from where: the domain, the unlocked identity, the store's directory."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from btlib.errors import CredentialError
from btlib.home import SERVER_NAME, Domain, Home, HomeError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.process_keys import for_process
from btlib.unlocking import unlock_domain

from ._settings import Settings

HOME_VARIABLE = "BLOCKTREE_HOME"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"  #: set by systemd's LoadCredential= and SetCredential=
CREDENTIAL = "passphrase"
PASSPHRASE_LIMIT = 4096


@dataclass(frozen=True, kw_only=True)
class Host:
    """This machine in one domain."""

    domain: Domain
    identity: Identity
    store: Path

    @property
    def path(self) -> BlockPath:
        """Where the server stands in the tree."""
        return self.domain.host_path.child(SERVER_NAME)


def find_domain(settings: Settings, environ: Mapping[str, str]) -> Domain:
    """The domain to serve. Raises HomeError, ConfigError."""
    domain = Home.find(_chosen(settings, environ)).domain(settings.domain)
    if domain.store is None:
        raise HomeError(
            f"the domain {domain.petname} has no store on this machine, so there is nothing to serve",
            hint=f"set `store` in {domain.settings_file}, or serve it on the machine where `bt init` was run",
        )
    return domain


def unlock(settings: Settings, environ: Mapping[str, str]) -> Host:
    """Everything that a server needs to know and hold. Raises HomeError, CredentialError."""
    domain = find_domain(settings, environ)
    if not domain.credentials.exists():
        raise CredentialError(
            f"this machine has no credentials in the domain {domain.petname}", hint="run: bt init, or bt enroll"
        )
    identity = for_process(_identity(settings, _chosen(settings, environ), domain))
    assert domain.store is not None
    return Host(domain=domain, identity=identity, store=domain.store)


def _chosen(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, str]:
    return environ if settings.home is None else {**environ, HOME_VARIABLE: settings.home}


def _identity(settings: Settings, environ: Mapping[str, str], domain: Domain) -> Identity:
    if settings.passphrase_file is not None:
        return unlock_domain(domain, environ, Path(settings.passphrase_file))
    if directory := environ.get(CREDENTIALS_VARIABLE):
        credential = Path(directory) / CREDENTIAL
        if credential.exists():
            return domain.credentials.unlock(_read_credential(credential))
    prompt = f"Passphrase of this machine in {domain.petname}: "
    return unlock_domain(domain, environ, None, (lambda: getpass.getpass(prompt)) if sys.stdin.isatty() else None)


def _read_credential(file: Path) -> str:
    """A credential from the service manager, which sees to its permissions."""
    try:
        with file.open("rb") as stream:
            line = stream.read(PASSPHRASE_LIMIT).decode().split("\n", 1)[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"the credential {file} cannot be read: {error}", kind=Kind.UNAUTHENTICATED) from error
    if not line:
        raise HomeError(f"the first line of the credential {file} is empty", kind=Kind.UNAUTHENTICATED)
    return line
