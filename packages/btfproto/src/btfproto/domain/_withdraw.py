"""Withdrawing: taking readcaps and chains out of what a principal was granted in the scopes of a directory.

A withdrawn readcap opens nothing at a server that holds the keys, nor for a client that goes by the records. Whoever
kept its key has the key: only re-keying ends that. A withdrawn chain may have been kept as well: it has to be revoked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.principals import Principal
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError
from btfproto.store import Store

from ._commit import commit_draft
from ._create import REQUEST_SIZE, Random
from ._drafts import Draft
from ._open import read_held
from ._reader import DomainReader
from ._records import Grants, grants_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """How many of each were taken out."""

    readcaps: int
    chains: int


def granted_in(reader: DomainReader, lineage: Sequence[bytes], principal: Principal) -> Grants:
    """All that a principal was granted in some scopes. Raises FsError, IntegrityError."""
    found = [reader.grants(scope, principal)[1] for scope in lineage]
    return Grants(
        principal=principal,
        readcaps=tuple(readcap for grants in found for readcap in grants.readcaps),
        chains=tuple(chain for grants in found for chain in grants.chains),
    )


def withdraw_access(
    store: Store,
    withdrawer: Identity,
    principal: Principal,
    *,
    root: Principal,
    lineage: Sequence[bytes],
    blocks: Collection[bytes],
    chains: Collection[Chain],
    now: int,
    random: Random,
) -> Withdrawn:
    """Take the readcaps of `blocks`, and `chains`, out of a principal's grants in the scopes of `lineage`.

    Raises FsError: FORBIDDEN (who withdraws may not write in a scope), CONFLICT (try again), INTEGRITY.
    """
    reader = DomainReader(store, root)
    readcaps = gone = 0
    try:
        for place, scope in enumerate(lineage):
            header, old = reader.grants(scope, principal)
            kept = tuple(readcap for readcap in old.readcaps if readcap.block not in blocks)
            left = tuple(chain for chain in old.chains if chain not in chains)
            if header is None or (kept, left) == (old.readcaps, old.chains):
                continue
            held = read_held(reader, withdrawer).identity
            chain = held.chain_for(root, Rights.WRITE, now, lineage=lineage[place:], revocations=reader.revocations)
            draft = Draft(withdrawer.signer, chain, now=now)
            fresh = msgspec.structs.replace(old, readcaps=kept, chains=left)
            draft.put_public(grants_block(scope, principal), scope, fresh, previous=header)
            commit_draft(store, draft, scope, random(REQUEST_SIZE))
            readcaps += len(old.readcaps) - len(kept)
            gone += len(old.chains) - len(left)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    return Withdrawn(readcaps=readcaps, chains=gone)
