"""A domain on a memory store, and file systems opened on it: what the tests of this directory start from."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

from btfproto.domain import Volume, create_domain, open_volume
from btfproto.localfs import FsOptions, LocalFs, MemoryPins, Pins, empty_directory_attributes
from btfproto.provider import OpenFlags, Owner
from btfproto.store import MemoryStore, Store
from btlib.identity import Identity
from btlib.key_pairs import KeyPair
from btlib.paths import BlockPath
from btlib.public_keys import Suite

NOW = 1_700_000_000
ME = Owner(1000, 1000)
QUIET = FsOptions(commit_interval=None)
READ_WRITE = OpenFlags.READ | OpenFlags.WRITE


def ticking() -> Callable[[], int]:
    """A clock in nanoseconds that goes on by a microsecond at each look."""
    count = itertools.count(NOW * 10**9, 1000)
    return lambda: next(count)


class World:
    """A domain in a store."""

    def __init__(self, store: Store | None = None) -> None:
        self.store: Store = store or MemoryStore()
        self.root = KeyPair.generate(Suite.ED25519_X25519)
        self.machine = KeyPair.generate(Suite.ED25519_X25519)
        self.domain = create_domain(
            self.store,
            self.root,
            self.machine.public,
            now=NOW,
            random=os.urandom,
            directory_attributes=empty_directory_attributes,
        )
        self.path = BlockPath(self.root.public.principal)
        self.clock = ticking()

    @property
    def identity(self) -> Identity:
        return Identity(signer=self.machine, opener=self.machine)

    def volume(self, *names: str) -> Volume:
        return open_volume(self.store, self.identity, BlockPath(self.path.root, names), NOW)

    def open(self, *names: str, options: FsOptions = QUIET, pins: Pins | None = None, store: Store | None = None) -> LocalFs:
        return LocalFs(
            store or self.store,
            self.identity,
            self.volume(*names),
            options=options,
            pins=pins or MemoryPins(),
            clock=self.clock,
        )


def put(fs: LocalFs, parent: int, name: str, data: bytes) -> int:
    """Make or replace a file; its inode."""
    shown, handle = fs.create(parent, name, 0o644, ME, READ_WRITE | OpenFlags.TRUNCATE)
    fs.write(handle, 0, data)
    fs.close(handle)
    return shown.inode


def get(fs: LocalFs, inode: int) -> bytes:
    """A file's content."""
    handle = fs.open(inode, OpenFlags.READ)
    try:
        return fs.read(handle, 0, fs.getattr(inode).size)
    finally:
        fs.close(handle)
