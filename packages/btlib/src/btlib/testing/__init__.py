"""Test kit of btlib: identities in a line, and the conformance suite of credential stores.

Names give keys: `make_keys("alice")` is the same principal in every run and process, so failures can be compared.
Never use such keys for anything real; everybody can make them. `btlib.testing.strategies` (needs Hypothesis) draws
paths, keys and chains.
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

__all__ = [
    "ALWAYS",
    "QUICK_COST",
    "ROOT_SCOPE",
    "DomainIdentities",
    "check_credential_store",
    "make_domain_identities",
    "make_identity",
    "make_keys",
    "serial_of",
]
