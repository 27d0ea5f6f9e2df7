"""What every `FsProvider` must do: `check_fs_provider`, and a model to compare one with, step by step.

    @pytest.mark.parametrize("check", FS_CHECKS)
    def test_my_provider(check: FsCheck) -> None:
        with open_my_provider() as fs:
            check(fs)

Each check gets a provider whose root directory is empty, and leaves whatever it made. `FileSystemMachine` is a
Hypothesis state machine; subclass it and say how to open a provider.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ..provider import FsProvider
from . import _provider_attributes, _provider_content, _provider_names  # noqa: F401 (they fill FS_CHECKS)
from ._provider_machine import FileSystemMachine, Model, ModelNode
from ._provider_tools import FS_CHECKS, FsCheck, list_names, opened, read_file, read_tree, refused, write_file

__all__ = [
    "FS_CHECKS",
    "FileSystemMachine",
    "FsCheck",
    "Model",
    "ModelNode",
    "check_fs_provider",
    "list_names",
    "opened",
    "read_file",
    "read_tree",
    "refused",
    "write_file",
]


def check_fs_provider(make: Callable[[], AbstractContextManager[FsProvider]]) -> None:
    """Run every check, each on a fresh provider. Raises AssertionError at the first thing untrue."""
    for check in FS_CHECKS:
        with make() as fs:
            try:
                check(fs)
            except AssertionError as error:
                raise AssertionError(f"{check.__name__}: {error}") from error
