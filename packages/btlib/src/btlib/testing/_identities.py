"""Identities for tests, made from names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ..identity import Identity
from ..key_pairs import KeyPair
from ..paths import BlockPath
from ..principals import Principal
from ..public_keys import Suite
from ..writecaps import Chain, Rights, issue_writecap

ROOT_SCOPE = b"the root's scope"  #: scope of the chains made here, 16 bytes
ALWAYS = (0, 2**40)  #: not before and not after of the chains made here: no test clock is outside


def make_keys(name: str, suite: Suite = Suite.ED25519_X25519) -> KeyPair:
    """The keys of a name, always the same. Worthless as a secret."""
    return KeyPair.from_seed(suite, hashlib.sha256(f"test keys of {name}".encode()).digest())


def make_identity(name: str = "alice", *chains: Chain, suite: Suite = Suite.ED25519_X25519) -> Identity:
    """An identity with the keys of a name, holding these chains."""
    keys = make_keys(name, suite)
    return Identity(signer=keys, opener=keys, chains=chains)


def serial_of(text: str) -> bytes:
    """A serial, always the same for a text."""
    return hashlib.sha256(f"test serial of {text}".encode()).digest()[:16]


@dataclass(frozen=True, kw_only=True)
class DomainIdentities:
    """A root, and members to whom it issued chains."""

    root: Identity
    members: dict[str, Identity]
    scope: bytes

    @property
    def path(self) -> BlockPath:
        """The path of the domain's root."""
        return BlockPath(self.root.principal)

    @property
    def principal(self) -> Principal:
        """The domain's root principal."""
        return self.root.principal

    def __getitem__(self, name: str) -> Identity:
        return self.members[name]

    def issue(
        self,
        name: str,
        names: Iterable[str] = (),
        *,
        rights: Rights = Rights.WRITE | Rights.EXECUTE,
        scope: bytes | None = None,
        time: tuple[int, int] = ALWAYS,
        may_delegate: bool = True,
        suite: Suite = Suite.ED25519_X25519,
    ) -> Identity:
        """The identity of `name`, with a chain from the root for the path of `names` below it."""
        path = BlockPath(self.principal, tuple(names))
        chain = issue_writecap(
            self.root.signer,
            Chain(),
            subject=make_keys(name, suite).public.principal,
            path=path,
            scope=self.scope if scope is None else scope,
            rights=rights,
            not_before=time[0],
            not_after=time[1],
            may_delegate=may_delegate,
            serial=serial_of(f"{name} at {path}"),
        )
        return make_identity(name, chain, suite=suite)


def make_domain_identities(
    *names: str, root: str = "root", scope: bytes = ROOT_SCOPE, suite: Suite = Suite.ED25519_X25519
) -> DomainIdentities:
    """A domain whose members `names` may write and execute everywhere in it, may delegate, and never expire."""
    domain = DomainIdentities(root=make_identity(root, suite=suite), members={}, scope=scope)
    for name in names:
        domain.members[name] = domain.issue(name, suite=suite)
    return domain
