"""`VolumeAttacher`: decides by the grants of a domain who may attach where, and serves it from the server's own keys.

A principal may read a directory if it, or a group that it is in, was granted a readcap for it or for one above it, by
somebody who could write there, and of the present key epoch. It may write if one of its chains (shown on the link, or
granted) allows WRITE at the path and in the directory's write scope; and if the server itself may, since it signs what
its clients write. Who was revoked, or was granted something by somebody revoked before, may not.
Rights are those at the attach point; a right that begins further below is not noticed here.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.readcaps import Readcap
from btlib.verification import Decision, verify_chain
from btlib.writecaps import Chain, Rights
from bttp import Peer

from btfproto.domain import DomainReader, Volume, joined_groups, no_readcap, open_volume, standing
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, Keeper, LocalFs
from btfproto.provider import FileKind
from btfproto.revocations import RevocationView
from btfproto.store import Store

from ._attachment import Attachment

THIN = FsOptions(shared=True)  #: end-to-end clients write to the same store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One directory on the way to the attach point."""

    path: BlockPath
    inode: int
    block: bytes
    key_epoch: int
    scope: bytes


class VolumeAttacher:
    """An `Attacher`. Thread-safe. `close` shuts the file systems down; everything is committed then."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        *,
        options: FsOptions = THIN,
        clock: Callable[[], float] = time.time,
        revocations: RevocationView | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """`identity` is the server's: what it cannot read itself it cannot serve. `revocations`: the domain's, where
        somebody keeps them new; else they are asked for at each attach. `keeper` takes what cannot be committed.
        """
        self._store = store
        self._identity = identity
        self._options = options
        self._clock = clock
        self._revocations = revocations
        self._keeper = keeper
        self._lock = threading.Lock()
        self._volumes: dict[BlockPath, tuple[LocalFs, Volume]] = {}
        self._replaced: list[LocalFs] = []

    def __call__(self, path: BlockPath, peer: Peer, read_only: bool) -> Attachment:
        """Raises FsError: FORBIDDEN with what to ask for, NOT_FOUND, NOT_DIRECTORY."""
        fs, volume = self._volume(path)
        steps, missing = _walk(fs, volume, path)
        now = int(self._clock())
        try:
            granted = _Granted(DomainReader(self._store, path.root, self._revocations), steps, now)
            readable = [granted.may_read(principal) for principal in peer.principals]
            if not any(readable):
                raise no_readcap(peer.principals[0], path, granted.refused) if peer.principals else _anonymous(path)
            if missing is not None:
                raise missing
            decision = granted.may_write(peer, path)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error
        why_not = decision.reason if not decision.allowed else volume.read_only_reason
        return Attachment(
            provider=fs,
            inode=steps[-1].inode,
            path=path,
            writable=decision.allowed and volume.chain is not None and not read_only,
            writable_until=decision.not_after,
            why_not=why_not or "it was attached read-only",
        )

    def close(self) -> None:
        """Commit and shut down all file systems; idempotent. Raises FsError where one could not commit."""
        with self._lock:
            opened = [*(fs for fs, _ in self._volumes.values()), *self._replaced]
            self._volumes, self._replaced = {}, []
        with ExitStack() as stack:  # all of them, also where one cannot commit
            for fs in opened:
                stack.callback(fs.shutdown)

    def _volume(self, path: BlockPath) -> tuple[LocalFs, Volume]:
        """The file system that serves a path: one for each of the server's own readcaps."""
        try:
            now = int(self._clock())
            found = open_volume(self._store, self._identity, path, now, revocations=self._revocations)
        except FsError as error:
            if error.kind is not Kind.FORBIDDEN:
                raise
            raise FsError(
                Kind.FORBIDDEN,
                f"this server holds no key for {path}",
                f"mount it end-to-end, or ask an owner to run: bt grant {self._identity.principal} {path} read",
            ) from error
        with self._lock:
            known = self._volumes.get(found.path)
            if known is None or known[1].directory != found.directory or known[1].key_epoch != found.key_epoch:
                volume = replace(found, rest=())
                fresh = LocalFs(
                    self._store,
                    self._identity,
                    volume,
                    options=self._options,
                    revocations=self._revocations,
                    keeper=self._keeper,
                )
                if known is not None:
                    self._replaced.append(known[0])  # its sessions go on with what they have open
                known = self._volumes[found.path] = fresh, volume
        return known


