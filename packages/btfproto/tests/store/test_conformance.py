"""The stores of this package keep every promise of the interface."""

from __future__ import annotations

from pathlib import Path

import pytest
from btfproto.store import EmbeddedStore, MemoryStore
from btfproto.testing import STORE_CHECKS, StoreCheck


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_memory_store(check: StoreCheck) -> None:
    check(MemoryStore())


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_embedded_store(check: StoreCheck, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store")
    try:
        check(store)
    finally:
        store.close()


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_embedded_store_that_remembers_nothing_and_always_compacts(check: StoreCheck, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store", cache_bytes=0, segment_size=3_000)
    try:
        check(store)
    finally:
        store.close()
