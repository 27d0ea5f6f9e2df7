"""Coming back into a domain with the root's keys alone: no machine is left, but a store is.

The root finds its domain record, opens the root directory with its own readcap, and grants everything to a new
machine, as at the making of the domain. Nothing is taken from the machines that were there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from btlib.block import SectorCipher
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import ReadKey
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError
from btfproto.store import Store

from ._create import MACHINE_LIFETIME, Random
from ._grant import grant_access
from ._open import best_key, directory_header, no_readcap, read_held
from ._reader import DomainReader, unverified_header
from ._records import domain_block

SAMPLE = 64  #: blocks looked at to find whose store it is: any one of a domain names its root


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredDomain:
    """What the root gave to the new machine: `chain` is everything, for `MACHINE_LIFETIME`."""

    root: Principal
    directory: ReadKey
    chain: Chain


def find_root(store: Store, candidates: Sequence[Identity]) -> Identity:
    """Which of some key sets is the root of a domain in this store.

    Raises FsError: UNAUTHENTICATED where the store is that of another root, NOT_FOUND where it is that of none,
    INTEGRITY where the domain record is not what the root signed.
    """
    for candidate in candidates:
        if _holds(store, candidate.principal):
            try:
                DomainReader(store, candidate.principal).domain()
            except IntegrityError as error:
                raise FsError(error.kind, error.message, error.hint) from error
            return candidate
    tried = " or ".join(str(candidate.principal) for candidate in candidates)
    others = ", ".join(str(root) for root in domains_in(store))
    if others:
        raise FsError(
            Kind.UNAUTHENTICATED,
            f"this store holds the domain of {others}, and these keys are of another root ({tried})",
            "use the words of that domain, or the store of this one",
        )
    raise FsError(Kind.NOT_FOUND, f"this store holds no domain at all, so none of {tried}", "give the right store")


def domains_in(store: Store) -> tuple[Principal, ...]:
    """The roots of domains in a store, as a sample of its blocks names them, in order of their text."""
    blocks = [summary.block for summary in store.scan(None, SAMPLE) if not summary.removed]
    reader = DomainReader(store, Principal(digest=bytes(32)))
    found: set[Principal] = set()
    for head in reader.heads(blocks):
        try:
            writer = None if head is None else reader.writer(unverified_header(head).chain)
        except (IntegrityError, CapabilityError):
            continue  # a damaged block names nobody; the others do
        if writer is not None:
            found.add((writer.chain.caps[0].issuer if writer.chain.caps else writer.public).principal)
    return tuple(sorted((root for root in found if _holds(store, root)), key=str))


def recover_domain(
    store: Store,
    root: Identity,
    machine: PublicKeys,
    *,
    now: int,
    random: Random,
    lifetime: int = MACHINE_LIFETIME,
) -> RecoveredDomain:
    """Give `machine` all rights in the domain of `root`, as `create_domain` did to the first one.

    A repetition with another machine does it again for that one. Raises FsError: FORBIDDEN (the root's readcap is not
    there), INTEGRITY, CONFLICT; StoreError where the store fails.
    """
    path = BlockPath(root.principal)
    directory = _root_directory(store, root, path)
    granted = grant_access(
        store,
        root,
        directory,
        machine,
        read=True,
        rights=Rights.WRITE | Rights.EXECUTE,
        now=now,
        not_after=now + lifetime,
        may_delegate=True,
        random=random,
    )
    if granted.chain is None:
        raise FsError(Kind.INTERNAL, f"no chain was issued to {machine.principal}")
    return RecoveredDomain(root=root.principal, directory=directory, chain=granted.chain)


def _root_directory(store: Store, root: Identity, path: BlockPath) -> ReadKey:
    """The root directory's key, once it has opened something that the directory's writer sealed."""
    reader = DomainReader(store, root.principal)
    try:
        held = read_held(reader, root)
        key = best_key(held, path)
        if key is None:
            raise no_readcap(root.principal, path, held.refused)
        header = directory_header(reader, key)
        SectorCipher(key.key, header.block, header.key_epoch).open_attributes(header.version, header.attributes)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    return key


def _holds(store: Store, root: Principal) -> bool:
    return DomainReader(store, root).head(domain_block(root)) is not None
