"""A file system behind a link does what every provider must."""

from __future__ import annotations

import pytest
from btfproto.testing.provider import FS_CHECKS, FsCheck

from .conftest import Net


@pytest.mark.parametrize("check", FS_CHECKS)
def test_a_file_system_over_a_link(check: FsCheck, net: Net) -> None:
    check(net.client())
