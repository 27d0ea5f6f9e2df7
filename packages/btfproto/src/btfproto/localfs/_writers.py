"""`Writers`: as whom and under which chain this identity writes in each scope, as headers name it.

An identity with process keys writes as them, under its own chain and one writecap more. That one ages: `record`, which
comes before every commit, sees to it that it is made anew in time, and what it then chose holds for the whole commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from btlib.block import WriterRecord
from btlib.errors import BlocktreeError, CapabilityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.process_keys import Certified
from btlib.signing import Signer
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
        self._chosen: dict[bytes, Certified | FsError] = {}
        self._ids: dict[bytes, bytes] = {}
        self._recorded: set[bytes] = set()

    def forget(self) -> None:
        """Somebody was revoked, perhaps this identity: choose anew."""
        self._chosen.clear()
        self._ids.clear()

    def require(self, scope: bytes, now: int) -> None:
        """Return if this identity may write in a scope. Raises FsError (READ_ONLY) with the reason."""
        if type(self._chosen.get(scope)) is not Certified:
            self._choose(scope, now)

    def id(self, scope: bytes, now: int) -> bytes:
        """The id of the writer record for a scope. Raises FsError."""
        known = self._ids.get(scope)
        if known is None:
            chosen = self._choose(scope, now)
            known = self._ids[scope] = WriterRecord(chain=chosen.chain, public=chosen.public).id
        return known

    def signer(self, scope: bytes, now: int) -> Signer:
        """Who signs what is written in a scope under that record. Raises FsError."""
        return self._choose(scope, now).signer

    def record(self, scope: bytes, now: int, request: bytes) -> None:
        """See to it that the store holds the writer record for a scope. Raises FsError, StoreError."""
        chosen = self._choose(scope, now)
        if chosen.is_due(now):
            self._chosen.pop(scope)
            self._ids.pop(scope, None)
            chosen = self._choose(scope, now)
        writer_id = self.id(scope, now)
        if writer_id in self._recorded:
            return
        draft = Draft(chosen.signer, chosen.chain, now=now)
        if isinstance(self._store.read_heads([HeadWant(draft.writer.block)])[0], Absent):
            draft.put_writer(scope)
            answer = self._store.commit(draft.commit(request))
            if not isinstance(answer, Committed | Conflict):  # a conflict: somebody else put the same record there
                raise FsError(Kind.FENCED, "the writer record could not be stored: a lease was taken over")
        self._recorded.add(writer_id)

    def _choose(self, scope: bytes, now: int) -> Certified:
        known = self._chosen.get(scope)
        if known is None:
            found = self._find(scope, now)
            known = self._chosen[scope] = found if isinstance(found, FsError) else self._certified(found, now)
        if isinstance(known, FsError):
            raise FsError(known.kind, known.message, known.hint)
        return known

    def _certified(self, chain: Chain, now: int) -> Certified:
        """As whom to write under a chain. Raises FsError, which a later call may not raise again."""
        keys = self._identity.process_keys
        if keys is None:
            return Certified(signer=self._identity.signer, chain=chain, issued=None)
        try:
            return keys.certify(chain, now)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error

    def _find(self, scope: bytes, now: int) -> Chain | FsError:
        try:
            lineage = self._heads.lineage(scope)
            chain = self._volume.chain
            if chain is None or not self._allows(chain, lineage, now):
                holder = self._identity if chain is None else self._identity.with_chains(chain)
                chain = holder.chain_for(
                    self._volume.root, Rights.WRITE, now, lineage=lineage, revocations=self._heads.revocations
                )
        except CapabilityError as error:
            return self._refusal(self._volume.read_only_reason or error.message)
        except BlocktreeError as error:
            return FsError(error.kind, error.message, error.hint)
        return chain

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
