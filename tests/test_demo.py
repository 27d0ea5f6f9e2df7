"""The demo is a test: every claim it makes is true, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEMO_SECONDS = 600  #: about a minute on a quiet machine; continuous integration is not quiet


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A temporary directory with a short name: the path of a Unix socket has at most 107 bytes, pytest's are longer."""
    with tempfile.TemporaryDirectory(prefix="bt-") as name:
        yield Path(name)


@pytest.mark.mount
@pytest.mark.slow
def test_every_step_of_the_demo_is_true_and_nothing_is_left(short_directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tools/demo.py"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(short_directory)},
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"All true: \d+ files, \d+ bytes, \d+ seconds\. Go on with docs/tour\.md", done.stdout)
    assert list(short_directory.iterdir()) == []
    assert str(short_directory) not in Path("/proc/self/mounts").read_text()
