"""What a membership opens to: for a manager the group's keys, for a member what opens seals for the group."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._suite_code import PrivateKeys
from ..errors import CapabilityError, SealError
from ..key_pairs import SEED_SIZE, KeyPair
from ..labels import Label
from ..public_keys import PublicKeys, suite_code
from ..signing import Opener
from ._membership import Membership
from ._secrets import opened_by


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


def open_as_member(opener: Opener, membership: Membership) -> JoinedGroup:
    """What a member has of a group. Raises CapabilityError for who is in it not, SealError."""
    terms, own = membership.terms, opener.public.principal
    member = membership.member(own)
    if member is None:
        raise CapabilityError(f"{own} is not in the group {membership.principal}")
    secret = opened_by(opener, Label.GROUP_OPENING, membership, member.sealed)
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
    secret = opened_by(opener, Label.GROUP_SEED, membership, manager.sealed)
    terms = membership.terms
    if len(secret.present) != SEED_SIZE or KeyPair.from_seed(terms.keys.suite, secret.present).public != terms.keys:
        raise SealError(f"the seed of the group {membership.principal} makes other keys than its own")
    return ManagedGroup(membership=membership, name=secret.name, seed=secret.present, former_seed=secret.former or None)


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
