"""The revocation list of a domain: where it lies, who may sign it, and what a reader refuses.

    revocation list   derive(REVOKED, root digest)     a public block in the root scope; `/<root>/.bt/revoked` to people

Signed by the root, or by an *owner*: somebody whose chain allows WRITE at `/<root>` and may be delegated. No list names
anything of its signer's chain: nobody revokes himself, or whom his right comes from. A list only grows; nobody takes
back. A reader refuses a list older than one it saw, another one of the same version, and one that lacks what it saw.
Pure; reading and keeping it is elsewhere.
"""

from __future__ import annotations

import msgspec
from btlib.block import Header, WriterRecord, derive_block_id
from btlib.errors import CapabilityError, IntegrityError
from btlib.kinds import Kind
from btlib.labels import Label, tagged_hash
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.revocations import FORMAT, MAX_REVOKED, NO_LIST, RevocationList, growth_fault
from btlib.verification import Decision, Stage, VerifiedLinks, verify_chain
from btlib.writecaps import Chain, Rights
from btserde import I64, Fixed, Limits, encode

LIST_LIMITS = Limits(max_depth=8, max_size=4 * 1024 * 1024, max_count=MAX_REVOKED)

ROLLED_BACK = (
    "do not trust this store: it hides that somebody was revoked. Only if a backup was restored on purpose: "
    "bt accept-restore, and revoke again"
)


def revocations_block(root: Principal) -> bytes:
    """Where the revocation list of a root lies."""
    return derive_block_id(Label.REVOKED, root.digest)


class SeenList(msgspec.Struct, frozen=True, kw_only=True):
    """The newest list that was verified here, and the time that its header gives."""

    record: RevocationList = NO_LIST
    written: I64 = 0
    digest: Fixed[32] = bytes(32)  #: of the record: tells two lists of one version apart


NOTHING_SEEN = SeenList()


def seen_list(record: RevocationList, header: Header) -> SeenList:
    return SeenList(record=record, written=header.written, digest=tagged_hash(Label.REVOKED, encode(record)))


def check_list(
    record: RevocationList,
    header: Header,
    writer: WriterRecord,
    *,
    root: Principal,
    scope: bytes,
    links: VerifiedLinks | None = None,
) -> None:
    """Whether a list may exist, whose header `writer` has signed; `scope` is the root scope.

    Raises IntegrityError, CapabilityError.
    """
    if record.format != FORMAT:
        raise IntegrityError(f"the revocation list is of format {record.format}, not {FORMAT}", kind=Kind.NOT_SUPPORTED)
    if record.version != header.version:
        raise IntegrityError(f"the revocation list of version {record.version} stands under version {header.version}")
    if header.scope != scope:
        raise IntegrityError("the revocation list does not stand in the root scope")
    if root in record.principals:
        raise IntegrityError(f"the revocation list names the root {root}, which cannot be revoked")
    check_revoker(record, header.written, writer, root=root, scope=scope, links=links)


def check_revoker(
    record: RevocationList,
    now: int,
    writer: WriterRecord,
    *,
    root: Principal,
    scope: bytes,
    links: VerifiedLinks | None = None,
) -> None:
    """Whether somebody may sign this list. Raises CapabilityError with the reason."""
    decision = owner_decision(record, now, writer.chain, writer.public.principal, root=root, scope=scope, links=links)
    if not decision.allowed:
        raise CapabilityError(f"the revocation list is not an owner's to sign: {decision.reason}", kind=decision.kind)


def owner_decision(
    record: RevocationList,
    now: int,
    chain: Chain,
    subject: Principal,
    *,
    root: Principal,
    scope: bytes,
    links: VerifiedLinks | None = None,
) -> Decision:
    """Whether `chain` makes `subject` an owner, who may sign this list."""
    decision = verify_chain(
        chain,
        root=root,
        subject=subject,
        right=Rights.WRITE,
        now=now,
        path=BlockPath(root),
        lineage=(scope,),
        verified=links,
    )
    last = chain.last
    if not decision.allowed or last is None:
        return decision
    if not last.may_delegate:
        reason = f"the writecap of {subject} may not be delegated, and who cannot give cannot take away"
        return msgspec.structs.replace(decision, allowed=False, stage=Stage.RIGHT, reason=reason)
    named = [cap for cap in chain.caps if cap.subject in record.principals or cap.serial in record.serials]
    if named:
        reason = f"it names {named[0].subject} or its writecap, from which the right of {subject} to sign it comes"
        return msgspec.structs.replace(decision, allowed=False, stage=Stage.REVOCATION, reason=reason)
    return decision


def check_succession(seen: SeenList, fresh: SeenList) -> None:
    """Whether a list may be believed by somebody who saw another one before. Raises IntegrityError (ROLLBACK)."""
    old, new = seen.record, fresh.record
    if new.version < old.version:
        raise IntegrityError(
            f"the store shows version {new.version} of the revocation list, but version {old.version} was seen before",
            kind=Kind.ROLLBACK,
            hint=ROLLED_BACK,
        )
    if new.version == old.version:
        if new.version and fresh.digest != seen.digest:
            raise IntegrityError(
                f"there are two revocation lists of version {new.version}: this one is not the one seen before",
                kind=Kind.ROLLBACK,
                hint="somebody who may revoke, or the store, tells each of you another; compare: bt access log",
            )
        return
    if fresh.written < seen.written:
        raise IntegrityError(
            f"version {new.version} of the revocation list says it is older than version {old.version}",
            kind=Kind.ROLLBACK,
            hint="an owner with a wrong clock, or somebody revoked who dates back; revoke again with the right clock",
        )
    fault = growth_fault(old, new)
    if fault is not None:
        raise IntegrityError(
            f"version {new.version} of the revocation list is refused: {fault}", kind=Kind.ROLLBACK, hint=ROLLED_BACK
        )