class _Granted:
    """What was granted at the directories on the way to an attach point."""

    def __init__(self, reader: DomainReader, steps: list[_Step], now: int) -> None:
        self._reader = reader
        self._now = now
        self._revocations = reader.revocations
        self.refused: list[str] = []  #: why somebody may not read, beside not having been granted it
        self._steps = {step.block: step for step in steps}
        self._lineage = reader.lineage(steps[-1].scope)
        self._chains: list[tuple[Principal, Chain]] = []

    def may_read(self, principal: Principal) -> bool:
        """Whether a readcap counts; notes the granted chains on the way."""
        reason = self._revocations.revoked(principal, self._now)
        if reason is not None:
            self.refused.append(reason)
            return False
        own, chains = self._granted_to(principal)
        self._chains += [(principal, chain) for chain in chains]
        return own or self._may_read_through_a_group(principal)

    def _may_read_through_a_group(self, principal: Principal) -> bool:
        """Whether a group that it is in may. Writing through a group is by writecaps that each member holds itself."""
        joined, refused = joined_groups(self._reader, principal, self._now)
        self.refused += refused
        holders = [holder for one in joined for holder in standing(one, self._revocations, self._now)]
        return any(self._granted_to(holder)[0] for holder in holders)

    def _granted_to(self, holder: Principal) -> tuple[bool, list[Chain]]:
        """Whether a readcap of a principal counts, and the chains that it was granted."""
        readable = False
        chains: list[Chain] = []
        for scope in self._lineage:
            header, grants = self._reader.grants(scope, holder)
            chains += grants.chains
            if header is not None:
                counts = [self._counts(readcap, header.chain, header.written) for readcap in grants.readcaps]
                readable = readable or any(counts)
        return readable, chains

    def may_write(self, peer: Peer, path: BlockPath) -> Decision:
        """The best decision over the chains that the peer showed and those that it was granted; of several that allow
        it, the one that holds longest."""
        decisions = [peer.decide(Rights.WRITE, path, self._now, lineage=self._lineage, revocations=self._revocations)]
        decisions += [self._decide(principal, chain, path) for principal, chain in self._chains]
        return max(decisions, key=lambda found: (found.stage, math.inf if found.not_after is None else found.not_after))

    def _counts(self, readcap: Readcap, writer_id: bytes, written: int) -> bool:
        """A readcap proves nothing by itself: whoever recorded it must have been able to write at its directory."""
        step = self._steps.get(readcap.block)
        if step is None or readcap.key_epoch != step.key_epoch:
            return False
        writer = self._reader.writer(writer_id)
        return verify_chain(
            writer.chain,
            root=self._reader.root,
            subject=writer.public.principal,
            right=Rights.WRITE,
            now=written,
            path=step.path,
            lineage=self._reader.lineage(step.scope),
            revocations=self._revocations,
        ).allowed

    def _decide(self, principal: Principal, chain: Chain, path: BlockPath) -> Decision:
        return verify_chain(
            chain,
            root=self._reader.root,
            subject=principal,
            right=Rights.WRITE,
            now=self._now,
            path=path,
            lineage=self._lineage,
            revocations=self._revocations,
        )


def _walk(fs: LocalFs, volume: Volume, path: BlockPath) -> tuple[list[_Step], FsError | None]:
    """The directories from the volume's down to `path`; with the error, if one of them is missing."""
    place, inode = volume.path, fs.root
    steps = [_step(fs, place, inode)]
    for name in path.names[len(volume.path.names) :]:
        try:
            attributes = fs.lookup(inode, name)
        except FsError as error:
            return steps, error
        place, inode = place.child(name), attributes.inode
        if attributes.kind is not FileKind.DIRECTORY:
            return steps, FsError(Kind.NOT_DIRECTORY, f"{place} is no directory")
        steps.append(_step(fs, place, inode))
    return steps, None


def _step(fs: LocalFs, path: BlockPath, inode: int) -> _Step:
    stored = fs.inode_of(inode).store
    return _Step(path=path, inode=inode, block=stored.block, key_epoch=stored.key_epoch, scope=stored.scope)


def _anonymous(path: BlockPath) -> FsError:
    return FsError(Kind.UNAUTHENTICATED, f"an anonymous client cannot attach {path}", "connect with an identity")
