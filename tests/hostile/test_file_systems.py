"""The attacks of `btfproto.testing.attacks` on this package's file system and on its server without keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from btfproto.localfs._entropy import Entropy
from btfproto.store import Commit, Store
from btfproto.testing import attacks
from btfproto.testing.attacks import ATTACKS, BTFPROTO
from btfproto.testing.domains import World
from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.revocations import Revocations


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_a_file_system_fails(name: str) -> None:
    ATTACKS[name].run(BTFPROTO)


def test_a_writer_that_repeats_its_nonces_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Entropy.take
    # Nonces are taken in twelves; what else is taken (ids, keys) is left as it is.
    monkeypatch.setattr(Entropy, "take", lambda self, size: honest(self, size) if size % 16 == 0 else bytes(size))
    with pytest.raises(AssertionError, match="one nonce stands before two texts"):
        ATTACKS["nonce-reuse"].run(BTFPROTO)


class Gullible(attacks.Btfproto):
    """A server that applies every commit."""

    def judge(
        self, world: World, now: Callable[[], int], revocations: Callable[[], Revocations]
    ) -> Callable[[Commit], None]:
        return lambda commit: None

    def key(self, store: Store, who: Identity, path: BlockPath, now: int, seen: Revocations) -> bytes:
        try:
            return super().key(store, who, path, now, seen)
        except BlocktreeError:
            return b"any key"

    def forks(self, world: World, store: Store, view: bytes) -> bool:
        return False


class Fearful(attacks.Btfproto):
    """A server that applies none, and a client that opens nothing and suspects everybody."""

    def judge(
        self, world: World, now: Callable[[], int], revocations: Callable[[], Revocations]
    ) -> Callable[[Commit], None]:
        def refuse(commit: Commit) -> None:
            raise BlocktreeError("no")

        return refuse

    def key(self, store: Store, who: Identity, path: BlockPath, now: int, seen: Revocations) -> bytes:
        raise BlocktreeError("no")

    def forks(self, world: World, store: Store, view: bytes) -> bool:
        return True


JUDGED = ("_attacks_commits", "_attacks_forks", "_attacks_groups")
DECISIONS = [name for name, attack in ATTACKS.items() if attack.run.__module__.endswith(JUDGED)]


@pytest.mark.parametrize("name", DECISIONS)
def test_an_attack_on_who_decides_would_be_noticed(name: str) -> None:
    with pytest.raises(AssertionError):
        ATTACKS[name].run(Gullible())
    with pytest.raises((AssertionError, BlocktreeError)):
        ATTACKS[name].run(Fearful())
