"""A small domain for tests: a root, a machine, and a store that holds their tree. The same in every run.

world = World.make()
volume = open_volume(world.store, world.machine, world.path(), NOW)
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from btlib.block import NONCE_SIZE, SectorCipher
from btlib.identity import Identity
from btlib.key_pairs import KeyPair
from btlib.paths import BlockPath
from btlib.public_keys import Suite
from btlib.writecaps import Chain, Rights, issue_writecap

from btfproto.domain import CreatedDomain, DirectoryAttributes, create_domain
from btfproto.store import MemoryStore, Store

NOW = 1_800_000_000  #: the moment at which the domain was made
DAY = 86_400


def person(seed: int, suite: Suite = Suite.ED25519_X25519) -> Identity:
    """An identity that is the same in every run."""
    keys = KeyPair.from_seed(suite, bytes([seed]) * 32)
    return Identity(signer=keys, opener=keys)


def opaque_attributes(block: bytes, key: bytes, now: int) -> bytes:
    """Sealed attributes that open, and mean nothing: for tests that walk no directories."""
    return SectorCipher(key, block, 0).seal_attributes(1, b"a directory", bytes(NONCE_SIZE))


@dataclass(frozen=True, kw_only=True)
class World:
    """A domain. `machine` has all rights; its chain is in `created.chain` and in its identity."""

    root: Identity
    machine: Identity
    store: Store
    created: CreatedDomain
    random: Callable[[int], bytes]

    @classmethod
    def make(
        cls,
        store: Store | None = None,
        *,
        seed: int = 1,
        now: int = NOW,
        directory_attributes: DirectoryAttributes = opaque_attributes,
    ) -> World:
        """Make a domain in a store (a new one in memory by default)."""
        store = MemoryStore() if store is None else store
        root, machine, randbytes = person(seed), person(seed + 1), random.Random(seed).randbytes
        created = create_domain(
            store,
            root.signer,
            machine.public,
            now=now,
            random=randbytes,
            directory_attributes=directory_attributes,
        )
        machine = machine.with_chains(created.chain)
        return cls(root=root, machine=machine, store=store, created=created, random=randbytes)

    def path(self, *names: str) -> BlockPath:
        """A path in the domain."""
        return BlockPath(self.root.principal, names)

    def chain(
        self,
        subject: Identity,
        *names: str,
        rights: Rights = Rights.WRITE | Rights.EXECUTE,
        scope: bytes | None = None,
        begin: int = NOW - DAY,
        end: int = NOW + DAY,
        parent: Chain | None = None,
        issuer: Identity | None = None,
    ) -> Chain:
        """A chain for somebody at a path, issued by the root unless said otherwise."""
        return issue_writecap(
            (issuer or self.root).signer,
            parent or Chain(),
            subject=subject.principal,
            path=self.path(*names),
            scope=self.created.scope if scope is None else scope,
            rights=rights,
            not_before=begin,
            not_after=end,
            may_delegate=True,
            serial=self.random(16),
        )
