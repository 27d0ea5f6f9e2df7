"""File systems on a small domain in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from btfproto.domain import open_volume
from btfproto.localfs import FsOptions, Keeper, LocalFs, MemoryPins, Pins, empty_directory_attributes
from btfproto.store import Store
from btfproto.testing.domains import NOW, World

QUIET = FsOptions(commit_interval=None)  # commits only when told to: tests are deterministic

OpenFs = Callable[..., LocalFs]


def make_world(store: Store | None = None) -> World:
    return World.make(store, directory_attributes=empty_directory_attributes)


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def open_fs(world: World) -> Iterator[OpenFs]:
    """Opens file systems on the domain; what a test leaves open is dropped without a commit, as in a crash."""
    ticks = itertools.count(NOW * 10**9, 1000)

    def make(
        *names: str,
        options: FsOptions = QUIET,
        pins: Pins | None = None,
        store: Store | None = None,
        keeper: Keeper | None = None,
    ) -> LocalFs:
        fs = LocalFs(
            store or world.store,
            world.machine,
            open_volume(world.store, world.machine, world.path(*names), NOW),
            options=options,
            pins=pins or MemoryPins(),
            clock=lambda: next(ticks),
            keeper=keeper,
        )
        opened.append(fs)
        return fs

    opened: list[LocalFs] = []
    yield make
    for fs in opened:
        fs.abandon()
