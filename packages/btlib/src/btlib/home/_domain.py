"""One domain as this machine knows it: its settings, and the files that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..credentials import CredentialStore
from ..paths import BlockPath
from ..principals import Principal
from ._credentials import open_credential_store
from ._settings import DomainSettings, write_settings

HOSTS = "hosts"  #: `/<root>/hosts` is where machines have their names
SERVER_NAME = "btfsd"  #: a machine's file server is `/<root>/hosts/<host>/btfsd`


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain that this machine belongs to, under the petname that its user gave it.

    `directory` holds `domain.toml` and the credentials; `data` what is large or changes often. Both are private.
    `tcti` says how to reach a chip that holds keys, where it is not as their files say.
    """

    petname: str
    settings: DomainSettings
    directory: Path
    data: Path
    tcti: str | None = None

    @property
    def root(self) -> Principal:
        return self.settings.root

    @property
    def host(self) -> str:
        """The name of this machine in the domain."""
        return self.settings.host

    @property
    def root_path(self) -> BlockPath:
        return BlockPath.parse(f"/{self.root}")

    @property
    def hosts_path(self) -> BlockPath:
        return self.root_path.child(HOSTS)

    @property
    def host_path(self) -> BlockPath:
        return self.hosts_path.child(self.host)

    @property
    def server(self) -> str | None:
        """Where the domain's file server listens (`host:port`, `[v6]:port`, `unix:/path`), if it has one."""
        return self.settings.server

    @property
    def server_path(self) -> BlockPath:
        """The path that the server must prove to hold; this machine's own where none is configured."""
        return self.settings.server_path or self.host_path.child(SERVER_NAME)

    @property
    def store(self) -> Path | None:
        """The directory of the embedded store, or None where the bytes lie elsewhere."""
        return None if self.settings.store is None else self.data / self.settings.store

    @property
    def credentials(self) -> CredentialStore:
        """This machine's keys and chains, under the machine's passphrase: in their file, or in a chip."""
        return open_credential_store(self.credentials_file, self.tcti)

    @property
    def credentials_file(self) -> Path:
        return self.directory / "credentials"

    @property
    def root_credentials(self) -> CredentialStore:
        """The root's keys, only on the machine where the domain was made; an own file, so that it can be moved away."""
        return open_credential_store(self.root_credentials_file, self.tcti)

    @property
    def root_credentials_file(self) -> Path:
        return self.directory / "root-credentials"

    @property
    def pins(self) -> Path:
        """The file that remembers the newest versions this machine has seen, so that nobody can roll it back."""
        return self.data / "pins"

    @property
    def settings_file(self) -> Path:
        return self.directory / "domain.toml"

    def save(self) -> None:
        """Write the settings, durably."""
        write_settings(self.settings_file, self.settings)
