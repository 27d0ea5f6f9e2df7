"""Opening a part of a domain: from an identity and a path to the keys, scopes and chains with which to read and write.

What a principal was given stands in grants records: in the root scope, and in every scope that its own chains name (or
that the caller names). Of its readcaps the one counts whose path is the longest prefix of the path asked for. And a
readcap counts only if whoever granted it could write at that path: otherwise a writer far below could pass off a tree
of his own as the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from btlib.block import Header
from btlib.errors import CapabilityError, IntegrityError, SealError
from btlib.groups import JoinedGroup, open_as_member
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.readcaps import Readcap, ReadKey, open_readcap
from btlib.revocations import Revocations
from btlib.signing import Opener
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError
from btfproto.store import Store

from ._groups import joined_groups, standing
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
    groups: tuple[HeldGroup, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldGroup:
    """A group that an identity is in, and the readcaps that came through it; they are among the keys of all."""

    principal: Principal
    name: str
    keys: tuple[ReadKey, ...] = field(repr=False)


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
        held = read_held(reader, identity, scopes, now)
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


def read_held(reader: DomainReader, identity: Identity, scopes: Iterable[bytes] = (), now: int | None = None) -> Held:
    """All that an identity was given in the scopes where it knows to look, itself and through its groups.

    Without `now`, a membership that has expired counts: the keys that came through it do open.
    Raises FsError, IntegrityError.
    """
    top = [reader.domain().scope, *scopes]
    refused: list[str] = []
    identity, keys = _read_given(reader, identity, identity.opener, top, refused)
    groups = []
    for joined in _join(reader, identity.opener, now, refused):
        found: list[ReadKey] = []
        standing_keys = set(standing(joined.membership, reader.revocations, now))
        for opener in joined.openers:
            if opener.public.principal in standing_keys:
                # Its chains are the members' through writecaps of their own; here they only say where to look.
                found += _read_given(reader, identity, opener, top, refused)[1]
        groups.append(HeldGroup(principal=joined.membership.principal, name=joined.name, keys=tuple(found)))
    keys += [key for group in groups for key in group.keys]
    return Held(keys=tuple(keys), identity=identity, refused=tuple(refused), groups=tuple(groups))


def _read_given(
    reader: DomainReader, identity: Identity, opener: Opener, scopes: Iterable[bytes], refused: list[str]
) -> tuple[Identity, list[ReadKey]]:
    """What was given to the principal of `opener`: the identity with those chains, and the opened readcaps."""
    keys: list[ReadKey] = []
    subject = opener.public.principal
    chains = list(identity.chains)
    waiting = [*scopes, *_scopes_of(reader, chains)]
    seen: set[bytes] = set()
    while waiting:
        scope = waiting.pop(0)
        if scope in seen:
            continue
        seen.add(scope)
        header, grants = reader.grants(scope, subject)
        if header is not None:
            _open_readcaps(reader, opener, header, grants, keys, refused)
        chains += grants.chains
        waiting += _scopes_of(reader, grants.chains)
    return identity.with_chains(*chains), keys


def _scopes_of(reader: DomainReader, chains: Iterable[Chain]) -> list[bytes]:
    return [cap.scope for chain in chains for cap in chain.caps if cap.block_path.root == reader.root]


def _join(reader: DomainReader, opener: Opener, now: int | None, refused: list[str]) -> Iterator[JoinedGroup]:
    """The groups of somebody, opened; what does not open, or count, is told."""
    found, reasons = joined_groups(reader, opener.public.principal, now)
    refused += reasons
    for membership in found:
        try:
            yield open_as_member(opener, membership)
        except (SealError, CapabilityError) as error:
            refused.append(error.message)


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
    reader: DomainReader, opener: Opener, header: Header, grants: Grants, keys: list[ReadKey], refused: list[str]
) -> None:
    for readcap in grants.readcaps:
        try:
            key = open_readcap(opener, readcap)
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
