"""What a chain of writecaps allows: one pure function, whose answer is a decision with its reason.

The stages, in this order; the first that fails decides:

    CHAIN       every cap is issued by the subject of the one before (the first: by the root), and only narrows it
    SIGNATURE   every signature is its issuer's, over the cap and all before it
    SUBJECT     the last cap is the asking principal's (no cap: it is the root itself)
    PATH        the target lies at or below every cap's path
    SCOPE       the block's write scope lies in every cap's scope, and those of later caps inside those of earlier ones
    RIGHT       the last cap has the right
    TIME        now lies in every cap's time
    REVOCATION  no cap and no principal in it was revoked by then

Revocation comes last so that, of several chains, the one that would do but for it comes closest and gives the reason.
Clock, revocations and scopes are arguments. A reader passes the time at which a header was written, a server its own.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from ._dates import date_text
from .errors import CapabilityError
from .kinds import Kind
from .labels import Label
from .paths import BlockPath
from .principals import Principal
from .public_keys import suite_code
from .revocations import NO_REVOCATIONS, Revocations
from .writecaps import Chain, Rights, link_fault

# Few sentences are said again and again, and building one takes as long as all stages of a chain seen before.
_CACHED_SENTENCES = 1024


class Stage(enum.IntEnum):
    """How far a verification came. The later, the less is missing."""

    CHAIN = 0
    SIGNATURE = 1
    SUBJECT = 2
    PATH = 3
    SCOPE = 4
    RIGHT = 5
    TIME = 6
    REVOCATION = 7
    ALLOWED = 8


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `verify_chain`. `kind` is that of the error to raise or send; it means nothing where allowed."""

    allowed: bool
    stage: Stage  #: where it failed, or ALLOWED
    kind: Kind
    reason: str  #: one sentence with the principal, the cap, the path or the date
    not_after: (
        int | None
    )  #: it holds until this unix second, as far as is known now (None: no end); refused: meaningless
    chain: Chain

    @property
    def steps(self) -> tuple[str, ...]:
        """What was considered, a sentence for each cap and one for the outcome. For people."""
        return (*(f"{n}. {cap}" for n, cap in enumerate(self.chain.caps, 1)), self.reason)

    def require(self) -> None:
        """Return if allowed; raise CapabilityError with the reason otherwise."""
        if not self.allowed:
            raise CapabilityError(self.reason, kind=self.kind)


