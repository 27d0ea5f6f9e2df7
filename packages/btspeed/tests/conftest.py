"""These tests need the compiled modules; where they were not built, there is nothing to test."""

from __future__ import annotations

from pathlib import Path

import pytest

try:
    import btspeed
except ImportError:
    collect_ignore_glob = ["test_*.py"]
else:
    assert btspeed.__all__

    from .stored_file import StoredFile

    @pytest.fixture(scope="session")
    def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredFile:
        path: Path = tmp_path_factory.mktemp("stored") / "segment"
        return StoredFile(path)
