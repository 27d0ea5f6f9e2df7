"""What a membership seals to each of its people: seeds to managers, opening keys to members, and the group's name.

sealed = HPKE (GROUP_SEED, GROUP_OPENING) of: present, former, name ‖ zeros to a multiple of PADDING
info   = the group's id, its principal, and whom it is for: nothing can be moved elsewhere
"""

from __future__ import annotations

import msgspec
from btserde import DecodeError, decode, encode

from ..errors import CapabilityError, SealError
from ..labels import Label
from ..principals import Principal
from ..public_keys import PublicKeys
from ..signing import Opener
from ._membership import GroupId, Membership

MAX_NAME_BYTES = 64
PADDING = 256  #: hides how long the name is


class Secret(msgspec.Struct, frozen=True):
    """The private part of one key generation: seeds to managers, sealing material to members."""

    present: bytes
    former: bytes  #: of the keys before; empty where there were none
    name: str


class _SealInfo(msgspec.Struct, frozen=True):
    group: GroupId
    keys: Principal
    subject: Principal


def sealed_for(group: bytes, keys: PublicKeys, subject: PublicKeys, label: Label, secret: Secret) -> bytes:
    plain = encode(secret)
    info = encode(_SealInfo(group, keys.principal, subject.principal))
    return subject.seal(label, info, plain + bytes(-len(plain) % PADDING))


def opened_by(opener: Opener, label: Label, membership: Membership, sealed: bytes) -> Secret:
    """The private part, of which every byte is checked. No error quotes it."""
    info = encode(_SealInfo(membership.terms.group, membership.principal, opener.public.principal))
    plain = opener.open(label, info, sealed)
    try:
        secret = _unpadded(plain)
    except (DecodeError, CapabilityError):
        raise SealError(f"the private part of the group {membership.principal} opens, but is none") from None
    return secret


def _unpadded(plain: bytes) -> Secret:
    """A name never ends in NUL and is the last field, so the zeros at the end are the padding."""
    text = plain.rstrip(b"\0")
    if len(plain) % PADDING or len(plain) - len(text) >= PADDING:
        raise CapabilityError("not padded as it should be")
    secret = decode(text, Secret)
    checked_name(secret.name)
    return secret


def checked_name(name: str) -> str:
    if not name.isprintable() or not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise CapabilityError(f"a group's name has 1 to {MAX_NAME_BYTES} bytes of printable text")
    return name
