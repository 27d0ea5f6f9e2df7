"""A domain in its store: its public records, how it is made, opened and granted, and how all of it is verified.

Nothing here walks directories or keeps a connection; `LocalFs` does the one, a `Store` the other. Clock and randomness
are arguments. The formats are specified in `docs/spec/domain.md`.
"""

from ._create import CreatedDomain, DirectoryAttributes, create_domain
from ._drafts import Content, Draft, public_content
from ._explain import Access, AccessExplanation, explain_access, explain_right
from ._grant import Granted, grant_access
from ._open import Held, Volume, best_key, no_readcap, open_volume, read_held
from ._reader import DomainReader
from ._records import DomainRecord, Grants, ScopeId, ScopeRecord, domain_block, grants_block, scope_block
from ._recover import RecoveredDomain, domains_in, find_root, recover_domain

__all__ = [
    "Access",
    "AccessExplanation",
    "Content",
    "CreatedDomain",
    "DirectoryAttributes",
    "DomainReader",
    "DomainRecord",
    "Draft",
    "Granted",
    "Grants",
    "Held",
    "RecoveredDomain",
    "ScopeId",
    "ScopeRecord",
    "Volume",
    "best_key",
    "create_domain",
    "domain_block",
    "domains_in",
    "explain_access",
    "explain_right",
    "find_root",
    "grant_access",
    "grants_block",
    "no_readcap",
    "open_volume",
    "public_content",
    "read_held",
    "recover_domain",
    "scope_block",
]
