"""Groups: what members may do through them, and what who was removed may not."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from btfproto.domain import (
    explain_access,
    find_groups,
    hand_over,
    open_volume,
    pass_on,
    prepare,
    read_held,
    revoke_access,
)
from btfproto.errors import FsError
from btfproto.store import MemoryStore
from btfproto.testing.domains import DAY, NOW
from btfproto.testing.groups import ALICE, BOB, CAROL, Friends
from btlib import Kind, Rights, Suite
from btlib.groups import open_as_manager


@pytest.fixture
def friends() -> Friends:
    return Friends()


class TestReading:
    def test_a_member_reads_what_the_group_was_granted_before_and_after(self, friends: Friends) -> None:
        friends.add(ALICE)
        assert not friends.may_read(ALICE)
        friends.give()
        assert friends.may_read(ALICE)
        assert not friends.may_read(BOB)
        friends.add(BOB)
        assert friends.may_read(BOB)

    def test_who_was_removed_reads_nothing_and_who_stays_does(self, friends: Friends) -> None:
        friends.give()
        friends.add(ALICE, BOB)
        friends.remove(BOB)
        assert (friends.may_read(ALICE), friends.may_read(BOB)) == (True, False)
        assert friends.group.membership.terms.former[0].principal == BOB.principal
        friends.add(BOB)
        assert friends.may_read(BOB)

    def test_an_expired_membership_opens_no_volume(self, friends: Friends) -> None:
        friends.give()
        friends.add(ALICE, until=NOW + DAY)
        friends.now = NOW + DAY
        assert friends.may_read(ALICE)
        friends.now += 1
        assert not friends.may_read(ALICE)
        with pytest.raises(FsError, match=f"{ALICE.principal} was in the group"):
            open_volume(friends.world.store, ALICE, friends.photos.path, friends.now)
        why_not = friends.explained(ALICE).read
        assert why_not.failed == "membership"
        assert f"{ALICE.principal} was in the group" in why_not.reason

    def test_explanations_name_the_group(self, friends: Friends) -> None:
        friends.give(Rights.WRITE)
        friends.add(ALICE)
        group = friends.group.membership.principal
        own = explain_access(friends.world.store, ALICE, friends.photos.path, friends.now)
        assert own.read.allowed
        assert own.read.via == group
        assert "through the group friends" in own.read.steps[0]
        public = friends.explained(ALICE)
        assert (public.read.allowed, public.read.via, public.read.until) == (True, group, NOW + 10 * DAY)
        assert public.write.allowed
        assert public.write.chain is not None
        assert [cap.issuer.principal for cap in public.write.chain.caps][-1] == group
        friends.remove(ALICE)
        gone = friends.explained(ALICE)
        assert (gone.read.allowed, gone.write.failed) == (False, "revocation")


class TestWriting:
    def test_a_member_writes_by_a_chain_through_the_group_that_ends_with_its_membership(self, friends: Friends) -> None:
        friends.add(ALICE)
        friends.give(Rights.WRITE)
        held = read_held(friends.reader(), ALICE).identity
        (chain,) = held.chains
        assert chain.caps[-1].issuer == friends.group.membership.terms.keys
        assert chain.caps[-1].not_after == NOW + 10 * DAY
        assert not chain.caps[-1].may_delegate
        assert friends.may_write(ALICE)
        volume = open_volume(friends.world.store, ALICE, friends.photos.path, friends.now)
        assert volume.chain == chain

    def test_a_longer_membership_replaces_the_chain_and_a_shorter_one_is_refused(self, friends: Friends) -> None:
        friends.give(Rights.WRITE)
        friends.add(ALICE, until=NOW + DAY)
        assert friends.add(ALICE, until=NOW + 2 * DAY) == 1
        (chain,) = read_held(friends.reader(), ALICE).identity.chains
        assert chain.caps[-1].not_after == NOW + 2 * DAY
        with pytest.raises(FsError, match="remove it, and add it again"):
            friends.add(ALICE, until=NOW + DAY)

    def test_nothing_is_issued_twice(self, friends: Friends) -> None:
        friends.give(Rights.WRITE)
        assert friends.add(ALICE) == 1
        assert friends.keeper().issue(friends.group) == 0

    def test_who_was_removed_keeps_a_chain_that_counts_for_nothing(self, friends: Friends) -> None:
        friends.give(Rights.WRITE | Rights.EXECUTE)
        friends.add(ALICE, BOB)
        (kept,) = read_held(friends.reader(), BOB).identity.chains
        friends.remove(BOB)
        assert not friends.allows(kept, BOB)
        assert friends.may_write(ALICE)


class TestChangingKeys:
    @pytest.mark.parametrize("commits", range(8))
    def test_an_interrupted_removal_costs_nobody_anything_and_is_completed(self, commits: int) -> None:
        store = Interrupted()
        friends = Friends(store)
        friends.give(Rights.WRITE)
        friends.add(ALICE, BOB)
        store.left = commits
        friends.now += 2
        with contextlib.suppress(InterruptedError):
            friends.keeper().remove(friends.group, {BOB.principal})
        store.left = None
        friends.now += 2
        assert friends.may_read(ALICE)
        assert friends.may_write(ALICE)
        if friends.group.membership.member(BOB.principal):
            friends.remove(BOB)
        else:
            friends.keeper().complete(friends.group)
            friends.now += 2
        assert (friends.may_read(ALICE), friends.may_write(ALICE)) == (True, True)
        assert (friends.may_read(BOB), friends.may_write(BOB)) == (False, False)

    @pytest.mark.parametrize("commits", range(8))
    def test_an_interrupted_rotation_costs_nobody_anything_and_the_same_again_completes_it(self, commits: int) -> None:
        store = Interrupted()
        friends = Friends(store)
        friends.give(Rights.WRITE)
        friends.add(ALICE, BOB)
        before = friends.group.membership.principal
        store.left = commits
        friends.now += 2
        with contextlib.suppress(InterruptedError):
            friends.keeper().remove(friends.group, set())
        store.left = None
        friends.now += 2
        for who in (ALICE, BOB):  # from whatever it left
            assert (friends.may_read(who), friends.may_write(who)) == (True, True)
        if friends.keeper().complete(friends.group).revoked is None and friends.group.membership.principal == before:
            friends.keeper().remove(friends.group, set())
        friends.now += 2
        assert friends.group.membership.principal != before
        assert friends.reader().revocations.revoked(before, friends.now) is not None
        for who in (ALICE, BOB):
            assert (friends.may_read(who), friends.may_write(who)) == (True, True)

    def test_the_root_manages_every_group_and_another_manager_may(self, friends: Friends) -> None:
        friends.give(Rights.WRITE)
        assert [group.name for group in friends.keeper(friends.world.root).managed()] == ["friends"]
        changed = friends.keeper().add_managers(friends.group, [CAROL.public])
        assert open_as_manager(CAROL.opener, changed.group.membership).name == "friends"
        with pytest.raises(FsError) as refused:  # a manager that is no owner cannot commit
            friends.keeper(CAROL).add(open_as_manager(CAROL.opener, changed.group.membership), [BOB.public], NOW + DAY)
        assert refused.value.kind is Kind.FORBIDDEN

    def test_a_manager_that_was_put_out_has_no_seed_any_more(self, friends: Friends) -> None:
        friends.keeper().add_managers(friends.group, [CAROL.public])
        friends.remove(CAROL)
        assert friends.group.membership.manager(CAROL.principal) is None
        assert find_groups(friends.reader(), CAROL.principal).groups == []

    def test_two_who_change_it_at_once_are_told(self, friends: Friends) -> None:
        stale = friends.group
        friends.add(ALICE)
        with pytest.raises(FsError) as refused:
            friends.keeper().add(stale, [BOB.public], NOW + DAY)
        assert refused.value.kind is Kind.CONFLICT


class TestHandingOver:
    """Keys of machines change too; nobody gets out of a group's hands by that."""

    def test_new_keys_of_a_member_get_nothing_that_came_through_the_group(self, friends: Friends) -> None:
        friends.give(Rights.WRITE)
        friends.add(ALICE)
        world, root = friends.world, friends.world.root.principal
        brought = prepare(friends.reader(), ALICE, CAROL.public)
        done = hand_over(world.store, world.machine, brought, root, now=friends.now, random=world.random)
        assert "it comes through a group" in done.refused[0]
        assert (friends.may_read(CAROL), friends.may_write(CAROL)) == (False, False)
        friends.add(CAROL)
        assert (friends.may_read(CAROL), friends.may_write(CAROL)) == (True, True)

    def test_new_keys_of_the_granter_pass_nothing_to_members_around_the_group(self, friends: Friends) -> None:
        friends.give(Rights.WRITE)
        friends.add(ALICE)
        world, root = friends.world, friends.world.root.principal
        done = pass_on(world.store, world.root, world.machine.principal, root, now=friends.now, random=world.random)
        assert any("it comes through a group" in reason for reason in done.refused)
        (chain,) = read_held(friends.reader(), ALICE).identity.chains
        assert chain.caps[-1].issuer == friends.group.membership.terms.keys
        revoked = {world.machine.principal: friends.now + 1}
        friends.now += 2
        keeper = friends.keeper(world.root)
        revoke_access(
            world.store, world.root, root, principals=revoked, serials={}, now=friends.now, random=world.random
        )
        friends.now += 2
        assert not friends.may_write(ALICE)
        (group,) = keeper.managed()
        friends.keeper(world.root).issue(group)
        assert friends.may_write(ALICE)


