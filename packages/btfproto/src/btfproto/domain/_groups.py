"""Groups in a domain: where their memberships lie, who may have written them, and whom they make of a principal.

    membership   derive(GROUP, group id)           see `btlib.groups`; signed by the group's keys
    groups of    derive(GROUPS_OF, principal)      in which groups a principal is, or which it manages: where to look

Both are public blocks in the root scope. The second only points: a group counts for somebody whom its membership
names. Keys of a group that the revocation list names count for nothing, so a membership from before somebody was
removed, which names the keys of then, gives him nothing, whoever shows it. Nobody reaches a group through another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from btlib.block import Header, derive_block_id
from btlib.errors import BlocktreeError, CapabilityError, IntegrityError, SignatureError
from btlib.groups import GROUP_LIMITS, GroupId, Membership, membership_fault
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.principals import Principal
from btlib.revocations import Revocations
from btserde import U8, Limits, SerdeError, decode

from ._reader import DomainReader
from ._records import FORMAT

MAX_GROUPS = 64  #: of one principal: every opening of a tree looks at all of them
LONG_AGO, FAR_OFF = -(2**63), 2**63 - 1
GROUPS_OF_LIMITS = Limits(max_depth=4, max_size=4096, max_count=MAX_GROUPS)


class GroupsOf(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody has to look."""

    format: U8 = FORMAT
    principal: Principal
    groups: tuple[GroupId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFound:
    """A membership that verifies; `header` is to be replaced by the next version."""

    header: Header
    membership: Membership


@dataclass(slots=True, kw_only=True)
class GroupsFound:
    """The groups to which the records send somebody. `refused`: why others do not count, a sentence each."""

    groups: list[GroupFound] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def group_block(group: bytes) -> bytes:
    """Where the membership of a group lies."""
    return derive_block_id(Label.GROUP, group)


def groups_of_block(principal: Principal) -> bytes:
    """Where it says in which groups somebody is."""
    return derive_block_id(Label.GROUPS_OF, principal.digest)


def check_membership(membership: Membership, header: Header, scope: bytes) -> None:
    """Whether a membership may stand under this header; `scope` is the root scope.

    Raises IntegrityError, CapabilityError.
    """
    terms = membership.terms
    if terms.format != FORMAT:
        raise IntegrityError(f"the group is of format {terms.format}, not {FORMAT}", kind=Kind.NOT_SUPPORTED)
    if (header.block, header.scope, header.version) != (group_block(terms.group), scope, terms.version):
        raise IntegrityError(f"the membership of the group {membership.principal} stands in the wrong place or version")
    try:
        membership.check()
    except SignatureError as error:
        raise IntegrityError(
            f"the membership of the group {membership.principal} is forged: {error.message}"
        ) from error


def check_membership_change(old: Membership, new: Membership) -> None:
    """Whether one may follow another. Raises IntegrityError."""
    fault = membership_fault(old, new)
    if fault is not None:
        raise IntegrityError(f"the membership of the group {new.principal} is refused: {fault}", kind=Kind.ROLLBACK)


def decode_membership(content: bytes) -> Membership | None:
    """A membership, where that is what it is."""
    try:
        return decode(content, Membership, GROUP_LIMITS)
    except (SerdeError, BlocktreeError):
        return None


def decode_groups_of(content: bytes) -> GroupsOf | None:
    try:
        return decode(content, GroupsOf, GROUPS_OF_LIMITS)
    except (SerdeError, BlocktreeError):
        return None


def read_group(reader: DomainReader, group: bytes) -> GroupFound | None:
    """The verified membership of a group; None where there is none. Raises IntegrityError, FsError."""
    head = reader.head(group_block(group))
    if head is None or head.removed:
        return None
    header = reader.verify(head)
    membership = decode_membership(reader.content(head))
    if membership is None or membership.terms.group != group:
        raise IntegrityError(f"the membership of the group {group.hex()} is none")
    check_membership(membership, header, reader.domain().scope)
    return GroupFound(header=header, membership=membership)


def read_groups_of(reader: DomainReader, principal: Principal) -> tuple[Header | None, GroupsOf]:
    """Where somebody has to look, and the header to replace. Raises IntegrityError, FsError."""
    head = reader.head(groups_of_block(principal))
    if head is None or head.removed:
        return None, GroupsOf(principal=principal, groups=())
    header = reader.verify(head)
    record = decode_groups_of(reader.content(head))
    if record is None or record.principal != principal or header.scope != reader.domain().scope:
        raise IntegrityError(f"the groups of {principal} stand in the wrong place")
    return header, record


def find_groups(reader: DomainReader, principal: Principal) -> GroupsFound:
    """The groups that somebody is in, or manages. What does not verify harms nothing but itself. Raises FsError."""
    found = GroupsFound()
    try:
        groups = read_groups_of(reader, principal)[1].groups
    except (IntegrityError, CapabilityError) as error:
        found.refused.append(error.message)
        return found
    for group in groups:
        try:
            one = read_group(reader, group)
        except (IntegrityError, CapabilityError) as error:
            found.refused.append(error.message)
        else:
            if one is not None:
                found.groups.append(one)
    return found


def joined_groups(reader: DomainReader, principal: Principal, now: int | None) -> tuple[list[Membership], list[str]]:
    """The groups that somebody is in now, and why it is not in others that it looks for. Without `now`, at any time.

    Raises FsError.
    """
    found = find_groups(reader, principal)
    memberships = []
    refused = found.refused
    for one in found.groups:
        refusal = one.membership.refusal(principal, LONG_AGO if now is None else now)
        if refusal is None and not list(standing(one.membership, reader.revocations, now)):
            refusal = f"the keys of the group {one.membership.principal} were revoked"
        if refusal is None:
            memberships.append(one.membership)
        elif one.membership.manager(principal) is None:
            refused.append(refusal)
    return memberships, refused


def standing(membership: Membership, revocations: Revocations, now: int | None) -> Iterator[Principal]:
    """As whom a group is granted something that counts: by its keys, and by those before while they are not revoked.

    Without `now`, what is revoked from a later moment on is revoked.
    """
    for principal in (membership.principal, membership.former_principal):
        if principal is not None and revocations.revoked(principal, FAR_OFF if now is None else now) is None:
            yield principal
