"""What every `Store` must do: `check_store`, one check a promise of the interface.

    @pytest.mark.parametrize("check", STORE_CHECKS)
    def test_my_store(check: StoreCheck) -> None:
        with open_my_store() as store:
            check(store)

Each check gets an empty store. What only a durable store can do (reopening, crashes) is not here; `StoreMachine`
compares a store with a model, step by step, and reopens it where it can.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ..store import Store
from . import _store_commits, _store_content, _store_sharing, _store_snapshots  # noqa: F401 (they fill STORE_CHECKS)
from ._store_machine import StoreMachine
from ._store_tools import STORE_CHECKS, StoreCheck

__all__ = ["STORE_CHECKS", "StoreCheck", "StoreMachine", "check_store"]


def check_store(make: Callable[[], AbstractContextManager[Store]]) -> None:
    """Run every check, each on a fresh store. Raises AssertionError at the first thing untrue."""
    for check in STORE_CHECKS:
        with make() as store:
            try:
                check(store)
            except AssertionError as error:
                raise AssertionError(f"{check.__name__}: {error}") from error
