"""The record of a group: who it is, who changes it, and who is in it, signed by its own keys.

    Membership = terms, signature, succession
    signature  by the group's keys, over MEMBERSHIP ‖ terms
    succession by the keys before, over GROUP_SUCCESSION ‖ group ‖ the new principal; empty for the first keys

What is sealed in it is opaque here (`_secrets`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import msgspec
from btserde import I64, U8, U64, Fixed, Limits, encode

from .._dates import date_text
from ..errors import CapabilityError
from ..labels import Label
from ..principals import Principal
from ..public_keys import PublicKeys

FORMAT = 1
GROUP_ID_SIZE = 16
MAX_MEMBERS = 512  #: with post-quantum keys 4.8 kB each: 2.5 of the 4 MiB of a public record
MAX_MANAGERS = 16  #: each holds the seed, so they are few
MAX_FORMER = 1024  #: entries about who left; the oldest go

GroupId = Annotated[bytes, Fixed[16]]
GROUP_LIMITS = Limits(max_depth=8, max_size=4 * 1024 * 1024, max_count=MAX_FORMER)


class GroupManager(msgspec.Struct, frozen=True, kw_only=True):
    """Who may change the membership. `sealed` opens to a `Secret`, under GROUP_SEED."""

    keys: PublicKeys
    sealed: bytes


class GroupMember(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do what the group may, for a time. `sealed` opens to a `Secret`, under GROUP_OPENING."""

    keys: PublicKeys
    since: I64  #: when it was added, in unix seconds
    until: I64  #: the last second of it; for what is written, and at a server that holds keys
    by: Principal  #: who added it
    sealed: bytes


class FormerMember(msgspec.Struct, frozen=True, kw_only=True):
    """Who left, for the log."""

    principal: Principal
    removed: I64
    by: Principal


class MembershipTerms(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is signed."""

    format: U8 = FORMAT
    group: GroupId  #: random, and stays when the keys change
    version: U64  #: of its block's header, so that neither can be taken for another
    keys: PublicKeys
    previous: PublicKeys | None  #: the keys before these
    managers: tuple[GroupManager, ...]
    members: tuple[GroupMember, ...]
    former: tuple[FormerMember, ...]

    def __post_init__(self) -> None:
        fault = _form_fault(self)
        if fault is not None:
            raise CapabilityError(f"a group {fault}")

    @cached_property
    def encoded(self) -> bytes:
        return encode(self)


class Membership(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The record. One that exists is well-formed; whether it is the group's word is for `check`."""

    terms: MembershipTerms
    signature: bytes
    succession: bytes

    @property
    def principal(self) -> Principal:
        """As whom the group is granted something."""
        return self.terms.keys.principal

    @property
    def former_principal(self) -> Principal | None:
        """As whom it was, before its keys changed."""
        return None if self.terms.previous is None else self.terms.previous.principal

    def member(self, principal: Principal) -> GroupMember | None:
        return next((one for one in self.terms.members if one.keys.principal == principal), None)

    def manager(self, principal: Principal) -> GroupManager | None:
        return next((one for one in self.terms.managers if one.keys.principal == principal), None)

    def refusal(self, principal: Principal, now: int) -> str | None:
        """Why somebody is not in the group at a moment, in a sentence; None where it is."""
        member = self.member(principal)
        if member is None:
            return f"{principal} is not in the group {self.principal}"
        if now > member.until:
            return f"{principal} was in the group {self.principal} until {date_text(member.until)}"
        return None

    def check(self) -> None:
        """Whether the group's own keys say this. Raises SignatureError."""
        self.terms.keys.verify(Label.MEMBERSHIP, self.terms.encoded, self.signature)
        if self.terms.previous is not None:
            message = succession_message(self.terms.group, self.terms.keys)
            self.terms.previous.verify(Label.GROUP_SUCCESSION, message, self.succession)
        elif self.succession:
            raise CapabilityError("a group names no keys before, but holds their signature")


def membership_fault(old: Membership, new: Membership) -> str | None:
    """Why `new` may not follow `old` (None: it may), in a sentence, for who knows the one before."""
    before, after = old.terms, new.terms
    if after.group != before.group:
        return "it is that of another group"
    if after.version < before.version:
        return f"version {after.version} was replaced by version {before.version} before"
    if after.version == before.version and new != old:
        return f"there are two memberships of version {after.version}"
    if after.keys == before.keys:
        left = [one for one in before.members if new.member(one.keys.principal) is None]
        return None if not left else f"{left[0].keys.principal} left, and the keys stayed the same"
    if after.previous != before.keys and after.version == before.version + 1:
        return "its keys do not follow from those before"
    return None


def principals_of(of: Sequence[GroupMember] | Sequence[GroupManager]) -> list[Principal]:
    return [one.keys.principal for one in of]


def succession_message(group: bytes, keys: PublicKeys) -> bytes:
    return group + keys.principal.digest


def _form_fault(terms: MembershipTerms) -> str | None:
    if not 1 <= len(terms.managers) <= MAX_MANAGERS:
        return f"has 1 to {MAX_MANAGERS} managers, not {len(terms.managers)}"
    if len(terms.members) > MAX_MEMBERS:
        return f"has at most {MAX_MEMBERS} members, not {len(terms.members)}"
    members, managers = principals_of(terms.members), principals_of(terms.managers)
    if len(set(members)) != len(members) or len(set(managers)) != len(managers):
        return "names somebody twice"
    own = {terms.keys.principal, *(() if terms.previous is None else (terms.previous.principal,))}
    if own & {*members, *managers}:
        return "cannot be in itself"
    if terms.keys == terms.previous:
        return "has the keys of before as its new ones"
    return None
