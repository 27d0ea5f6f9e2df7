"""One session of a publisher: it seals and signs, and numbers what it sealed. Pure; not thread-safe.

A session is new for each publisher on each link and in each process, and kept nowhere: after a crash nothing can be
sealed twice under one number. The number counts the messages to one topic and goes on when the group key changes.
"""

from __future__ import annotations

import msgspec
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.revocations import Revocations
from btlib.signing import Signer
from btlib.writecaps import Rights

from .._frames import Buffer
from ..errors import LocalProtocolError
from ._group_keys import SESSION_SIZE, GroupKey
from ._message import MAX_SEQUENCE, Credential, SessionKey, encode_credential

_LOOK_AGAIN = 60  # seconds after which the publisher's own chain is looked up anew


class _Proof(msgspec.Struct, frozen=True):
    """As whom to publish to a topic."""

    signer: Signer
    credential: bytes
    until: int


class _Place(msgspec.Struct):
    """What this session did on one topic."""

    key: SessionKey
    sequence: int = 0


class Sender:
    """See the module."""

    def __init__(self, topic: BlockPath, identity: Identity, session: bytes) -> None:
        """`session`: fresh random bytes, used nowhere else."""
        if len(session) != SESSION_SIZE:
            raise LocalProtocolError(f"a session is named by {SESSION_SIZE} random bytes")
        self._topic, self._identity, self._session = topic, identity, session
        self._proofs: dict[BlockPath, _Proof] = {}
        self._places: dict[BlockPath, _Place] = {}

    def seal(self, body: Buffer, at: BlockPath, key: GroupKey, now: int, revocations: Revocations) -> bytes:
        """The message to the topic `at`. `now`: unix milliseconds.

        Raises CapabilityError where the identity may not WRITE there, CredentialError, LocalProtocolError.
        """
        if not self._topic.is_prefix_of(at):
            raise LocalProtocolError(f"{at} is not below {self._topic}, which the group key is for")
        proof = self._proof(at, now // 1000, revocations)
        place = self._place(at, key, proof)
        if place.sequence > MAX_SEQUENCE:
            raise LocalProtocolError("this session has used all its numbers", hint="begin another")
        sequence, place.sequence = place.sequence, place.sequence + 1  # used up, whatever comes of it
        return place.key.seal(proof.signer, proof.credential, sequence, now, body)

    def _proof(self, at: BlockPath, now: int, revocations: Revocations) -> _Proof:
        known = self._proofs.get(at)
        if known is None or not known.until - _LOOK_AGAIN <= now < known.until:
            known = self._proofs[at] = self._prove(at, now, revocations)
        return known

    def _prove(self, at: BlockPath, now: int, revocations: Revocations) -> _Proof:
        identity = self._identity
        chain = identity.chain_for(at.root, Rights.WRITE, now, at, revocations=revocations)
        signer: Signer = identity.signer
        if identity.process_keys is not None:
            certified = identity.process_keys.certify(chain, now)
            signer, chain = certified.signer, certified.chain
        credential = encode_credential(Credential(public=signer.public, chain=chain))
        return _Proof(signer, credential, now + _LOOK_AGAIN)

    def _place(self, at: BlockPath, key: GroupKey, proof: _Proof) -> _Place:
        place, publisher = self._places.get(at), proof.signer.public.principal
        if place is None or place.key.key_id != key.id or place.key.publisher != publisher:
            sequence = 0 if place is None else place.sequence
            place = self._places[at] = _Place(SessionKey(key, at, publisher, self._session), sequence)
        return place
