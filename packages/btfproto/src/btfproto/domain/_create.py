"""Making a domain: the first commit of a store.

One commit, signed by the root itself: the domain record, the record of the root scope, the root directory, and the
grants of the first machine and of the root (so that the recovery words alone open the tree again). Where it cannot be
made, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from btlib.block import BLOCK_ID_SIZE, KEY_SIZE
from btlib.clocks import CLOCK_SKEW
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import ReadKey, seal_readcap
from btlib.signing import Signer
from btlib.writecaps import Chain, Rights, issue_writecap

from btfproto.errors import FsError
from btfproto.store import Absent, HeadWant, Store

from ._commit import commit_draft
from ._drafts import EMPTY, Draft
from ._records import SCOPE_SIZE, DomainRecord, Grants, ScopeRecord, domain_block, grants_block, scope_block

MACHINE_LIFETIME = 10 * 366 * 86_400  #: seconds; the first machine is the owner's own
SERIAL_SIZE = 16
REQUEST_SIZE = 16

Random = Callable[[int], bytes]
#: (block id, key, unix seconds) → the sealed attributes of version 1 of an empty directory.
DirectoryAttributes = Callable[[bytes, bytes, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedDomain:
    """A new domain. `chain` is what the machine may do: everything, for `MACHINE_LIFETIME`."""

    root: Principal
    scope: bytes
    directory: ReadKey
    chain: Chain


def create_domain(
    store: Store,
    root: Signer,
    machine: PublicKeys,
    *,
    now: int,
    random: Random,
    directory_attributes: DirectoryAttributes,
    lifetime: int = MACHINE_LIFETIME,
) -> CreatedDomain:
    """Make the domain of `root` in a store, and give `machine` all rights in it.

    Raises FsError (EXISTS) where the store holds this domain already, StoreError where it fails.
    """
    principal = root.public.principal
    _require_new(store, principal)
    path = BlockPath(principal)
    scope = random(SCOPE_SIZE)
    directory = ReadKey(block=random(BLOCK_ID_SIZE), key_epoch=0, key=random(KEY_SIZE), path=path)
    chain = issue_writecap(
        root,
        Chain(),
        subject=machine.principal,
        path=path,
        scope=scope,
        rights=Rights.WRITE | Rights.EXECUTE,
        not_before=now - CLOCK_SKEW,
        not_after=now + lifetime,
        may_delegate=True,
        serial=random(SERIAL_SIZE),
    )
    draft = Draft(root, Chain(), now=now)
    draft.put(
        block=directory.block,
        scope=scope,
        content=EMPTY,
        attributes=directory_attributes(directory.block, directory.key, now),
    )
    record = DomainRecord(root=root.public, directory=directory.block, scope=scope)
    draft.put_public(domain_block(principal), scope, record)
    draft.put_public(scope_block(scope), scope, ScopeRecord(scope=scope, parent=None, directory=directory.block))
    for owner, chains in {root.public.principal: (), machine.principal: (chain,)}.items():
        keys = root.public if owner == principal else machine
        readcap = seal_readcap(keys, block=directory.block, key_epoch=directory.key_epoch, key=directory.key, path=path)
        grants = Grants(principal=owner, readcaps=(readcap,), chains=chains)
        draft.put_public(grants_block(scope, owner), scope, grants)
    commit_draft(store, draft, scope, random(REQUEST_SIZE))
    return CreatedDomain(root=principal, scope=scope, directory=directory, chain=chain)


def _require_new(store: Store, root: Principal) -> None:
    if not isinstance(store.read_heads([HeadWant(domain_block(root))])[0], Absent):
        raise FsError(
            Kind.EXISTS, f"this store already holds the domain of {root}", "use it as it is, or another store"
        )
