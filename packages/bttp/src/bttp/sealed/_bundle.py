"""Key bundles: how a keeper hands a group key to the members of its topic. Pure.

    bundle = terms ‖ keeper's public keys ‖ chain ‖ signature                               encoded by btserde
    terms  = format U8 ‖ topic ‖ epoch U32 ‖ key id (32) ‖ not_before I64 ‖ not_after I64 ‖ members
    member = principal ‖ sealed          what a readcap of the group key seals: block = topic id[:16], key epoch = epoch
    signature by the keeper over         TOPIC_KEYS label ‖ SHA-256(terms)

A seal does not say who made it, and whoever seals under a stranger's key tells the stranger everything; so the keeper
signs. A keeper may WRITE at the topic and delegate that: who lets others publish also says who reads. A bundle is no
secret: anybody may keep it and pass it on; it shows who the members are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

import msgspec
from btlib.errors import BlocktreeError, PathError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import BLOCK_SIZE, Readcap, open_readcap, seal_readcap
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.signing import Opener
from btlib.verification import VerifiedLinks
from btlib.writecaps import Chain, Rights
from btserde import I64, U8, U32, DecodeError, Encoder, Fixed, Limits, decode

from ._group_keys import GroupKey, topic_id
from ._writers import decide_writing
from .errors import TopicKeyError

FORMAT = 1
MAX_MEMBERS = 8192  #: a rotation seals for each: some seconds, and 3 MB of a bundle
MAX_BUNDLE = 16 * 1024 * 1024  #: bytes; members with post-quantum keys take 1.5 kB each
CLOCK_SKEW = 300  #: seconds by which clocks of one domain may differ

_LIMITS = Limits(max_size=MAX_BUNDLE, max_count=MAX_MEMBERS)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member's copy of the key."""

    subject: Principal
    sealed: bytes


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the keeper signs."""

    format: U8 = FORMAT
    topic: str
    epoch: U32
    key_id: Annotated[bytes, Fixed[32]]
    not_before: I64
    not_after: I64
    members: tuple[Member, ...]  #: ascending by their principals

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise TopicKeyError(f"there is no format {self.format} of key bundles", kind=Kind.NOT_SUPPORTED)
        subjects = [member.subject.digest for member in self.members]
        if any(a >= b for a, b in pairwise(subjects)):
            raise TopicKeyError("the members of a key bundle do not ascend", kind=Kind.PROTOCOL)
        if self.not_before > self.not_after:
            raise TopicKeyError("a group key cannot end before it begins", kind=Kind.PROTOCOL)


class KeyBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A group key for all members, as the keeper gives it out. Unverified until `open_bundle`."""

    terms: Terms
    keeper: PublicKeys
    chain: Chain
    signature: bytes

    @classmethod
    def decode(cls, data: bytes | memoryview) -> KeyBundle:
        """From its encoding. Raises TopicKeyError."""
        try:
            return decode(data, cls, _LIMITS)
        except (DecodeError, BlocktreeError) as error:
            raise TopicKeyError(f"not a key bundle: {error}", kind=Kind.PROTOCOL) from error

    def encode(self) -> bytes:
        return _BUNDLE.encode(self)


_BUNDLE: Encoder[KeyBundle] = Encoder(KeyBundle)
_TERMS: Encoder[Terms] = Encoder(Terms)


def issue_bundle(keeper: Identity, key: GroupKey, members: Iterable[PublicKeys]) -> KeyBundle:
    """The bundle of a key for these members, of whom none is there twice.

    Raises CapabilityError where the keeper's chains do not make it one, TopicKeyError for too many members.
    """
    everyone = sorted(set(members), key=lambda public: public.principal.digest)
    if len(everyone) > MAX_MEMBERS:
        raise TopicKeyError(f"a topic has at most {MAX_MEMBERS} members, not {len(everyone)}", kind=Kind.LIMIT)
    chain = keeper.chain_for(key.topic.root, Rights.WRITE, key.not_before, key.topic)
    _check_may_keep(chain, keeper.principal, key.topic)
    terms = Terms(
        topic=str(key.topic),
        epoch=key.epoch,
        key_id=key.id,
        not_before=key.not_before,
        not_after=key.not_after,
        members=tuple(_sealed_for(public, key) for public in everyone),
    )
    signature = keeper.signer.sign(Label.TOPIC_KEYS, _digest(terms))
    return KeyBundle(terms=terms, keeper=keeper.public, chain=chain, signature=signature)


