"""Groups: what members may do through them, what who was removed may not, and what forgers and old stores achieve."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from btfproto.domain import (
    Content,
    DomainReader,
    Draft,
    GroupKeeper,
    GroupsOf,
    Place,
    explain_access,
    explain_granted,
    find_groups,
    grant_access,
    group_block,
    groups_of_block,
    hand_over,
    open_volume,
    pass_on,
    prepare,
    read_group,
    read_held,
    revoke_access,
)
from btfproto.errors import FsError
from btfproto.store import MemoryStore, Store
from btfproto.store.check import CommitChecker
from btfproto.testing.domains import DAY, NOW, World, opaque_attributes, person
from btlib import Chain, Identity, KeyPair, Kind, Label, PublicKeys, ReadKey, Rights, Suite, verify_chain
from btlib.errors import BlocktreeError
from btlib.groups import GroupMember, ManagedGroup, Membership, create_membership, open_as_manager
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

NOTHING = Rights(0)
ALICE, BOB, CAROL = person(60), person(61), person(62)


class Friends:
    """A domain with `/photos`, a group of the machine's, and a clock."""

    def __init__(self, store: Store | None = None) -> None:
        self.world = World.make(store)
        self.now = NOW
        self.photos = ReadKey(
            block=self.world.random(16), key_epoch=0, key=self.world.random(32), path=self.world.path("photos")
        )
        draft = Draft(self.world.root.signer, Chain(), now=NOW)
        attributes = opaque_attributes(self.photos.block, self.photos.key, NOW)
        content: Any = {"block": self.photos.block, "scope": self.world.created.scope, "attributes": attributes}
        draft.put(content=Content(), **content)
        self.world.store.commit(draft.commit(self.world.random(16)))
        self.first = self.keeper().create("friends", Suite.ED25519_X25519)

    def keeper(self, identity: Identity | None = None) -> GroupKeeper:
        return GroupKeeper(
            store=self.world.store,
            identity=identity or self.world.machine,
            root=self.world.root.principal,
            now=self.now,
            random=self.world.random,
        )

    def reader(self, store: Store | None = None) -> DomainReader:
        return DomainReader(store or self.world.store, self.world.root.principal)

    @property
    def group(self) -> ManagedGroup:
        (group,) = self.keeper().managed()
        return group

    def add(self, *who: Identity, until: int | None = None) -> int:
        self.now += 2
        return self.keeper().add(self.group, [one.public for one in who], until or NOW + 10 * DAY).issued

    def remove(self, *who: Identity) -> None:
        self.now += 2
        self.keeper().remove(self.group, {one.principal for one in who})
        self.now += 2

    def give(self, rights: Rights = NOTHING, *, read: bool = True, to: PublicKeys | None = None) -> None:
        """To the group, as an owner does."""
        grant_access(
            self.world.store,
            self.world.machine,
            self.photos,
            to or self.group.membership.terms.keys,
            read=read,
            rights=rights,
            now=self.now,
            not_after=NOW + 20 * DAY,
            may_delegate=bool(rights),
            random=self.world.random,
        )
        self.keeper().issue(self.group)

    def may_read(self, who: Identity, store: Store | None = None) -> bool:
        try:
            volume = open_volume(store or self.world.store, who, self.photos.path, self.now)
        except FsError:
            return False
        return volume.key == self.photos.key

    def may_write(self, who: Identity) -> bool:
        held = read_held(self.reader(), who).identity
        return any(self.allows(chain, who) for chain in held.chains)

    def allows(self, chain: Chain, who: Identity) -> bool:
        return verify_chain(
            chain,
            root=self.world.root.principal,
            subject=who.principal,
            right=Rights.WRITE,
            now=self.now,
            path=self.photos.path,
            revocations=self.reader().revocations,
        ).allowed

    def explained(self, who: Identity) -> Any:
        reader = self.reader()
        scope = reader.verify(reader.head(self.photos.block)).scope  # type: ignore[arg-type]
        place = Place(path=self.photos.path, block=self.photos.block, key_epoch=0, scope=scope)
        return explain_granted(reader, [place], self.photos.path, who.principal, self.now)


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


class Interrupted(MemoryStore):
    """A store whose client dies after some commits."""

    left: int | None = None

    def commit(self, commit: Any) -> Any:
        if self.left is not None:
            if not self.left:
                raise InterruptedError
            self.left -= 1
        return super().commit(commit)


PEOPLE = (ALICE, BOB, CAROL)


class Changes(RuleBasedStateMachine):
    """Any sequence of changes, against what a set of names and dates says."""

    def __init__(self) -> None:
        super().__init__()
        self.friends = Friends()
        self.until: dict[Identity, int] = {}
        self.reading = self.writing = False

    @rule(who=st.sampled_from(PEOPLE), days=st.integers(1, 5))
    def add(self, who: Identity, days: int) -> None:
        until = self.friends.now + 2 + days * DAY
        if until >= self.until.get(who, 0):
            self.friends.add(who, until=until)
            self.until[who] = until

    @precondition(lambda self: self.until)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.until, key=lambda one: str(one.principal))))
        self.friends.remove(who)
        del self.until[who]

    @rule()
    def new_keys(self) -> None:
        self.friends.remove()

    @precondition(lambda self: not self.writing)
    @rule(read=st.booleans(), write=st.booleans())
    def grant(self, read: bool, write: bool) -> None:
        if read or write:
            self.friends.give(Rights.WRITE if write else NOTHING, read=read)
            self.reading, self.writing = self.reading or read, self.writing or write

    @rule()
    def wait(self) -> None:
        self.friends.now += DAY

    @invariant()
    def exactly_the_members_may(self) -> None:
        now = self.friends.now
        for who in PEOPLE:
            member = now <= self.until.get(who, -1)
            assert self.friends.may_read(who) == (member and self.reading)
            lasts = now <= NOW + 20 * DAY
            assert self.friends.may_write(who) == (member and self.writing and lasts)


TestAnySequenceOfChanges = Changes.TestCase
TestAnySequenceOfChanges.settings = settings(max_examples=15, stateful_step_count=10, deadline=None)
