"""`Writers`: under which chain this identity may write in each scope, as headers name it."""

from __future__ import annotations

from collections.abc import Sequence

from btlib.block import WriterRecord
from btlib.errors import BlocktreeError, CapabilityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from ..domain import Draft, Volume
from ..errors import FsError
from ..store import Absent, Committed, Conflict, HeadWant, Store
from ._heads import Heads


class Writers:
    """Finds chains and puts writer records into the store. Not thread-safe."""

    def __init__(self, store: Store, identity: Identity, volume: Volume, heads: Heads) -> None:
        self._store = store
        self._identity = identity
        self._volume = volume
        self._heads = heads
        self._chosen: dict[bytes, WriterRecord | FsError] = {}
        self._ids: dict[bytes, bytes] = {}
        self._recorded: set[bytes] = set()

    def forget(self) -> None:
        """Somebody was revoked, perhaps this identity: choose anew."""
        self._chosen.clear()
        self._ids.clear()

    def require(self, scope: bytes, now: int) -> None:
        """Return if this identity may write in a scope. Raises FsError (READ_ONLY) with the reason."""
        if type(self._chosen.get(scope)) is not WriterRecord:
            self._choose(scope, now)

    def id(self, scope: bytes, now: int) -> bytes:
        """The id of the writer record for a scope. Raises FsError."""
        known = self._ids.get(scope)
        if known is None:
            known = self._ids[scope] = self._choose(scope, now).id
        return known

    def record(self, scope: bytes, now: int, request: bytes) -> None:
        """See to it that the store holds the writer record for a scope. Raises FsError, StoreError."""
        writer_id = self.id(scope, now)
        if writer_id in self._recorded:
            return
        draft = Draft(self._identity.signer, self._choose(scope, now).chain, now=now)
        if isinstance(self._store.read_heads([HeadWant(draft.writer.block)])[0], Absent):
            draft.put_writer(scope)
            answer = self._store.commit(draft.commit(request))
            if not isinstance(answer, Committed | Conflict):  # a conflict: somebody else put the same record there
                raise FsError(Kind.FENCED, "the writer record could not be stored: a lease was taken over")
        self._recorded.add(writer_id)

    def _choose(self, scope: bytes, now: int) -> WriterRecord:
        known = self._chosen.get(scope)
        if known is None:
            known = self._chosen[scope] = self._find(scope, now)
        if isinstance(known, FsError):
            raise FsError(known.kind, known.message, known.hint)
        return known

    def _find(self, scope: bytes, now: int) -> WriterRecord | FsError:
        try:
            lineage = self._heads.lineage(scope)
            chain = self._volume.chain
            if chain is None or not self._allows(chain, lineage, now):
                chain = self._identity.chain_for(
                    self._volume.root, Rights.WRITE, now, lineage=lineage, revocations=self._heads.revocations
                )
        except CapabilityError as error:
            return self._refusal(self._volume.read_only_reason or error.message)
        except BlocktreeError as error:
            return FsError(error.kind, error.message, error.hint)
        return WriterRecord(chain=chain, public=self._identity.public)

    def _allows(self, chain: Chain, lineage: Sequence[bytes], now: int) -> bool:
        return verify_chain(
            chain,
            root=self._volume.root,
            subject=self._identity.principal,
            right=Rights.WRITE,
            now=now,
            lineage=lineage,
            revocations=self._heads.revocations,
        ).allowed

    def _refusal(self, reason: str) -> FsError:
        who, path = self._identity.principal, self._volume.attach_path
        return FsError(
            Kind.READ_ONLY,
            f"{path} can only be read here: {reason}",
            f"ask an owner to run: bt grant {who} {path} write",
        )
