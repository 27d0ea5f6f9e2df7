"""`LocalFs` does what every provider must."""

from __future__ import annotations

import pytest
from btfproto.localfs import FsOptions
from btfproto.testing.provider import FS_CHECKS, FsCheck

from .conftest import OpenFs


@pytest.mark.parametrize("check", FS_CHECKS)
def test_a_local_file_system(check: FsCheck, open_fs: OpenFs) -> None:
    check(open_fs())


@pytest.mark.parametrize("check", FS_CHECKS)
def test_one_that_commits_all_the_time_and_caches_nothing(check: FsCheck, open_fs: OpenFs) -> None:
    check(open_fs(options=FsOptions(commit_interval=0.001, dirty_limit=30_000, cache_bytes=0, cached_entries=0)))
