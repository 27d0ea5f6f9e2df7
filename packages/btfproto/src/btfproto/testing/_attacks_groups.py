"""Attacks on groups: by who was put out, by an owner that manages nothing, by a store that shows what was before.

Whoever commits here has a right to write in the root scope, as owners do; the store itself is not trusted.
"""

from __future__ import annotations

import msgspec
from btlib.block import Header
from btlib.groups import GroupMember, Membership, create_membership
from btlib.identity import Identity
from btlib.key_pairs import KeyPair
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.public_keys import Suite
from btlib.writecaps import Chain, Rights

from ..domain import Draft, GroupsOf, group_block, groups_of_block, public_content, read_group, read_held
from ..store import Commit, Committed, Store
from ._attack import ForkingStore, Implementation, attack, refuse
from .domains import DAY, NOW
from .groups import ALICE, BOB, CAROL, Friends

BOB_KEYS = KeyPair.from_seed(Suite.ED25519_X25519, bytes([61]) * 32)  #: those of BOB


class _Group:
    """Friends on a store of which there can be a copy from before. Alice is in, and reads and writes `/photos`."""

    def __init__(self, under: Implementation, *members: Identity) -> None:
        self.under = under
        self.store = ForkingStore()
        self.friends = Friends(self.store)
        self.friends.give(Rights.WRITE)
        self.friends.add(ALICE, *members)
        self.judge = under.judge(
            self.friends.world, lambda: self.friends.now, lambda: self.friends.reader().revocations
        )

    @property
    def membership(self) -> Membership:
        return self.friends.group.membership

    @property
    def stored(self) -> Header:
        found = read_group(self.friends.reader(), self.membership.terms.group)
        assert found is not None
        return found.header

    def key(self, who: Identity, store: Store | None = None) -> bytes:
        """As somebody opens the directory who knows the newest revocation list."""
        friends = self.friends
        seen = friends.reader().revocations
        return self.under.key(store or self.store, who, friends.photos.path, friends.now, seen)

    def shuts_out(self, who: Identity, store: Store | None = None) -> None:
        """Alice reads what is there, and `who` does not read what this store shows."""
        assert self.key(ALICE) == self.friends.photos.key
        refuse(lambda: self.key(who, store))

    def draft(self) -> Draft:
        return Draft(self.friends.world.root.signer, Chain(), now=self.friends.now)

    def put(self, membership: Membership) -> Commit:
        """A commit of a membership in the group's place, by an owner."""
        draft = self.draft()
        block = group_block(self.membership.terms.group)
        draft.put_public(block, self.friends.world.created.scope, membership, previous=self.stored)
        return draft.commit(self.friends.world.random(16))

    def point(self, who: Identity, *groups: bytes, scope: bytes | None = None) -> Commit:
        """A commit that says in which groups to look for somebody."""
        draft = self.draft()
        pointer = GroupsOf(principal=who.principal, groups=groups)
        draft.put_public(groups_of_block(who.principal), scope or self.friends.world.created.scope, pointer)
        return draft.commit(self.friends.world.random(16))

    def send(self, commit: Commit) -> None:
        """What the judge has to take."""
        self.judge(commit)
        self.plant(commit)

    def plant(self, commit: Commit) -> None:
        """What a store takes that asks nobody."""
        assert isinstance(self.store.commit(commit), Committed)

    def refuses(self, commit: Commit, *kinds: Kind) -> None:
        refuse(lambda: self.judge(commit), *kinds)


def _next(membership: Membership, **changes: object) -> Membership:
    """With other terms, of the version after, and the signature of before."""
    terms = msgspec.structs.replace(membership.terms, version=membership.terms.version + 1, **changes)
    return msgspec.structs.replace(membership, terms=terms)


def _signed(membership: Membership, keys: KeyPair) -> Membership:
    signature = keys.sign(Label.MEMBERSHIP, membership.terms.encoded)
    return msgspec.structs.replace(membership, signature=signature)


@attack("forged-membership", "an owner that does not manage a group enters somebody, without the group's signature")
def forged_membership(under: Implementation) -> None:
    for signer in (None, BOB_KEYS):
        group = _Group(under)
        terms = group.membership.terms
        sealed = terms.members[0].sealed
        mallory = GroupMember(keys=BOB.public, since=NOW, until=NOW + DAY, by=BOB.principal, sealed=sealed)
        forged = _next(group.membership, members=(*terms.members, mallory))
        commit = group.put(_signed(forged, signer) if signer else forged)
        group.refuses(commit)
        group.send(group.point(BOB, terms.group))
        group.shuts_out(BOB)
        group.plant(commit)
        refuse(lambda: group.key(BOB))  # noqa: B023 (it is called at once)
    honest = _Group(under)
    honest.send(honest.put(_signed(_next(honest.membership), honest.friends.group.keys)))
    assert honest.key(ALICE) == honest.friends.photos.key


