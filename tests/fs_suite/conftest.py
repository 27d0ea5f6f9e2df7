"""One mount of each mode for all tests of a module, and a directory of its own for each test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs_suite.mounts import MODES, mounted


@pytest.fixture(scope="module", params=MODES)
def shared_mount(request: pytest.FixtureRequest) -> Iterator[Path]:
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse here")
    if os.geteuid() != 0:
        pytest.skip("only root can mount for other users")
    with mounted(request.param) as place:
        yield place


@pytest.fixture
def mount(shared_mount: Path, request: pytest.FixtureRequest) -> Path:
    directory = shared_mount / hashlib.sha256(request.node.name.encode()).hexdigest()
    directory.mkdir()
    directory.chmod(0o777)
    return directory
