"""Groups: what forgers and old stores achieve, which is nothing.

Whoever commits here has a right to write in the root scope, as owners do; the store itself is not trusted.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from btfproto.domain import (
    Draft,
    GroupsOf,
    group_block,
    groups_of_block,
    open_volume,
    read_group,
    read_held,
)
from btfproto.errors import FsError
from btfproto.store import MemoryStore
from btfproto.store.check import CommitChecker
from btfproto.testing.domains import DAY, NOW
from btlib import Chain, KeyPair, Label, Rights, Suite
from btlib.errors import BlocktreeError
from btlib.groups import GroupMember, Membership, create_membership

from .friends import ALICE, BOB, CAROL, Friends


@pytest.fixture
def friends() -> Friends:
    return Friends()


class TestAttacks:
    """Whoever commits here has a right to write in the root scope, as owners do; the store itself is not trusted."""

    def forged(self, friends: Friends, membership: Membership, previous: Any = None) -> Draft:
        draft = Draft(friends.world.root.signer, Chain(), now=friends.now)
        block = group_block(membership.terms.group)
        draft.put_public(block, friends.world.created.scope, membership, previous=previous)
        return draft

    def server(self, friends: Friends) -> CommitChecker:
        reader = friends.reader()
        return CommitChecker(
            friends.world.store, reader, reader.root, lambda: friends.now, lambda: friends.reader().revocations
        )

    def test_a_membership_that_the_groups_keys_did_not_sign_counts_for_nothing(self, friends: Friends) -> None:
        friends.give()
        friends.add(ALICE)
        found = read_group(friends.reader(), friends.group.membership.terms.group)
        assert found is not None
        terms = found.membership.terms
        mallory = GroupMember(keys=BOB.public, since=NOW, until=NOW + DAY, by=BOB.principal, sealed=b"x" * 99)
        wider = msgspec.structs.replace(terms, version=terms.version + 1, members=(*terms.members, mallory))
        forged = msgspec.structs.replace(found.membership, terms=wider)
        draft = self.forged(friends, forged, found.header)
        pointer = GroupsOf(principal=BOB.principal, groups=(terms.group,))
        draft.put_public(groups_of_block(BOB.principal), friends.world.created.scope, pointer)
        commit = draft.commit(friends.world.random(16))
        with pytest.raises(BlocktreeError, match="the membership signature is not by"):
            self.server(friends)(commit)
        friends.world.store.commit(commit)
        with pytest.raises(FsError, match="the membership signature is not by"):
            open_volume(friends.world.store, BOB, friends.photos.path, friends.now)
        assert not friends.explained(BOB).read.allowed

    def test_an_older_membership_names_revoked_keys_and_a_server_refuses_it(self) -> None:
        """The store shows everything as it was before the removal, but for the revocation list: that is remembered."""
        store = Recorded()
        friends = Friends(store)
        friends.give(Rights.WRITE)
        friends.add(ALICE, BOB)
        before = store.copy()
        old = friends.group.membership
        friends.remove(BOB)
        reader = friends.reader(before)
        reader.follow(Known(friends.reader().revocations))
        held = read_held(reader, BOB)
        assert held.keys == ()
        assert any("the keys of the group" in reason for reason in held.refused)
        now_there = read_group(friends.reader(), old.terms.group)
        assert now_there is not None
        replayed = msgspec.structs.replace(
            old, terms=msgspec.structs.replace(old.terms, version=now_there.membership.terms.version + 1)
        )
        for membership, text in ((replayed, "signature"), (old, "wrong place or version")):
            commit = self.forged(friends, membership, now_there.header).commit(friends.world.random(16))
            with pytest.raises(BlocktreeError, match=text):
                self.server(friends)(commit)

    def test_an_owner_that_manages_nothing_cannot_put_other_keys_in_a_groups_place(self, friends: Friends) -> None:
        group = friends.group.membership.terms.group
        found = read_group(friends.reader(), group)
        assert found is not None
        seed = bytes(32)
        keys = KeyPair.from_seed(Suite.ED25519_X25519, seed)
        taken = create_membership(keys, seed, "friends", group, [BOB.public])
        terms = msgspec.structs.replace(taken.terms, version=found.membership.terms.version + 1)
        signed = msgspec.structs.replace(taken, terms=terms, signature=keys.sign(Label.MEMBERSHIP, terms.encoded))
        commit = self.forged(friends, signed, found.header).commit(friends.world.random(16))
        with pytest.raises(BlocktreeError, match="its keys do not follow from those before"):
            self.server(friends)(commit)

    def test_a_pointer_alone_makes_nobody_a_member(self, friends: Friends) -> None:
        friends.give()
        draft = Draft(friends.world.root.signer, Chain(), now=friends.now)
        pointer = GroupsOf(principal=BOB.principal, groups=(friends.group.membership.terms.group,))
        draft.put_public(groups_of_block(BOB.principal), friends.world.created.scope, pointer)
        friends.world.store.commit(draft.commit(friends.world.random(16)))
        with pytest.raises(FsError, match="is not in the group"):
            open_volume(friends.world.store, BOB, friends.photos.path, friends.now)

    def test_a_record_of_a_group_in_another_scope_is_refused(self, friends: Friends) -> None:
        friends.give(Rights.WRITE)
        scope = friends.reader().verify(friends.reader().head(friends.photos.block)).scope  # type: ignore[arg-type]
        draft = Draft(friends.world.root.signer, Chain(), now=friends.now)
        draft.put_public(groups_of_block(CAROL.principal), scope, GroupsOf(principal=CAROL.principal, groups=()))
        with pytest.raises(BlocktreeError, match="does not stand in the root scope"):
            self.server(friends)(draft.commit(friends.world.random(16)))

    def test_honest_changes_pass_the_keyless_server(self) -> None:
        store = Checked()
        friends = Friends(store)
        reader = friends.reader()
        store.check = CommitChecker(
            store, reader, reader.root, lambda: friends.now, lambda: friends.reader().revocations
        )
        friends.give(Rights.WRITE)
        friends.add(ALICE, BOB)
        friends.remove(BOB)
        friends.add(BOB)
        assert store.checked > 8
        assert friends.may_read(BOB)


class Known:
    """Revocations that somebody remembers, whatever a store shows."""

    def __init__(self, revocations: Any) -> None:
        self.current = revocations


class Recorded(MemoryStore):
    """A store of which there can be a copy from before."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Any] = []

    def commit(self, commit: Any) -> Any:
        self.commits.append(commit)
        return super().commit(commit)

    def copy(self) -> MemoryStore:
        before = MemoryStore()
        for commit in self.commits:
            before.commit(commit)
        return before


class Checked(MemoryStore):
    """A store behind the keyless server's check."""

    check: CommitChecker | None = None
    checked = 0

    def commit(self, commit: Any) -> Any:
        if self.check is not None:
            self.check(commit)
            self.checked += 1
        return super().commit(commit)
