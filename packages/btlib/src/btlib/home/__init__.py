"""A user's local state: domains and their petnames, settings, where keys and stores lie, and passphrases.

This is shell, not core: it reads and writes files. It opens no store and no link (`btfproto.opening` does), and it
decides nothing about access.
"""

from ._credentials import TCTI_VARIABLE, open_credential_store, tcti_of
from ._directories import make_private_directory
from ._domain import HOSTS, SERVER_NAME, Domain
from ._errors import ConfigError, HomeError
from ._home import PETNAME_LIMIT, Home, check_petname
from ._passphrase import find_passphrase, read_passphrase_file
from ._settings import DomainSettings
from ._succession import Phase, Succession

__all__ = [
    "HOSTS",
    "PETNAME_LIMIT",
    "SERVER_NAME",
    "TCTI_VARIABLE",
    "ConfigError",
    "Domain",
    "DomainSettings",
    "Home",
    "HomeError",
    "Phase",
    "Succession",
    "check_petname",
    "find_passphrase",
    "make_private_directory",
    "open_credential_store",
    "read_passphrase_file",
    "tcti_of",
]
