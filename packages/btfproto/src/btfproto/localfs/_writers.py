"""`Writers`: as whom and under which chain this identity writes in each scope, as headers name it.

An identity with process keys writes as them, under its own chain and one writecap more. That one ages: `record`, which
comes before every commit, sees to it that it is made anew in time, and what it then chose holds for the whole commit.

So does the chain itself. From the last third of its span on, `record` looks now and then whether the identity was given
another, and goes over to it. Once it has ended nothing is written under it any more: what nobody would believe is not
signed. Who writes then is refused, until there is another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from btlib.block import WriterRecord
from btlib.errors import BlocktreeError, CapabilityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.process_keys import Certified
from btlib.signing import Signer
from btlib.writecaps import Chain, Rights

from ..domain import Draft, HeldChains, Volume, pause_before_look, renewal_from
from ..errors import FsError
from ..store import Absent, Committed, Conflict, HeadWant, Store
from ._heads import Heads

#: Seconds between two looks of who may not write: a grant by hand is noticed soon, and a program that goes on trying
#: does not keep the store busy with its questions.
REFUSED_PAUSE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """As whom to write in a scope."""

    certified: Certified
    chain: Chain  #: the identity's own

    @property
    def ends(self) -> float:
        """The last second of the chain."""
        return math.inf if self.chain.last is None else self.chain.last.not_after

    def begins_to_end(self) -> float:
        """From which second on to look for another chain."""
        return math.inf if self.chain.last is None else renewal_from(self.chain.last)


class Writers:
    """Finds chains and puts writer records into the store. Not thread-safe."""

    def __init__(self, store: Store, held: HeldChains, volume: Volume, heads: Heads) -> None:
        self._store = store
        self._held = held
        self._volume = volume
        self._heads = heads
        self._chosen: dict[bytes, Chosen | FsError] = {}
        self._looks: dict[bytes, float] = {}  # when to look next whether there is another chain
        self._ids: dict[bytes, bytes] = {}
        self._recorded: set[bytes] = set()

    def in_use(self) -> list[Chain]:
        """The chains under which is written. From any thread."""
        return [chosen.chain for chosen in list(self._chosen.values()) if isinstance(chosen, Chosen)]

    def forget(self) -> None:
        """Somebody was revoked, perhaps this identity: choose anew."""
        self._chosen.clear()
        self._looks.clear()
        self._ids.clear()

    def require(self, scope: bytes, now: int) -> float:
        """Until which second this identity may write in a scope. Raises FsError (READ_ONLY) with the reason."""
        return self._standing(scope, now).ends

    def id(self, scope: bytes, now: int) -> bytes:
        """The id of the writer record for a scope. Raises FsError."""
        known = self._ids.get(scope)
        if known is None:
            chosen = self._choose(scope, now).certified
            known = self._ids[scope] = WriterRecord(chain=chosen.chain, public=chosen.public).id
        return known

    def signer(self, scope: bytes, now: int) -> Signer:
        """Who signs what is written in a scope under that record. Raises FsError."""
        return self._choose(scope, now).certified.signer

    def record(self, scope: bytes, now: int, request: bytes) -> None:
        """See to it that the store holds the writer record for a scope. Raises FsError, StoreError."""
        chosen = self._standing(scope, now)
        if now >= self._looks.get(scope, math.inf):
            chosen = self._look(scope, now, chosen)
        if chosen.certified.is_due(now):
            self._leave(scope)
            chosen = self._choose(scope, now)
        certified = chosen.certified
        writer_id = self.id(scope, now)
        if writer_id in self._recorded:
            return
        draft = Draft(certified.signer, certified.chain, now=now)
        if isinstance(self._store.read_heads([HeadWant(draft.writer.block)])[0], Absent):
            draft.put_writer(scope)
            answer = self._store.commit(draft.commit(request))
            if not isinstance(answer, Committed | Conflict):  # a conflict: somebody else put the same record there
                raise FsError(Kind.FENCED, "the writer record could not be stored: a lease was taken over")
        self._recorded.add(writer_id)

    def _standing(self, scope: bytes, now: int) -> Chosen:
        """What was chosen, as long as it lasts; else the records are asked, now and then. Raises FsError."""
        known = self._chosen.get(scope) or self._try(scope, now)
        lapsed = isinstance(known, Chosen) and now > known.ends
        if lapsed or (isinstance(known, FsError) and now >= self._looks[scope]):
            try:
                self._held.look(now)
            except BlocktreeError as error:
                raise FsError(error.kind, error.message, error.hint) from error
            self._leave(scope)
            known = self._try(scope, now)
            if isinstance(known, FsError):
                self._looks[scope] = now + REFUSED_PAUSE
        return _chosen(known)

    def _look(self, scope: bytes, now: int, chosen: Chosen) -> Chosen:
        """Whether there is a chain that lasts longer. One that cannot be looked for now is looked for later."""
        self._looks[scope] = now + pause_before_look(chosen.chain, now, REFUSED_PAUSE)
        try:
            self._held.look(now)
            found = self._find(scope, now)
            if isinstance(found, Chain) and found != chosen.chain:
                chosen = self._taken(scope, found, now)
                self._ids.pop(scope, None)
        except BlocktreeError:
            return chosen
        return chosen

    def _leave(self, scope: bytes) -> None:
        self._chosen.pop(scope, None)
        self._ids.pop(scope, None)

    def _choose(self, scope: bytes, now: int) -> Chosen:
        return _chosen(self._chosen.get(scope) or self._try(scope, now))

    def _try(self, scope: bytes, now: int) -> Chosen | FsError:
        """Choose by what is known. Raises FsError that says nothing about a next time."""
        found = self._find(scope, now)
        if isinstance(found, Chain):
            return self._taken(scope, found, now)
        self._chosen[scope] = found
        self._looks[scope] = now
        return found

    def _taken(self, scope: bytes, chain: Chain, now: int) -> Chosen:
        chosen = Chosen(certified=self._certified(chain, now), chain=chain)
        self._chosen[scope] = chosen
        self._looks[scope] = max(chosen.begins_to_end(), self._looks.get(scope, now))
        return chosen

    def _certified(self, chain: Chain, now: int) -> Certified:
        """As whom to write under a chain. Raises FsError, which a later call may not raise again."""
        keys = self._identity.process_keys
        if keys is None:
            return Certified(signer=self._identity.signer, chain=chain, issued=None)
        try:
            return keys.certify(chain, now)
        except BlocktreeError as error:
            raise FsError(error.kind, error.message, error.hint) from error

    @property
    def _identity(self) -> Identity:
        return self._held.identity

    def _find(self, scope: bytes, now: int) -> Chain | FsError:
        """The chain that lasts longest: of those for the attach point, or else of those for the scope."""
        volume = self._volume
        holder = self._identity if volume.chain is None else self._identity.with_chains(volume.chain)
        try:
            lineage = self._heads.lineage(scope)
            try:
                return holder.chain_for(
                    volume.root,
                    Rights.WRITE,
                    now,
                    path=volume.attach_path,
                    lineage=lineage,
                    revocations=self._heads.revocations,
                )
            except CapabilityError:
                return holder.chain_for(
                    volume.root, Rights.WRITE, now, lineage=lineage, revocations=self._heads.revocations
                )
        except CapabilityError as error:
            return self._refusal(volume.read_only_reason or error.message)
        except BlocktreeError as error:
            return FsError(error.kind, error.message, error.hint)

    def _refusal(self, reason: str) -> FsError:
        who, path = self._identity.principal, self._volume.attach_path
        return FsError(
            Kind.READ_ONLY,
            f"{path} can only be read here: {reason}",
            f"ask an owner to run: bt grant {who} {path} write",
        )


def _chosen(known: Chosen | FsError) -> Chosen:
    if isinstance(known, FsError):
        raise FsError(known.kind, known.message, known.hint)
    return known