@attack("rolled-back-membership", "a store shows a group from before somebody was put out; an owner commits that again")
def rolled_back(under: Implementation) -> None:
    group = _Group(under, BOB)
    before, old = group.store.fork(), group.membership
    assert group.key(BOB) == group.friends.photos.key
    group.friends.remove(BOB)
    group.shuts_out(BOB, before)
    again = msgspec.structs.replace(old.terms, version=group.membership.terms.version + 1)
    widened = _next(group.membership, members=old.terms.members)
    for replayed in (old, msgspec.structs.replace(old, terms=again), widened):
        group.refuses(group.put(replayed))


@attack("removed-members-group-key", "who was put out of a group uses what it kept: the group's key, and its chain")
def removed_member(under: Implementation) -> None:
    group = _Group(under, BOB)
    kept = {who.principal: read_held(group.friends.reader(), who).identity for who in (ALICE, BOB)}
    group.send(_writes(group, kept[BOB.principal]))
    group.friends.remove(BOB)
    group.shuts_out(BOB)
    group.refuses(_writes(group, kept[BOB.principal]), Kind.FORBIDDEN)
    refuse(lambda: group.key(kept[BOB.principal]))
    group.send(_writes(group, read_held(group.friends.reader(), ALICE).identity))


def _writes(group: _Group, who: Identity) -> Commit:
    """The next version of a file in `/photos`, by a chain through the group."""
    friends = group.friends
    scope = friends.photos_header().scope
    chain = next(one for one in reversed(who.chains) if one.caps[-1].path == str(friends.photos.path))
    draft = Draft(who.signer, chain, now=friends.now)
    draft.put_writer(scope)
    block = bytes(friends.world.random(16))
    draft.put(block=block, scope=scope, content=public_content(b"sealed"), previous=None)
    return draft.commit(friends.world.random(16))


@attack("spliced-membership", "the membership of another group, or of another domain, stands in a group's place")
def spliced(under: Implementation) -> None:
    group = _Group(under)
    own = group.membership.terms
    elsewhere = Friends()
    elsewhere.add(ALICE, BOB)
    keys = KeyPair.from_seed(Suite.ED25519_X25519, bytes(range(32)))
    second = create_membership(keys, bytes(range(32)), "others", b"another group...", [BOB.public])
    group.send(group.point(BOB, own.group))
    for other in (elsewhere.group.membership, second):
        moved = msgspec.structs.replace(other.terms, group=own.group, version=own.version + 1)
        bare = msgspec.structs.replace(other, terms=msgspec.structs.replace(other.terms, version=own.version + 1))
        for membership in (bare, msgspec.structs.replace(other, terms=moved)):
            group.refuses(group.put(membership))
    group.shuts_out(BOB)
    group.plant(group.put(_signed(msgspec.structs.replace(second, terms=msgspec.structs.replace(
        second.terms, group=own.group, version=own.version + 1)), keys)))  # fmt: skip
    refuse(lambda: group.key(BOB))


@attack("group-keys-exchanged", "an owner that does not manage a group puts keys of its own in the group's place")
def keys_exchanged(under: Implementation) -> None:
    group = _Group(under)
    seed, own = bytes(32), group.membership.terms
    keys = KeyPair.from_seed(Suite.ED25519_X25519, seed)
    for previous in (None, own.keys):
        taken = create_membership(keys, seed, "friends", own.group, [BOB.public])
        terms = msgspec.structs.replace(taken.terms, version=own.version + 1, previous=previous)
        signed = _signed(msgspec.structs.replace(taken, terms=terms), keys)
        group.refuses(group.put(signed))
        principal = keys.public.principal.digest
        own_word = keys.sign(Label.GROUP_SUCCESSION, own.group + principal)
        group.refuses(group.put(msgspec.structs.replace(signed, succession=own_word)))
    assert group.key(ALICE) == group.friends.photos.key


@attack("removal-in-silence", "a manager leaves somebody out and keeps the group's keys, which that one keeps as well")
def in_silence(under: Implementation) -> None:
    group = _Group(under, BOB)
    alone = [one for one in group.membership.terms.members if one.keys == ALICE.public]
    group.refuses(group.put(_signed(_next(group.membership, members=tuple(alone)), group.friends.group.keys)))
    group.send(group.put(_signed(_next(group.membership), group.friends.group.keys)))


@attack("group-pointer", "a record says that somebody is in a group, of which the group's membership knows nothing")
def pointer(under: Implementation) -> None:
    group = _Group(under)
    group.send(group.point(BOB, group.membership.terms.group))
    group.shuts_out(BOB)
    inner = group.friends.photos_header().scope
    assert inner != group.friends.world.created.scope
    group.refuses(group.point(CAROL, group.membership.terms.group, scope=inner))
