"""Changing groups: making one, adding and removing members, and issuing to members what the group was granted.

Removing, in an order in which nobody who stays loses anything, and that the same again completes at any point:

    1. the membership under new keys, sealed to those who stay, with what opens for the old keys
    2. what the old keys were granted is handed over to the new ones
    3. those who stay get their writecaps through the new keys
    4. the old keys are revoked: from then on whatever went through them counts for nothing

It needs an owner, who may write in the root scope and revoke, and who manages the group. Clock and randomness are
arguments; nothing walks directories here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from btlib.clocks import CLOCK_SKEW
from btlib.errors import CapabilityError, IntegrityError, SealError
from btlib.groups import (
    GROUP_ID_SIZE,
    GroupMember,
    ManagedGroup,
    Membership,
    NewMember,
    create_membership,
    open_as_manager,
    with_managers,
    with_members,
    without,
)
from btlib.identity import Identity
from btlib.key_pairs import SEED_SIZE, KeyPair
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.public_keys import PublicKeys, Suite
from btlib.verification import verify_chain
from btlib.writecaps import MAX_CAPS, Chain, Rights, issue_writecap

from btfproto.errors import FsError
from btfproto.store import Store

from ._commit import commit_draft
from ._create import REQUEST_SIZE, SERIAL_SIZE, Random
from ._drafts import Draft
from ._groups import MAX_GROUPS, GroupsOf, find_groups, group_block, groups_of_block, read_group, read_groups_of
from ._handover import hand_over, prepare
from ._open import read_held
from ._reader import DomainReader
from ._records import MAX_CHAINS, Grants, grants_block
from ._revoke import revoke_access
from ._survey import GrantsFound, survey_records


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChanged:
    """What was done. `issued`: writecaps for members; `revoked`: the keys that the group had before."""

    group: ManagedGroup
    issued: int = 0
    revoked: Principal | None = None
    refused: tuple[str, ...] = ()  #: what the group had and could not be given anew, a sentence each


@dataclass(frozen=True, kw_only=True)
class GroupKeeper:
    """An owner who manages groups, and what it works with. Raises FsError: FORBIDDEN, CONFLICT (somebody was faster:
    the same again), LIMIT, INTEGRITY; StoreError."""

    store: Store
    identity: Identity
    root: Principal
    now: int
    random: Random

    def create(self, name: str, suite: Suite) -> ManagedGroup:
        """A group without members, managed by this identity and the root."""
        reader = self._reader()
        if any(group.name == name for group in self.managed(reader)):
            raise FsError(Kind.EXISTS, f"there is a group called {name} already", "choose another name")
        seed = self.random(SEED_SIZE)
        keys = KeyPair.from_seed(suite, seed)
        managers = {keys.principal: keys for keys in (self.identity.public, reader.domain().root)}
        with _as_fs_errors():
            fresh = create_membership(keys, seed, name, self.random(GROUP_ID_SIZE), tuple(managers.values()))
            self._commit(reader, fresh, None)
            return open_as_manager(self.identity.opener, fresh)

    def managed(self, reader: DomainReader | None = None) -> list[ManagedGroup]:
        """The groups that this identity manages; those that do not verify are left out."""
        found = find_groups(reader or self._reader(), self.identity.principal).groups
        groups = []
        for one in found:
            try:
                groups.append(open_as_manager(self.identity.opener, one.membership))
            except (CapabilityError, SealError):
                continue
        return groups

    def add(self, group: ManagedGroup, added: Sequence[PublicKeys], until: int) -> GroupChanged:
        """Let these into the group until a second; for who is in, that is the new end."""
        reader = self._reader()
        with _as_fs_errors():
            self._refuse_groups_and_revoked(reader, added)
            _refuse_shorter(group, added, until)
            fresh = [NewMember(keys=keys, since=self.now, until=until, by=self.identity.principal) for keys in added]
            changed = self._changed(reader, group, with_members(group, fresh))
            return GroupChanged(group=changed, issued=self.issue(changed))

    def add_managers(self, group: ManagedGroup, added: Sequence[PublicKeys]) -> GroupChanged:
        """Let these change the membership as well."""
        reader = self._reader()
        with _as_fs_errors():
            self._refuse_groups_and_revoked(reader, added)
            return GroupChanged(group=self._changed(reader, group, with_managers(group, added)))

    def remove(self, group: ManagedGroup, removed: Collection[Principal]) -> GroupChanged:
        """Put these out, and give the group new keys. With nobody, it gets new keys, or those that it was getting
        replace the old ones completely."""
        if self.identity.principal in removed:
            raise FsError(Kind.INVALID, "a manager cannot put itself out of a group", "have another manager do it")
        self.complete(group)
        reader = self._reader()
        with _as_fs_errors():
            fresh = without(group, removed, self.random(SEED_SIZE), self.now, self.identity.principal)
            changed = self._changed(reader, group, fresh)
        return self.complete(changed)

    def complete(self, group: ManagedGroup) -> GroupChanged:
        """Do what is left of a change of keys: hand over, issue, revoke. Nothing, where nothing is left."""
        old, reader = group.former_keys, self._reader()
        with _as_fs_errors():
            if old is None or reader.revocations.revoked(old.public.principal, self.now) is not None:
                return GroupChanged(group=group)
            before = Identity(signer=old, opener=old)
            handover = prepare(reader, before, group.membership.terms.keys)
            handed = hand_over(self.store, self.identity, handover, self.root, now=self.now, random=self.random)
            issued = self.issue(group)
            self._revoke(old.public.principal)
        return GroupChanged(group=group, issued=issued, revoked=old.public.principal, refused=handed.refused)

    def issue(self, group: ManagedGroup) -> int:
        """Give every member, in its own records, the writecaps that the group has; how many were new."""
        reader = self._reader()
        own = [one for one in survey_records(reader).grants if one.grants.principal == group.membership.principal]
        with _as_fs_errors():
            return sum(
                self._issue_to(reader, group, member, found)
                for found in own
                for member in group.membership.terms.members
                if member.until >= self.now
            )

    def _issue_to(self, reader: DomainReader, group: ManagedGroup, member: GroupMember, found: GrantsFound) -> int:
        subject, scope = member.keys.principal, found.header.scope
        header, there = reader.grants(scope, subject)
        fresh = [
            self._through(group, chain, member)
            for chain in found.grants.chains
            if self._counts(reader, chain, group.membership.principal) and not _is_given(chain, there, member)
        ]
        if not fresh:
            return 0
        replaced = {chain.ids[-2] for chain in fresh}
        kept = [
            chain
            for chain in there.chains
            if chain.last is not None
            and chain.last.not_after >= self.now
            and chain.ids[-2] not in replaced
            and not any(reader.revocations.revoked(cap.subject, self.now) for cap in chain.caps)
        ]
        if len(kept) + len(fresh) > MAX_CHAINS:
            raise FsError(
                Kind.LIMIT, f"{subject} would hold more than {MAX_CHAINS} chains in a scope", "grant a directory above"
            )
        grants = Grants(principal=subject, readcaps=there.readcaps, chains=(*kept, *fresh))
        draft = self._draft(reader)
        draft.put_public(grants_block(scope, subject), scope, grants, previous=header)
        commit_draft(self.store, draft, reader.domain().scope, self.random(REQUEST_SIZE))
        return len(fresh)

    def _through(self, group: ManagedGroup, chain: Chain, member: GroupMember) -> Chain:
        last = chain.last
        assert last is not None
        return issue_writecap(
            group.keys,
            chain,
            subject=member.keys.principal,
            path=last.block_path,
            scope=last.scope,
            rights=Rights(last.rights),
            not_before=max(self.now - CLOCK_SKEW, last.not_before),
            not_after=min(member.until, last.not_after),
            may_delegate=False,
            serial=self.random(SERIAL_SIZE),
        )

    def _counts(self, reader: DomainReader, chain: Chain, principal: Principal) -> bool:
        """Whether a chain gives the group something now, with room for one link more."""
        last = chain.last
        return (
            last is not None
            and last.may_delegate
            and len(chain.caps) < MAX_CAPS
            and verify_chain(
                chain,
                root=self.root,
                subject=principal,
                right=Rights(0),
                now=self.now,
                revocations=reader.revocations,
            ).allowed
        )

    def _changed(self, reader: DomainReader, group: ManagedGroup, fresh: Membership) -> ManagedGroup:
        found = read_group(reader, fresh.terms.group)
        if found is None or found.membership != group.membership:
            raise FsError(Kind.CONFLICT, "somebody else changed the group at the same time", "try again")
        self._commit(reader, fresh, group.membership)
        return open_as_manager(self.identity.opener, fresh)

    def _commit(self, reader: DomainReader, fresh: Membership, before: Membership | None) -> None:
        """The membership, and where those concerned have to look, in one commit."""
        terms, scope = fresh.terms, reader.domain().scope
        draft = self._draft(reader)
        block = group_block(terms.group)
        found = None if before is None else read_group(reader, terms.group)
        draft.put_public(block, scope, fresh, previous=None if found is None else found.header)
        now, then = _concerned(fresh), set() if before is None else _concerned(before)
        for principal in sorted(now ^ then, key=str):
            header, old = read_groups_of(reader, principal)
            kept = tuple(one for one in old.groups if one != terms.group)
            groups = (*kept, terms.group) if principal in now else kept
            if len(groups) > MAX_GROUPS:
                raise FsError(Kind.LIMIT, f"{principal} is in {MAX_GROUPS} groups already", "remove it from one")
            record = GroupsOf(principal=principal, groups=groups)
            draft.put_public(groups_of_block(principal), scope, record, previous=header)
        commit_draft(self.store, draft, scope, self.random(REQUEST_SIZE))

    def _draft(self, reader: DomainReader) -> Draft:
        held = read_held(reader, self.identity).identity
        scope = reader.domain().scope
        chain = held.chain_for(
            self.root, Rights.WRITE, self.now, lineage=reader.lineage(scope), revocations=reader.revocations
        )
        return Draft(self.identity.signer, chain, now=self.now)

    def _refuse_groups_and_revoked(self, reader: DomainReader, added: Sequence[PublicKeys]) -> None:
        survey = survey_records(reader)
        keys = {one.membership.principal for one in survey.groups}
        keys |= {one.membership.former_principal or one.membership.principal for one in survey.groups}
        for who in added:
            if who.principal in keys:
                raise FsError(
                    Kind.NOT_SUPPORTED,
                    f"{who.principal} is a group, and a group cannot be in a group",
                    "add its members instead",
                )
            reason = reader.revocations.revoked(who.principal, self.now)
            if reason is not None:
                raise FsError(Kind.FORBIDDEN, f"{reason}, and that is for ever", "have it join anew, with new keys")

    def _revoke(self, old: Principal) -> None:
        """From this second on. Whoever wrote through the old keys in it keeps it: the next one is meant."""
        revoke_access(
            self.store,
            self.identity,
            self.root,
            principals={old: self.now + 1},
            serials={},
            now=self.now,
            random=self.random,
        )

    def _reader(self) -> DomainReader:
        return DomainReader(self.store, self.root)


def _concerned(membership: Membership) -> set[Principal]:
    terms = membership.terms
    return {one.keys.principal for one in terms.members} | {one.keys.principal for one in terms.managers}


def _refuse_shorter(group: ManagedGroup, added: Sequence[PublicKeys], until: int) -> None:
    """What was issued until later stays good until then, whatever the membership says."""
    for who in added:
        member = group.membership.member(who.principal)
        if member is not None and member.until > until:
            raise FsError(
                Kind.INVALID,
                f"{who.principal} is in the group until later than that, and its writecaps are out",
                "remove it, and add it again",
            )


def _is_given(chain: Chain, there: Grants, member: GroupMember) -> bool:
    """Whether a member's records hold a chain through this one that lasts as long as it may."""
    last = chain.last
    assert last is not None
    end = min(member.until, last.not_after)
    return any(
        held.ids[-2] == chain.id and held.last is not None and held.last.not_after == end
        for held in there.chains
        if held.caps
    )


class _as_fs_errors:
    """Refusals of the cores, as those of a file system."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (IntegrityError, CapabilityError, SealError)):
            raise FsError(error.kind, error.message, error.hint) from error
