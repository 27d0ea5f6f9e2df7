"""Test kit of btlib: identities in a line, and the conformance suites of signers, openers and credential stores.

Names give keys: `make_keys("alice")` is the same principal in every run and process, so failures can be compared.
Never use such keys for anything real; everybody can make them. `btlib.testing.strategies` (needs Hypothesis) draws
paths, keys and chains; `btlib.testing.swtpm` starts a TPM in software.
"""

from ._credential_store import QUICK_COST, check_credential_store
from ._identities import (
    ALWAYS,
    ROOT_SCOPE,
    DomainIdentities,
    make_domain_identities,
    make_identity,
    make_keys,
    serial_of,
)
from ._keys import check_opener, check_signer

__all__ = [
    "ALWAYS",
    "QUICK_COST",
    "ROOT_SCOPE",
    "DomainIdentities",
    "check_credential_store",
    "check_opener",
    "check_signer",
    "make_domain_identities",
    "make_identity",
    "make_keys",
    "serial_of",
]
