"""From a domain to this machine's identity in it: by whatever is given, remembered or held, before anybody is asked.

    a passphrase file, the environment      given for this very run; a daemon that has one depends on nothing else
    the agent                               holds the keys; nothing is opened here
    the keyring                             where the user had the passphrase put
    the prompt

The order is the same for `bt`, `btfuse` and `btfsd`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import os_keyring
from .agent import identity_from_agent
from .errors import CredentialError
from .home import Domain, find_passphrase
from .home._passphrase import VARIABLE
from .identity import Identity
from .kinds import Kind


def unlock_domain(
    domain: Domain,
    environ: Mapping[str, str],
    file: Path | None = None,
    prompt: Callable[[], str] | None = None,
) -> Identity:
    """This machine's identity. Raises CredentialError, and HomeError where nothing gives a passphrase."""
    if file is None and not environ.get(VARIABLE):
        identity = _from_agent(domain, environ) or _from_keyring(domain)
        if identity is not None:
            return identity
    return domain.credentials.unlock(find_passphrase(environ, file, prompt))


def _from_agent(domain: Domain, environ: Mapping[str, str]) -> Identity | None:
    if not domain.credentials.exists():
        return None
    return identity_from_agent(environ, domain.credentials.public().principal)


def _from_keyring(domain: Domain) -> Identity | None:
    if not domain.credentials.exists() or (passphrase := os_keyring.recall(domain)) is None:
        return None
    try:
        return domain.credentials.unlock(passphrase)
    except CredentialError as error:
        if error.kind is not Kind.UNAUTHENTICATED:
            raise
    os_keyring.distrust(domain)  # it was changed since; the prompt knows better
    return None
