"""The public records of a domain: what they say, and the block ids at which everyone finds them.

    domain record   derive(DOMAIN, root digest)             who the root is, and where its tree begins
    scope record    derive(SCOPE, scope id)                 which scope a scope lies in, and at which directory
    grants record   derive(GRANTS, scope id, principal)     what a principal was given: readcaps and writecap chains

All are PUBLIC blocks: signed like any other, stored in the clear, readable by the servers. So no name stands in them (a
readcap's path is inside its seal; a writecap's path is what its issuer chose to publish). This module does no I/O.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from btlib.block import BlockId, derive_block_id
from btlib.labels import Label
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import Readcap
from btlib.writecaps import Chain
from btserde import U8, Fixed, Limits

FORMAT = 1  #: of all three records
SCOPE_SIZE = 16
MAX_LINEAGE = 32  #: scopes within scopes; far more than people delegate, and a bound on every walk upwards
MAX_READCAPS = 4096  #: of one principal in one scope
MAX_CHAINS = 256  #: of one principal in one scope

ScopeId = Annotated[bytes, Fixed[16]]

RECORD_LIMITS = Limits(max_depth=8, max_size=4 * 1024 * 1024, max_count=MAX_READCAPS)


class DomainRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The first block of a domain, signed by the root itself."""

    format: U8 = FORMAT
    root: PublicKeys
    directory: BlockId  #: the root directory
    scope: ScopeId  #: the root scope


class ScopeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A write scope. Its block belongs to the parent scope, so only who may write there can make one."""

    format: U8 = FORMAT
    scope: ScopeId
    parent: ScopeId | None  #: None for the root scope only
    directory: BlockId  #: where it begins; the only directory whose scope may differ from its parent's


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    """What one principal was given by those who may write in one scope."""

    format: U8 = FORMAT
    principal: Principal
    readcaps: tuple[Readcap, ...] = ()
    chains: tuple[Chain, ...] = ()


def domain_block(root: Principal) -> bytes:
    """Where the domain record of a root lies."""
    return derive_block_id(Label.DOMAIN, root.digest)


def scope_block(scope: bytes) -> bytes:
    """Where the record of a scope lies."""
    return derive_block_id(Label.SCOPE, scope)


def grants_block(scope: bytes, principal: Principal) -> bytes:
    """Where the grants of a principal in a scope lie."""
    return derive_block_id(Label.GRANTS, scope, principal.digest)
