"""`LocalFs` does what every provider must."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from btfproto.domain import open_volume
from btfproto.localfs import FsOptions, LocalFs
from btfproto.store import EmbeddedStore
from btfproto.testing.domains import NOW
from btfproto.testing.provider import FS_CHECKS, FsCheck

from .conftest import QUIET, OpenFs, make_world


@pytest.mark.parametrize("check", FS_CHECKS)
def test_a_local_file_system(check: FsCheck, open_fs: OpenFs) -> None:
    check(open_fs())


@pytest.mark.parametrize("check", FS_CHECKS)
def test_one_that_commits_all_the_time_and_caches_nothing(check: FsCheck, open_fs: OpenFs) -> None:
    check(open_fs(options=FsOptions(commit_interval=0.001, dirty_limit=30_000, cache_bytes=0, cached_entries=0)))


@pytest.mark.parametrize("check", FS_CHECKS)
def test_one_on_disk(check: FsCheck, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store")
    try:
        world = make_world(store)
        volume = open_volume(store, world.machine, world.path(), NOW)
        with LocalFs(store, world.machine, volume, options=QUIET, clock=later(NOW)) as fs:
            check(fs)
    finally:
        store.close()


def later(begin: int) -> Callable[[], int]:
    ticks = itertools.count(begin * 10**9, 1000)
    return lambda: next(ticks)
