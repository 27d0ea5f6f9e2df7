"""The attacks of `btlib.testing.attacks` on btlib; and each of them succeeds against a judge that is too trusting."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from btlib import KeyPair, Label
from btlib.testing.attacks import ATTACKS, BTLIB, Question


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_capabilities_fails(name: str) -> None:
    ATTACKS[name].run(BTLIB)


class Gullible:
    """Believes everything: what an honest judge refuses, it takes all the same."""

    def allows(self, chain: bytes, question: Question) -> bool:
        return True

    def verify(self, public: bytes, label: Label, message: bytes, signature: bytes) -> None:
        return

    def open_readcap(self, keys: KeyPair, readcap: bytes) -> bytes:
        return _or(lambda: BTLIB.open_readcap(keys, readcap), b"any key")

    def path(self, text: str) -> str:
        return text

    def open_sector(self, key: bytes, block: bytes, key_epoch: int, index: int, stored: bytes) -> bytes:
        return _or(lambda: BTLIB.open_sector(key, block, key_epoch, index, stored), b"anything")

    def leaf(self, root: bytes, sector_count: int, index: int, fetch: Callable[[int, int], bytes | None]) -> bytes:
        return _or(lambda: BTLIB.leaf(root, sector_count, index, fetch), b"anything")


def _or(use: Callable[[], bytes], otherwise: bytes) -> bytes:
    try:
        return use()
    except Exception:
        return otherwise


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_capabilities_would_be_noticed(name: str) -> None:
    with pytest.raises(AssertionError):
        ATTACKS[name].run(Gullible())


class Fearful(Gullible):
    """Refuses everything."""

    def allows(self, chain: bytes, question: Question) -> bool:
        return False

    def verify(self, public: bytes, label: Label, message: bytes, signature: bytes) -> None:
        raise ValueError

    def open_readcap(self, keys: KeyPair, readcap: bytes) -> bytes:
        raise ValueError

    def path(self, text: str) -> str:
        raise ValueError

    def open_sector(self, key: bytes, block: bytes, key_epoch: int, index: int, stored: bytes) -> bytes:
        raise ValueError

    def leaf(self, root: bytes, sector_count: int, index: int, fetch: Callable[[int, int], bytes | None]) -> bytes:
        raise ValueError


@pytest.mark.parametrize("name", ATTACKS)
def test_who_refuses_everything_passes_no_attack(name: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        ATTACKS[name].run(Fearful())
