"""The secret of one principal, and the interface of whatever keeps it."""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
from btserde import Fixed

from ..errors import CredentialError
from ..identity import Identity
from ..key_pairs import SEED_SIZE, KeyPair, random_seed
from ..public_keys import PublicKeys, Suite
from ..writecaps import Chain

_Seed = Annotated[bytes, Fixed[32]]


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A seed, the suite of the keys made from it, and the chains of writecaps they hold. Prints without the seed."""

    suite: Suite
    seed: _Seed
    chains: tuple[Chain, ...] = ()

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_SIZE:
            raise CredentialError(f"a seed has {SEED_SIZE} bytes, not {len(self.seed)}")

    @classmethod
    def generate(cls, suite: Suite = Suite.ED25519_X25519) -> Credentials:
        """New ones, from the operating system's randomness."""
        return cls(suite=suite, seed=random_seed())

    @property
    def public(self) -> PublicKeys:
        return KeyPair.from_seed(self.suite, self.seed).public

    def identity(self) -> Identity:
        """What a process uses."""
        keys = KeyPair.from_seed(self.suite, self.seed)
        return Identity(signer=keys, opener=keys, chains=self.chains)

    def with_chains(self, *chains: Chain) -> Credentials:
        """The same keys, holding these chains as well."""
        new = tuple(chain for chain in chains if chain not in self.chains)
        return msgspec.structs.replace(self, chains=(*self.chains, *new))

    def __repr__(self) -> str:
        return f"Credentials({self.suite.text}, {self.public.principal}, {len(self.chains)} chains)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        # msgspec's own would show every field.
        return [("suite", self.suite), ("principal", self.public.principal), ("chains", len(self.chains))]


class CredentialStore(Protocol):
    """Keeps the credentials of one principal under a passphrase.

    Every method may be called from any thread. All raise CredentialError: NOT_FOUND where nothing is kept,
    UNAUTHENTICATED for a wrong passphrase, INTEGRITY for damage, IO for a failing device. A change is durable when the
    method returns, and after a crash either the old or the new state is there.
    """

    def exists(self) -> bool:
        """Whether credentials are kept here."""
        ...

    def public(self) -> PublicKeys:
        """Whose they are; needs no passphrase, and is only as trustworthy as the place where they lie."""
        ...

    def save(self, credentials: Credentials, passphrase: str, *, replace: bool = False) -> None:
        """Keep these. Raises CredentialError (EXISTS) where some are kept already, unless told to `replace` them."""
        ...

    def generate(self, suite: Suite, passphrase: str) -> PublicKeys:
        """Make new keys where they will be kept: in a chip they are born there, and never leave it.

        Raises CredentialError: EXISTS where some are kept already, NOT_SUPPORTED for a suite that cannot be kept here.
        """
        ...

    def unlock(self, passphrase: str) -> Identity:
        """Make the keys usable. Takes the time that the passphrase's cost demands."""
        ...

    def add_chains(self, passphrase: str, *chains: Chain) -> Identity:
        """Keep further chains, and answer as `unlock` would."""
        ...

    def change_passphrase(self, old: str, new: str) -> None:
        """Keep the same under another passphrase. Copies made before still open with the old one."""
        ...

    def reveal(self, passphrase: str) -> Credentials:
        """The secret itself, for writing it down as words; whoever uses keys takes `unlock`.

        Raises CredentialError (NOT_SUPPORTED) where the keys cannot leave their place.
        """
        ...
