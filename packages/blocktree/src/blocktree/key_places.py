"""Where new keys go: into their file, encrypted, or into a TPM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from btlib.credentials import CredentialStore
from btlib.home import Home, open_credential_store
from btlib.public_keys import Suite


@dataclass(frozen=True, kw_only=True)
class KeyPlace:
    """What the user chose. Asking for a store raises TpmMissingError where a chip cannot be talked to from here."""

    in_tpm: bool
    tcti: str | None
    pcrs: tuple[int, ...]

    @classmethod
    def chosen(cls, home: Home, *, tpm: bool, tcti: str | None, pcrs: list[int] | None) -> KeyPlace:
        """From the options of a command. Naming a chip, or registers of one, is choosing it."""
        return cls(in_tpm=tpm or tcti is not None or bool(pcrs), tcti=tcti or home.tcti, pcrs=tuple(pcrs or ()))

    def suite(self, name: str | None) -> Suite:
        """The suite of new keys: the one named, else the best that this place can keep."""
        if name is not None:
            return Suite.parse(name)
        return Suite.P256 if self.in_tpm else Suite.ED25519_X25519

    def machine(self, file: Path) -> CredentialStore:
        """A store for a machine's keys: in a chip, those can never leave it."""
        if not self.in_tpm:
            return open_credential_store(file)
        from btlib.tpm import TpmCredentialStore

        return TpmCredentialStore(file, tcti=self.tcti, pcrs=self.pcrs)

    def root(self, file: Path, suite: Suite) -> CredentialStore:
        """A store for a root's keys: under their passphrase they can always be written down as words again.

        Not bound to registers: the root has to outlive every update of the machine that holds it. A root of a suite
        that no chip can keep stays in its file.
        """
        if not self.in_tpm or suite is not Suite.P256:
            return open_credential_store(file)
        from btlib.tpm import TpmCredentialStore

        return TpmCredentialStore(file, tcti=self.tcti, exportable=True)


def place_text(file: Path, tcti: str | None) -> str:
    """Where keys are, for people."""
    return f"encrypted in {file}" if tcti is None else f"in the TPM at {tcti}, opened by {file}"
