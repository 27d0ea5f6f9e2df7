"""Groups: principals with keys of their own, and a signed membership that says who may use them.

    Membership = terms, signature, succession
    signature  by the group's keys, over MEMBERSHIP ‖ terms
    succession by the keys before, over GROUP_SUCCESSION ‖ group ‖ the new principal; empty for the first keys

A *member* gets the opening half of the group's keys, sealed to it: it opens what is sealed for the group, and signs
nothing in its name. A *manager* gets the seed: it signs the membership, and issues to members the writecaps that chain
through the group. So who was removed cannot add anybody, not even itself. Removing makes new keys; until the change
is complete, the opening half of the old ones travels along. A group is in no group: its keys are nobody's member.

Whether a membership is the newest, and what the group was granted, is for `btfproto.domain`. No I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import msgspec
from btserde import I64, U8, U64, DecodeError, Fixed, Limits, decode, encode

from ._dates import date_text
from ._suite_code import PrivateKeys
from .errors import CapabilityError, SealError
from .key_pairs import SEED_SIZE, KeyPair, sealing_material
from .labels import Label
from .principals import Principal
from .public_keys import PublicKeys, suite_code
from .signing import Opener, Signer

FORMAT = 1
GROUP_ID_SIZE = 16
MAX_MEMBERS = 512  #: with post-quantum keys 4.8 kB each: 2.5 of the 4 MiB of a public record
MAX_MANAGERS = 16  #: each holds the seed, so they are few
MAX_FORMER = 1024  #: entries about who left; the oldest go
MAX_NAME_BYTES = 64
PADDING = 256  #: hides how long the name is

GroupId = Annotated[bytes, Fixed[16]]
GROUP_LIMITS = Limits(max_depth=8, max_size=4 * 1024 * 1024, max_count=MAX_FORMER)


class GroupManager(msgspec.Struct, frozen=True, kw_only=True):
    """Who may change the membership. `sealed` opens to a `_Secret`, under GROUP_SEED."""

    keys: PublicKeys
    sealed: bytes


class GroupMember(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do what the group may, for a time. `sealed` opens to a `_Secret`, under GROUP_OPENING."""

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
            message = _succession_message(self.terms.group, self.terms.keys)
            self.terms.previous.verify(Label.GROUP_SUCCESSION, message, self.succession)
        elif self.succession:
            raise CapabilityError("a group names no keys before, but holds their signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedGroup:
    """What a manager opens: the group's keys, and its name. Nothing secret shows in it."""

    membership: Membership
    name: str
    seed: bytes = field(repr=False)
    former_seed: bytes | None = field(repr=False)

    @property
    def keys(self) -> KeyPair:
        """Signs and opens as the group."""
        return KeyPair.from_seed(self.membership.terms.keys.suite, self.seed)

    @property
    def former_keys(self) -> KeyPair | None:
        """Those before, for as long as the change to the present ones may be unfinished."""
        previous = self.membership.terms.previous
        if previous is None or self.former_seed is None:
            return None
        return KeyPair.from_seed(previous.suite, self.former_seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedGroup:
    """What a member opens: the name, and what opens seals for the group, the present keys first."""

    membership: Membership
    name: str
    openers: tuple[Opener, ...] = field(repr=False)


class _Secret(msgspec.Struct, frozen=True):
    """The private part of one key generation: seeds to managers, sealing material to members."""

    present: bytes
    former: bytes  #: of the keys before; empty where there were none
    name: str


class _SealInfo(msgspec.Struct, frozen=True):
    group: GroupId
    keys: Principal
    subject: Principal


class _OpeningKey:
    """Opens what was sealed for a group. It cannot sign."""

    __slots__ = ("_private", "public")

    def __init__(self, public: PublicKeys, material: bytes) -> None:
        # The signing half is made of the same bytes only because there has to be one; it is nobody's.
        self._private: PrivateKeys = suite_code(public.suite).derive(material, material)
        if self._private.sealing_public != public.sealing:
            raise SealError(f"what opens for the group {public.principal} is another key than its own")
        self.public = public

    def open(self, label: Label, info: bytes, sealed: bytes) -> bytes:
        """See `Opener.open`."""
        return self._private.open(label.value + info, sealed)

    def __repr__(self) -> str:
        return f"_OpeningKey({self.public!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a group's opening key is not copied or pickled")


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
    secret = _Secret(seed, b"", _checked_name(name))
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
    secret = _Secret(group.seed, group.former_seed or b"", group.name)
    fresh = tuple(_seal_to_manager(old.group, old.keys, who, secret) for who in added if who.principal not in known)
    return _next(group, managers=(*old.managers, *fresh))


def without(group: ManagedGroup, removed: Collection[Principal], seed: bytes, now: int, by: Principal) -> Membership:
    """The next version, with new keys from the fresh `seed`, sealed to all but `removed` (nobody: only new keys).

    What opens for the old keys goes along, until they are revoked. Raises CapabilityError where no manager is left.
    """
    old = group.membership.terms
    keys = KeyPair.from_seed(old.keys.suite, seed)
    name = group.name
    to_managers = _Secret(seed, group.seed, name)
    to_members = _opening_secret(seed, keys.public, group.seed, old.keys, name)
    stay = [one for one in old.members if one.keys.principal not in removed]
    gone = {*_principals(old.members), *_principals(old.managers)} & set(removed)
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
    return _signed(terms, keys, group.keys.sign(Label.GROUP_SUCCESSION, _succession_message(old.group, keys.public)))


def open_as_member(opener: Opener, membership: Membership) -> JoinedGroup:
    """What a member has of a group. Raises CapabilityError for who is in it not, SealError."""
    terms, own = membership.terms, opener.public.principal
    member = membership.member(own)
    if member is None:
        raise CapabilityError(f"{own} is not in the group {membership.principal}")
    secret = _opened(opener, Label.GROUP_OPENING, membership, member.sealed)
    openers: list[Opener] = [_OpeningKey(terms.keys, secret.present)]
    if terms.previous is not None and secret.former:
        openers.append(_OpeningKey(terms.previous, secret.former))
    return JoinedGroup(membership=membership, name=secret.name, openers=tuple(openers))


def open_as_manager(opener: Opener, membership: Membership) -> ManagedGroup:
    """What a manager has of a group. Raises CapabilityError for who does not manage it, SealError."""
    own = opener.public.principal
    manager = membership.manager(own)
    if manager is None:
        raise CapabilityError(f"{own} does not manage the group {membership.principal}", hint="ask one who does")
    secret = _opened(opener, Label.GROUP_SEED, membership, manager.sealed)
    terms = membership.terms
    if len(secret.present) != SEED_SIZE or KeyPair.from_seed(terms.keys.suite, secret.present).public != terms.keys:
        raise SealError(f"the seed of the group {membership.principal} makes other keys than its own")
    return ManagedGroup(membership=membership, name=secret.name, seed=secret.present, former_seed=secret.former or None)


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


def _principals(of: Sequence[GroupMember] | Sequence[GroupManager]) -> list[Principal]:
    return [one.keys.principal for one in of]


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


def _succession_message(group: bytes, keys: PublicKeys) -> bytes:
    return group + keys.principal.digest


def _opening_secret(
    seed: bytes, keys: PublicKeys, former_seed: bytes | None, former: PublicKeys | None, name: str
) -> _Secret:
    before = b"" if former is None or former_seed is None else sealing_material(former.suite, former_seed)
    return _Secret(sealing_material(keys.suite, seed), before, name)


def _seal_to_manager(group: bytes, keys: PublicKeys, who: PublicKeys, secret: _Secret) -> GroupManager:
    return GroupManager(keys=who, sealed=_sealed(group, keys, who, Label.GROUP_SEED, secret))


def _seal_to_member(group: bytes, keys: PublicKeys, new: NewMember, secret: _Secret) -> GroupMember:
    sealed = _sealed(group, keys, new.keys, Label.GROUP_OPENING, secret)
    return GroupMember(keys=new.keys, since=new.since, until=new.until, by=new.by, sealed=sealed)


def _sealed(group: bytes, keys: PublicKeys, subject: PublicKeys, label: Label, secret: _Secret) -> bytes:
    plain = encode(secret)
    info = encode(_SealInfo(group, keys.principal, subject.principal))
    return subject.seal(label, info, plain + bytes(-len(plain) % PADDING))


def _opened(opener: Opener, label: Label, membership: Membership, sealed: bytes) -> _Secret:
    """The private part, of which every byte is checked. No error quotes it."""
    info = encode(_SealInfo(membership.terms.group, membership.principal, opener.public.principal))
    plain = opener.open(label, info, sealed)
    try:
        secret = _unpadded(plain)
    except (DecodeError, CapabilityError):
        raise SealError(f"the private part of the group {membership.principal} opens, but is none") from None
    return secret


def _unpadded(plain: bytes) -> _Secret:
    """A name never ends in NUL and is the last field, so the zeros at the end are the padding."""
    text = plain.rstrip(b"\0")
    if len(plain) % PADDING or len(plain) - len(text) >= PADDING:
        raise CapabilityError("not padded as it should be")
    secret = decode(text, _Secret)
    _checked_name(secret.name)
    return secret


def _checked_name(name: str) -> str:
    if not name.isprintable() or not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise CapabilityError(f"a group's name has 1 to {MAX_NAME_BYTES} bytes of printable text")
    return name


def _form_fault(terms: MembershipTerms) -> str | None:
    if not 1 <= len(terms.managers) <= MAX_MANAGERS:
        return f"has 1 to {MAX_MANAGERS} managers, not {len(terms.managers)}"
    if len(terms.members) > MAX_MEMBERS:
        return f"has at most {MAX_MEMBERS} members, not {len(terms.members)}"
    members, managers = _principals(terms.members), _principals(terms.managers)
    if len(set(members)) != len(members) or len(set(managers)) != len(managers):
        return "names somebody twice"
    own = {terms.keys.principal, *(() if terms.previous is None else (terms.previous.principal,))}
    if own & {*members, *managers}:
        return "cannot be in itself"
    if terms.keys == terms.previous:
        return "has the keys of before as its new ones"
    return None
