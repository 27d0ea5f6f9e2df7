"""Opening a part of a domain: from an identity and a path to the keys, scopes and chains with which to read and write.

What a principal was given stands in grants records: in the root scope, and in every scope that its own chains name (or
that the caller names). Of its readcaps the one counts whose path is the longest prefix of the path asked for. And a
readcap counts only if whoever granted it could write at that path: otherwise a writer far below could pass off a tree
of his own as the root.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from btlib.block import Header
from btlib.errors import CapabilityError, IntegrityError, SealError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.readcaps import Readcap, ReadKey, open_readcap
from btlib.revocations import Revocations
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError
from btfproto.store import Store

from ._reader import DomainReader, RevocationSource
from ._records import Grants


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A directory whose key is known, and the way from there to the attach point. The key does not show."""

    root: Principal
    path: BlockPath  #: of `directory`
    directory: bytes
    key: bytes = field(repr=False)
    key_epoch: int
    scope: bytes  #: of `directory`
    lineage: tuple[bytes, ...]  #: from `scope` up to the root scope
    rest: tuple[str, ...]  #: the names still to walk, from `directory` to the attach point
    chain: Chain | None  #: what allows writing at the attach point; None: read-only
    read_only_reason: str = ""  #: why there is no chain

    @property
    def attach_path(self) -> BlockPath:
        return BlockPath(self.root, (*self.path.names, *self.rest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Everything that an identity holds in a domain: opened readcaps, and itself with all its chains."""

    keys: tuple[ReadKey, ...] = field(repr=False)
    identity: Identity
    refused: tuple[str, ...] = ()  #: why some readcaps do not count, a sentence each


def open_volume(
    store: Store,
    identity: Identity,
    path: BlockPath,
    now: int,
    *,
    scopes: Iterable[bytes] = (),
    revocations: RevocationSource | None = None,
) -> Volume:
    """The volume to attach at `path`.

    Raises FsError: NOT_FOUND (no such domain here), FORBIDDEN (no readcap, says what to ask for), INTEGRITY.
    """
    reader = DomainReader(store, path.root, revocations)
    try:
        held = read_held(reader, identity, scopes)
        key = best_key(held, path)
        if key is None:
            raise no_readcap(identity.principal, path, held.refused)
        header = directory_header(reader, key)
        chain, reason = _write_chain(held.identity, path, now, reader.revocations)
        lineage = reader.lineage(header.scope)
    except (IntegrityError, CapabilityError) as error:
        raise FsError(error.kind, error.message, error.hint) from error
    return Volume(
        root=path.root,
        path=key.path,
        directory=key.block,
        key=key.key,
        key_epoch=key.key_epoch,
        scope=header.scope,
        lineage=lineage,
        rest=path.names[len(key.path.names) :],
        chain=chain,
        read_only_reason=reason,
    )


def read_held(reader: DomainReader, identity: Identity, scopes: Iterable[bytes] = ()) -> Held:
    """All that an identity was given in the scopes where it knows to look. Raises FsError, IntegrityError."""
    keys: list[ReadKey] = []
    refused: list[str] = []
    waiting = [reader.domain().scope, *scopes]
    seen: set[bytes] = set()
    while waiting:
        scope = waiting.pop(0)
        if scope in seen:
            continue
        seen.add(scope)
        header, grants = reader.grants(scope, identity.principal)
        if header is not None:
            _open_readcaps(reader, identity, header, grants, keys, refused)
        identity = identity.with_chains(*grants.chains)
        waiting += [cap.scope for chain in identity.chains for cap in chain.caps if cap.block_path.root == reader.root]
    return Held(keys=tuple(keys), identity=identity, refused=tuple(refused))


def best_key(held: Held, path: BlockPath) -> ReadKey | None:
    """The key whose path is the longest prefix of `path`; of equals the newest epoch."""
    fitting = [key for key in held.keys if key.path.is_prefix_of(path)]
    return max(fitting, key=lambda key: (len(key.path.names), key.key_epoch), default=None)


def directory_header(reader: DomainReader, key: ReadKey) -> Header:
    """The verified header of the directory that a readcap opens. Raises FsError, IntegrityError."""
    head = reader.head(key.block)
    if head is None or head.removed:
        raise FsError(Kind.STALE, f"the directory {key.path} that was granted is gone", "ask for a new grant")
    header = reader.verify(head)
    if header.key_epoch != key.key_epoch:
        raise FsError(
            Kind.STALE,
            f"the key of {key.path} was changed (epoch {header.key_epoch}; the grant is for {key.key_epoch})",
            "ask for a new grant",
        )
    return header


def no_readcap(principal: Principal, path: BlockPath, refused: Iterable[str] = ()) -> FsError:
    """The refusal of somebody who may not read, with what to ask for."""
    because = "".join(f" ({reason})" for reason in refused)
    return FsError(
        Kind.FORBIDDEN,
        f"{principal} holds no read capability for {path}{because}",
        f"ask an owner to run: bt grant {principal} {path} read",
    )


def _open_readcaps(
    reader: DomainReader, identity: Identity, header: Header, grants: Grants, keys: list[ReadKey], refused: list[str]
) -> None:
    for readcap in grants.readcaps:
        try:
            key = open_readcap(identity.opener, readcap)
            _check_granter(reader, header, readcap, key)
        except (SealError, CapabilityError) as error:
            refused.append(error.message)
        else:
            keys.append(key)


def _check_granter(reader: DomainReader, header: Header, readcap: Readcap, key: ReadKey) -> None:
    """Whether the granter could write where the readcap claims to be. Raises CapabilityError."""
    writer = reader.writer(header.chain)
    verify_chain(
        writer.chain,
        root=reader.root,
        subject=writer.public.principal,
        right=Rights.WRITE,
        now=header.written,
        path=key.path,
        revocations=reader.revocations,
    ).require()
    if not key.path.names and readcap.block != reader.domain().directory:
        raise CapabilityError("a readcap for the root directory names another block than the domain record")


def _write_chain(identity: Identity, path: BlockPath, now: int, revocations: Revocations) -> tuple[Chain | None, str]:
    try:
        return identity.chain_for(path.root, Rights.WRITE, now, path=path, revocations=revocations), ""
    except CapabilityError as error:
        return None, error.message