class TestRefused:
    def test_a_group_in_a_group(self, friends: Friends) -> None:
        other = friends.keeper().create("others", Suite.ED25519_X25519)
        (friends_group,) = [one for one in friends.keeper().managed() if one.name == "friends"]
        for keys in (other.membership.terms.keys, friends_group.membership.terms.keys):
            with pytest.raises(FsError, match="a group cannot be in a group") as refused:
                friends.keeper().add(friends_group, [keys], NOW + DAY)
            assert refused.value.kind is Kind.NOT_SUPPORTED

    def test_a_second_group_of_a_name(self, friends: Friends) -> None:
        with pytest.raises(FsError, match="there is a group called friends already"):
            friends.keeper().create("friends", Suite.ED25519_X25519)

    def test_who_was_revoked_and_a_manager_that_puts_itself_out(self, friends: Friends) -> None:
        world = friends.world
        revoke_access(
            world.store,
            world.machine,
            world.root.principal,
            principals={BOB.principal: NOW},
            serials={},
            now=NOW,
            random=world.random,
        )
        with pytest.raises(FsError, match="was revoked"):
            friends.add(BOB)
        with pytest.raises(FsError, match="cannot put itself out"):
            friends.remove(world.machine)


class Interrupted(MemoryStore):
    """A store whose client dies after some commits."""

    left: int | None = None

    def commit(self, commit: Any) -> Any:
        if self.left is not None:
            if not self.left:
                raise InterruptedError
            self.left -= 1
        return super().commit(commit)