def open_bundle(
    bundle: KeyBundle,
    topic: BlockPath,
    opener: Opener,
    now: int,
    *,
    revocations: Revocations = NO_REVOCATIONS,
    verified: VerifiedLinks | None = None,
) -> GroupKey:
    """The group key of `topic` for this member. Raises TopicKeyError with the reason; nothing of it is used then."""
    terms = bundle.terms
    if terms.topic != str(topic):
        raise TopicKeyError(f"these keys are of another topic than {topic}", kind=Kind.INTEGRITY)
    _check_keeper(bundle, topic, now, revocations, verified)
    if now > terms.not_after:
        raise TopicKeyError(f"the keys of epoch {terms.epoch} of {topic} have ended", kind=Kind.EXPIRED, hint=_FETCH)
    if now + CLOCK_SKEW < terms.not_before:
        raise TopicKeyError(f"the keys of epoch {terms.epoch} of {topic} begin later", kind=Kind.INVALID)
    key = GroupKey(
        topic=topic,
        epoch=terms.epoch,
        key=_open_own(bundle, topic, opener),
        not_before=terms.not_before,
        not_after=terms.not_after,
    )
    if key.id != terms.key_id:
        raise TopicKeyError(f"the keeper of {topic} gave this member another key than it says", kind=Kind.INTEGRITY)
    return key


_FETCH = "fetch newer ones from the keeper of the topic"


def _sealed_for(public: PublicKeys, key: GroupKey) -> Member:
    block = topic_id(key.topic)[:BLOCK_SIZE]
    readcap = seal_readcap(public, block=block, key_epoch=key.epoch, key=key.key, path=key.topic)
    return Member(subject=public.principal, sealed=readcap.sealed)


def _check_keeper(
    bundle: KeyBundle, topic: BlockPath, now: int, revocations: Revocations, verified: VerifiedLinks | None
) -> None:
    keeper = bundle.keeper.principal
    decision = decide_writing(bundle.chain, keeper, topic, now, revocations, verified)
    if not decision.allowed:
        raise TopicKeyError(f"{keeper} is no keeper of {topic}: {decision.reason}", kind=decision.kind)
    _check_may_keep(bundle.chain, keeper, topic)
    try:
        bundle.keeper.verify(Label.TOPIC_KEYS, _digest(bundle.terms), bundle.signature)
    except BlocktreeError as error:
        raise TopicKeyError(f"these keys of {topic} are not signed by {keeper}", kind=Kind.INTEGRITY) from error


def _check_may_keep(chain: Chain, keeper: Principal, topic: BlockPath) -> None:
    if chain.last is not None and not chain.last.may_delegate:
        text = f"{keeper} is no keeper of {topic}: its writecap there may not be delegated"
        raise TopicKeyError(text, kind=Kind.FORBIDDEN, hint="let the keys be made by who may delegate there")


def _open_own(bundle: KeyBundle, topic: BlockPath, opener: Opener) -> bytes:
    own, terms = opener.public.principal, bundle.terms
    sealed = next((member.sealed for member in terms.members if member.subject == own), None)
    if sealed is None:
        text = f"the keys of epoch {terms.epoch} of {topic} are not for {own}"
        raise TopicKeyError(text, kind=Kind.FORBIDDEN, hint="ask the keeper of the topic to let it in")
    block = topic_id(topic)[:BLOCK_SIZE]
    try:
        opened = open_readcap(opener, Readcap(subject=own, block=block, key_epoch=terms.epoch, sealed=sealed))
    except (BlocktreeError, PathError) as error:
        text = f"the key of epoch {terms.epoch} of {topic} does not open for {own}"
        raise TopicKeyError(text, kind=Kind.INTEGRITY) from error
    if opened.path != topic:
        raise TopicKeyError(f"what opens as the key of {topic} is another's", kind=Kind.INTEGRITY)
    return opened.key


def _digest(terms: Terms) -> bytes:
    return hashlib.sha256(_TERMS.encode(terms)).digest()
