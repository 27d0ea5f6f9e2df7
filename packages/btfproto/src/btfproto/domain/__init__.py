"""A domain in its store: its public records, how it is made, opened and granted, and how all of it is verified.

Nothing here walks directories or keeps a connection; `LocalFs` does the one, a `Store` the other. Clock and randomness
are arguments. The formats are specified in `docs/spec/domain.md`.
"""

from ._aftermath import Aftermath, aftermath
from ._commit import commit_draft
from ._create import CreatedDomain, DirectoryAttributes, create_domain
from ._drafts import Content, Draft, public_content
from ._explain import Access, AccessExplanation, Place, explain_access, explain_granted
from ._grant import Granted, grant_access
from ._grouping import GroupChanged, GroupKeeper
from ._groups import (
    GroupFound,
    GroupsOf,
    check_membership,
    check_membership_change,
    decode_groups_of,
    decode_membership,
    find_groups,
    group_block,
    groups_of_block,
    joined_groups,
    read_group,
    standing,
)
from ._handover import HandedOver, Handover, hand_over, pass_on, prepare, remember_chains, shortfall
from ._held_chains import HeldChains, following, pause_before_look, time_left
from ._log import Happened, LogEntry, domain_log
from ._open import Held, HeldGroup, Volume, best_key, no_readcap, open_volume, read_held
from ._reader import DomainReader, RevocationSource, unverified_header
from ._records import DomainRecord, Grants, ScopeId, ScopeRecord, domain_block, grants_block, scope_block
from ._recover import RecoveredDomain, domains_in, find_root, recover_domain
from ._renewal import (
    FURTHER_NOTICE,
    RENEW_UNTIL,
    is_membership,
    is_renewable,
    renew_memberships,
    renewal_from,
    renewed_serial,
)
from ._revoke import RevokedAccess, revoke_access
from ._revoking import (
    LIST_LIMITS,
    NOTHING_SEEN,
    ROLLED_BACK,
    SeenList,
    check_list,
    check_revoker,
    check_succession,
    revocations_block,
    seen_list,
)
from ._snapshots import (
    MAX_STRETCHES,
    SnapshotHeads,
    SnapshotRecord,
    all_digests,
    snapshot_block,
    stretch_length,
    stretches_of,
)
from ._survey import GrantsFound, Survey, survey_records
from ._views import Comparison, ShownHead, ViewTerms, compare_view, read_view, shown_heads, take_view
from ._withdraw import Withdrawn, granted_in, withdraw_access

__all__ = [
    "FURTHER_NOTICE",
    "LIST_LIMITS",
    "MAX_STRETCHES",
    "NOTHING_SEEN",
    "RENEW_UNTIL",
    "ROLLED_BACK",
    "Access",
    "AccessExplanation",
    "Aftermath",
    "Comparison",
    "Content",
    "CreatedDomain",
    "DirectoryAttributes",
    "DomainReader",
    "DomainRecord",
    "Draft",
    "Granted",
    "Grants",
    "GrantsFound",
    "GroupChanged",
    "GroupFound",
    "GroupKeeper",
    "GroupsOf",
    "HandedOver",
    "Handover",
    "Happened",
    "Held",
    "HeldChains",
    "HeldGroup",
    "LogEntry",
    "Place",
    "RecoveredDomain",
    "RevocationSource",
    "RevokedAccess",
    "ScopeId",
    "ScopeRecord",
    "SeenList",
    "ShownHead",
    "SnapshotHeads",
    "SnapshotRecord",
    "Survey",
    "ViewTerms",
    "Volume",
    "Withdrawn",
    "aftermath",
    "all_digests",
    "best_key",
    "check_list",
    "check_membership",
    "check_membership_change",
    "check_revoker",
    "check_succession",
    "commit_draft",
    "compare_view",
    "create_domain",
    "decode_groups_of",
    "decode_membership",
    "domain_block",
    "domain_log",
    "domains_in",
    "explain_access",
    "explain_granted",
    "find_groups",
    "find_root",
    "following",
    "grant_access",
    "granted_in",
    "grants_block",
    "group_block",
    "groups_of_block",
    "hand_over",
    "is_membership",
    "is_renewable",
    "joined_groups",
    "no_readcap",
    "open_volume",
    "pass_on",
    "pause_before_look",
    "prepare",
    "public_content",
    "read_group",
    "read_held",
    "read_view",
    "recover_domain",
    "remember_chains",
    "renew_memberships",
    "renewal_from",
    "renewed_serial",
    "revocations_block",
    "revoke_access",
    "scope_block",
    "seen_list",
    "shortfall",
    "shown_heads",
    "snapshot_block",
    "standing",
    "stretch_length",
    "stretches_of",
    "survey_records",
    "take_view",
    "time_left",
    "unverified_header",
    "withdraw_access",
]