class VerifiedLinks:
    """Remembers verified links, so that a chain seen before costs no public-key operation.

    A link id covers a cap, its issuer's keys, its signature and all caps before it: exactly what was verified, when the
    links up to it had passed the stages CHAIN and SIGNATURE under the root that the first one is issued by.
    Bounded: of two generations the older is dropped. May be shared between threads without a lock.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._half = max(1, limit // 2)
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, link_id: bytes) -> bool:
        return link_id in self._new or link_id in self._old

    def add(self, link_id: bytes) -> None:
        """Note a link whose signature was verified."""
        if len(self._new) >= self._half:
            self._old, self._new = self._new, set()
        self._new.add(link_id)


class _Request(msgspec.Struct, frozen=True):
    """The question, as every stage reads it."""

    chain: Chain
    root: Principal
    subject: Principal
    right: Rights
    now: int
    path: BlockPath | None
    lineage: Sequence[bytes] | None
    revocations: Revocations
    verified: VerifiedLinks | None


def verify_chain(
    chain: Chain,
    *,
    root: Principal,
    subject: Principal,
    right: Rights,
    now: int,
    path: BlockPath | None = None,
    lineage: Sequence[bytes] | None = None,
    revocations: Revocations = NO_REVOCATIONS,
    verified: VerifiedLinks | None = None,
) -> Decision:
    """Whether `chain` gives `subject` the `right` in the domain of `root`, and why (not).

    `path`: the target, for those who know names. `lineage`: the scope ids from the block's own write scope up to the
    root scope of `root`'s domain, for those who do not; found from `root`, never from what the chain claims. Either may
    be left out by whoever does not know it; its stage is then skipped.
    `right` may be several, all of which are needed, or `Rights(0)`: membership. `verified` only saves time.
    """
    request = _Request(chain, root, subject, right, now, path, lineage, revocations, verified)
    for stage, check in _STAGES:
        refusal = check(request)
        if refusal is not None:
            return _refused(chain, stage, *refusal)
    return Decision(
        allowed=True,
        stage=Stage.ALLOWED,
        kind=Kind.FORBIDDEN,
        reason=_allowed_reason(request),
        not_after=_end(request),
        chain=chain,
    )


def _end(request: _Request) -> int | None:
    """The last second: of the last cap, or before the first revocation that is already known and still to come."""
    last = request.chain.last
    if last is None:
        return None
    revoked, root = request.revocations, request.root
    moments = [revoked.serials.get(cap.serial) for cap in request.chain.caps]
    moments += [revoked.principals.get(cap.subject) for cap in request.chain.caps if cap.subject != root]
    return min([last.not_after, *(since - 1 for since in moments if since is not None)])


def _refused(chain: Chain, stage: Stage, kind: Kind, reason: str) -> Decision:
    return Decision(allowed=False, stage=stage, kind=kind, reason=reason, not_after=None, chain=chain)


def _allowed_reason(request: _Request) -> str:
    last = request.chain.last
    if last is None:
        return f"{request.subject} is the root of the domain and may do everything in it"
    place = last.path if request.path is None else request.path
    return _allowed(request.subject, int(request.right), place, len(request.chain.caps), last.not_after)


@lru_cache(_CACHED_SENTENCES)
def _allowed(subject: Principal, right: int, place: str | BlockPath, number: int, not_after: int) -> str:
    return f"{subject} may {_text(Rights(right))} at {place} by writecap {number} until {date_text(not_after)}"


Refusal = tuple[Kind, str]


def _check_links(request: _Request) -> Refusal | None:
    caps, verified = request.chain.caps, request.verified
    if verified is not None and caps and caps[0].issuer.principal == request.root and request.chain.id in verified:
        return None
    previous = None
    for number, cap in enumerate(request.chain.caps, 1):
        fault = link_fault(previous, cap, request.root, number)
        if fault is not None:
            return Kind.FORBIDDEN, fault
        previous = cap
    return None


def _check_signatures(request: _Request) -> Refusal | None:
    ids, verified = request.chain.ids, request.verified
    if verified is not None and ids[-1] in verified:
        return None  # and so are all before it
    for number, cap in enumerate(request.chain.caps, 1):
        if verified is not None and ids[number] in verified:
            continue
        message = Label.WRITECAP.value + ids[number - 1] + cap.terms
        if not suite_code(cap.issuer.suite).verify(cap.issuer.signing, message, cap.signature):
            return Kind.INTEGRITY, f"writecap {number} is not signed by its issuer {cap.issuer.principal}"
        if verified is not None:
            verified.add(ids[number])
    return None


def _check_subject(request: _Request) -> Refusal | None:
    last = request.chain.last
    if last is None and request.subject != request.root:
        return Kind.FORBIDDEN, f"{request.subject} is not the root {request.root} and shows no writecap of its domain"
    if last is not None and request.subject != last.subject:
        return Kind.FORBIDDEN, f"writecap {len(request.chain.caps)} is for {last.subject}, not for {request.subject}"
    return None


def _check_path(request: _Request) -> Refusal | None:
    path, last = request.path, request.chain.last
    if path is None:
        return None
    if path.root != request.root:
        return Kind.FORBIDDEN, f"{path} is not in the domain of {request.root}"
    if last is not None and not last.block_path.is_prefix_of(path):
        number = len(request.chain.caps)
        return (
            Kind.FORBIDDEN,
            f"{path} is not below {last.path}, where writecap {number} gives {last.subject} its rights",
        )
    return None


def _check_scopes(request: _Request) -> Refusal | None:
    lineage = request.lineage
    if lineage is None:
        return None
    above = len(lineage)
    for number, cap in enumerate(request.chain.caps, 1):
        if cap.scope not in lineage:
            return Kind.FORBIDDEN, f"writecap {number} is for write scope {cap.scope.hex()}, and the block is not in it"
        place = lineage.index(cap.scope)
        if place > above:
            return (
                Kind.FORBIDDEN,
                f"write scope {cap.scope.hex()} of writecap {number} lies outside that of the one before",
            )
        above = place
    return None


def _check_right(request: _Request) -> Refusal | None:
    last = request.chain.last
    if last is None:
        return None
    missing = int(request.right) & ~last.rights
    if missing:
        number = len(request.chain.caps)
        return (
            Kind.FORBIDDEN,
            f"writecap {number} does not give {last.subject} the right to {Rights(missing).text} at {last.path}",
        )
    return None


def _check_time(request: _Request) -> Refusal | None:
    now = request.now
    for number, cap in enumerate(request.chain.caps, 1):
        if now > cap.not_after:
            return (
                Kind.EXPIRED,
                f"writecap {number} for {cap.subject} at {cap.path} expired on {date_text(cap.not_after)}",
            )
        if now < cap.not_before:
            begins, at = date_text(cap.not_before), date_text(now)
            return Kind.FORBIDDEN, f"writecap {number} for {cap.subject} at {cap.path} begins on {begins}; it is {at}"
    return None


def _check_revocations(request: _Request) -> Refusal | None:
    revoked, now = request.revocations, request.now
    if not revoked.serials and not revoked.principals:
        return None
    for number, cap in enumerate(request.chain.caps, 1):
        since = revoked.serials.get(cap.serial)
        if since is not None and since <= now:
            return Kind.FORBIDDEN, f"writecap {number} for {cap.subject} was revoked on {date_text(since)}"
        since = revoked.principals.get(cap.subject)
        if since is not None and since <= now and cap.subject != request.root:
            return Kind.FORBIDDEN, f"{cap.subject}, the subject of writecap {number}, was revoked on {date_text(since)}"
    return None


def _text(right: Rights) -> str:
    return right.text if right else "be a member"


_STAGES = (
    (Stage.CHAIN, _check_links),
    (Stage.SIGNATURE, _check_signatures),
    (Stage.SUBJECT, _check_subject),
    (Stage.PATH, _check_path),
    (Stage.SCOPE, _check_scopes),
    (Stage.RIGHT, _check_right),
    (Stage.TIME, _check_time),
    (Stage.REVOCATION, _check_revocations),
)
