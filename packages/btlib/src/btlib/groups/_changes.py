"""The next version of a membership: made by a manager, who seals to everybody anew where the keys change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from ..key_pairs import KeyPair, sealing_material
from ..labels import Label
from ..principals import Principal
from ..public_keys import PublicKeys
from ..signing import Signer
from ._membership import (
    MAX_FORMER,
    FormerMember,
    GroupManager,
    GroupMember,
    Membership,
    MembershipTerms,
    principals_of,
    succession_message,
)
from ._opening import ManagedGroup
from ._secrets import Secret, checked_name, sealed_for


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """Who shall be in a group, from when, until when, and by whom."""

    keys: PublicKeys
    since: int
    until: int
    by: Principal


def create_membership(
    keys: KeyPair, seed: bytes, name: str, group: bytes, managers: Sequence[PublicKeys]
) -> Membership:
    """The first version, without members. `keys` come from `seed`; `group` is 16 random bytes.

    Raises CapabilityError for no or too many managers, or a name that is none.
    """
    secret = Secret(seed, b"", checked_name(name))
    terms = MembershipTerms(
        group=group,
        version=1,
        keys=keys.public,
        previous=None,
        managers=tuple(_seal_to_manager(group, keys.public, who, secret) for who in managers),
        members=(),
        former=(),
    )
    return _signed(terms, keys, b"")


def with_members(group: ManagedGroup, added: Sequence[NewMember]) -> Membership:
    """The next version, with these as well; who is in already gets the new time. Raises CapabilityError."""
    old = group.membership.terms
    fresh = {new.keys.principal: new for new in added}
    kept = tuple(one for one in old.members if one.keys.principal not in fresh)
    secret = _opening_secret(group.seed, old.keys, group.former_seed, old.previous, group.name)
    sealed = tuple(_seal_to_member(old.group, old.keys, new, secret) for new in fresh.values())
    return _next(group, members=(*kept, *sealed))


def with_managers(group: ManagedGroup, added: Sequence[PublicKeys]) -> Membership:
    """The next version, which these may change as well. Raises CapabilityError."""
    old = group.membership.terms
    known = {one.keys.principal for one in old.managers}
    secret = Secret(group.seed, group.former_seed or b"", group.name)
    fresh = tuple(_seal_to_manager(old.group, old.keys, who, secret) for who in added if who.principal not in known)
    return _next(group, managers=(*old.managers, *fresh))


def without(group: ManagedGroup, removed: Collection[Principal], seed: bytes, now: int, by: Principal) -> Membership:
    """The next version, with new keys from the fresh `seed`, sealed to all but `removed` (nobody: only new keys).

    What opens for the old keys goes along, until they are revoked. Raises CapabilityError where no manager is left.
    """
    old = group.membership.terms
    keys = KeyPair.from_seed(old.keys.suite, seed)
    name = group.name
    to_managers = Secret(seed, group.seed, name)
    to_members = _opening_secret(seed, keys.public, group.seed, old.keys, name)
    stay = [one for one in old.members if one.keys.principal not in removed]
    gone = {*principals_of(old.members), *principals_of(old.managers)} & set(removed)
    former = tuple(FormerMember(principal=who, removed=now, by=by) for who in sorted(gone, key=str))
    terms = MembershipTerms(
        group=old.group,
        version=old.version + 1,
        keys=keys.public,
        previous=old.keys,
        managers=tuple(
            _seal_to_manager(old.group, keys.public, one.keys, to_managers)
            for one in old.managers
            if one.keys.principal not in removed
        ),
        members=tuple(
            _seal_to_member(
                old.group,
                keys.public,
                NewMember(keys=one.keys, since=one.since, until=one.until, by=one.by),
                to_members,
            )
            for one in stay
        ),
        former=(*old.former, *former)[-MAX_FORMER:],
    )
    return _signed(terms, keys, group.keys.sign(Label.GROUP_SUCCESSION, succession_message(old.group, keys.public)))


def _next(
    group: ManagedGroup,
    *,
    managers: tuple[GroupManager, ...] | None = None,
    members: tuple[GroupMember, ...] | None = None,
) -> Membership:
    old = group.membership.terms
    terms: MembershipTerms = msgspec.structs.replace(
        old,
        version=old.version + 1,
        managers=old.managers if managers is None else managers,
        members=old.members if members is None else members,
    )
    return _signed(terms, group.keys, group.membership.succession)


def _signed(terms: MembershipTerms, signer: Signer, succession: bytes) -> Membership:
    signature = signer.sign(Label.MEMBERSHIP, terms.encoded)
    return Membership(terms=terms, signature=signature, succession=succession)


def _opening_secret(
    seed: bytes, keys: PublicKeys, former_seed: bytes | None, former: PublicKeys | None, name: str
) -> Secret:
    before = b"" if former is None or former_seed is None else sealing_material(former.suite, former_seed)
    return Secret(sealing_material(keys.suite, seed), before, name)


def _seal_to_manager(group: bytes, keys: PublicKeys, who: PublicKeys, secret: Secret) -> GroupManager:
    return GroupManager(keys=who, sealed=sealed_for(group, keys, who, Label.GROUP_SEED, secret))


def _seal_to_member(group: bytes, keys: PublicKeys, new: NewMember, secret: Secret) -> GroupMember:
    sealed = sealed_for(group, keys, new.keys, Label.GROUP_OPENING, secret)
    return GroupMember(keys=new.keys, since=new.since, until=new.until, by=new.by, sealed=sealed)
