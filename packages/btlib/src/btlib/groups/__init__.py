"""Groups: principals with keys of their own, and a signed membership that says who may use them.

A *member* gets the opening half of the group's keys, sealed to it: it opens what is sealed for the group, and signs
nothing in its name. A *manager* gets the seed: it signs the membership, and issues to members the writecaps that chain
through the group. So who was removed cannot add anybody, not even itself. Removing makes new keys; until the change
is complete, the opening half of the old ones travels along. A group is in no group: its keys are nobody's member.

Whether a membership is the newest, and what the group was granted, is for `btfproto.domain`. No I/O, no clock here.
"""

from ._changes import NewMember, create_membership, with_managers, with_members, without
from ._membership import (
    GROUP_ID_SIZE,
    GROUP_LIMITS,
    MAX_FORMER,
    MAX_MANAGERS,
    MAX_MEMBERS,
    FormerMember,
    GroupId,
    GroupManager,
    GroupMember,
    Membership,
    MembershipTerms,
    membership_fault,
)
from ._opening import JoinedGroup, ManagedGroup, open_as_manager, open_as_member
from ._secrets import MAX_NAME_BYTES

__all__ = [
    "GROUP_ID_SIZE",
    "GROUP_LIMITS",
    "MAX_FORMER",
    "MAX_MANAGERS",
    "MAX_MEMBERS",
    "MAX_NAME_BYTES",
    "FormerMember",
    "GroupId",
    "GroupManager",
    "GroupMember",
    "JoinedGroup",
    "ManagedGroup",
    "Membership",
    "MembershipTerms",
    "NewMember",
    "create_membership",
    "membership_fault",
    "open_as_manager",
    "open_as_member",
    "with_managers",
    "with_members",
    "without",
]
