"""Groups: honest changes pass the server without keys. What forgers and old stores try: `btfproto.testing.attacks`."""

from __future__ import annotations

from btfproto.store import Commit, CommitAnswer, MemoryStore
from btfproto.store.check import CommitChecker
from btfproto.testing.groups import ALICE, BOB, Friends
from btlib import Rights


def test_honest_changes_pass_the_keyless_server() -> None:
    store = Checked()
    friends = Friends(store)
    reader = friends.reader()
    store.check = CommitChecker(store, reader, reader.root, lambda: friends.now, lambda: friends.reader().revocations)
    friends.give(Rights.WRITE)
    friends.add(ALICE, BOB)
    friends.remove(BOB)
    friends.add(BOB)
    assert store.checked > 8
    assert friends.may_read(BOB)


class Checked(MemoryStore):
    """A store behind the keyless server's check."""

    check: CommitChecker | None = None
    checked = 0

    def commit(self, commit: Commit) -> CommitAnswer:
        if self.check is not None:
            self.check(commit)
            self.checked += 1
        return super().commit(commit)
