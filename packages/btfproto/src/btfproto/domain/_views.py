"""Views: what a store shows to one client, signed, so that another can compare it with what it is shown.

A store can show each client a tree of its own, and each tree verifies: a fork. Neither client notices by itself. Two
that compare do: a version that one saw is there for the other, or a newer one, and of one version there is one header.

    view  = what a store shows now: every block's version and the hash of its header, and the revocation list's
    compare_view   what somebody saw before, against what the store shows here now

Both directions are needed: of two branches that do not overlap, only the one behind misses something. A view is as
honest as its author, who signs it: a member can raise a false alarm under its name, and hide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from btlib.block import BlockId, decode_header, decode_signed_header
from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.labels import Label, tagged_hash
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.revocations import Revocations
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights
from btserde import I64, U8, U64, Fixed, Limits, SerdeError, decode, encode

from btfproto.errors import FsError
from btfproto.store import Head

from ._reader import DomainReader
from ._revoking import SeenList

FORMAT = 1
PAGE = 1024  #: heads of one request
MAX_HEADS = 4_000_000  #: blocks of a view; 57 bytes each
VIEW_LIMIT = 256 * 2**20  #: bytes of an encoded view

_LIMITS = Limits(max_depth=8, max_size=VIEW_LIMIT, max_count=MAX_HEADS)


class ShownHead(msgspec.Struct, frozen=True, kw_only=True):
    """What the store showed of a block. `digest` is of the header, whoever signed it together with what."""

    version: U64
    removed: bool
    digest: Fixed[32]


class ViewTerms(msgspec.Struct, frozen=True, kw_only=True):
    format: U8 = FORMAT
    root: Principal
    author: PublicKeys
    chain: Chain  #: what makes the author a member
    taken: I64
    list_version: U64
    list_digest: Fixed[32]
    heads: dict[BlockId, ShownHead]


class View(msgspec.Struct, frozen=True, kw_only=True):
    terms: ViewTerms
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`forked`: blocks of which the two saw different headers of one version. `behind`: of which the store shows less
    here than it showed there. `gone`: of which it shows nothing; removed ones may be forgotten. `list_fault`: what
    is wrong with the revocation list, a sentence."""

    compared: int
    forked: tuple[bytes, ...]
    behind: tuple[bytes, ...]
    gone: int
    list_fault: str | None

    @property
    def agrees(self) -> bool:
        return not (self.forked or self.behind or self.list_fault)


def take_view(reader: DomainReader, identity: Identity, seen: SeenList, *, now: int) -> bytes:
    """What the store shows now. Raises FsError (LIMIT), CapabilityError (no member), IntegrityError, StoreError."""
    terms = ViewTerms(
        root=reader.root,
        author=identity.public,
        chain=identity.chain_for(reader.root, Rights(0), now, revocations=reader.revocations),
        taken=now,
        list_version=seen.record.version,
        list_digest=seen.digest,
        heads=shown_heads(reader),
    )
    return encode(View(terms=terms, signature=identity.signer.sign(Label.VIEW, encode(terms))))


def read_view(data: bytes, root: Principal, revocations: Revocations, *, now: int) -> ViewTerms:
    """A view by a member of this domain. Raises FsError (INVALID, FORBIDDEN…), SignatureError."""
    try:
        view = decode(data, View, _LIMITS)
    except (SerdeError, CapabilityError) as error:
        raise FsError(Kind.INTEGRITY, f"this is no view, or a damaged one: {error}", "have it made again") from error
    terms = view.terms
    if terms.format != FORMAT or terms.root != root:
        raise FsError(Kind.INVALID, f"this view is of the domain of {terms.root}, or of a newer version")
    terms.author.verify(Label.VIEW, encode(terms), view.signature)
    decision = verify_chain(
        terms.chain, root=root, subject=terms.author.principal, right=Rights(0), now=now, revocations=revocations
    )
    if not decision.allowed:
        raise FsError(decision.kind, f"this view is not a member's: {decision.reason}", "compare with another")
    return terms


def shown_heads(reader: DomainReader) -> dict[bytes, ShownHead]:
    """Of every block in the store. Raises FsError (LIMIT), IntegrityError, StoreError."""
    found: dict[bytes, ShownHead] = {}
    after: bytes | None = None
    while page := reader.store.scan(after, PAGE):
        for head in reader.heads([summary.block for summary in page]):
            if head is not None:
                found[head.block] = _shown(head)
        after = page[-1].block
        if len(found) > MAX_HEADS:
            raise FsError(Kind.LIMIT, f"a view has at most {MAX_HEADS} blocks", "this store is too large for one")
    return dict(sorted(found.items()))


def compare_view(theirs: ViewTerms, here: dict[bytes, ShownHead], seen: SeenList) -> Comparison:
    """Their view, which is older, against what the store shows here (`shown_heads`, asked for after it came). Pure."""
    forked, behind, gone = [], [], 0
    for block, there in theirs.heads.items():
        shown = here.get(block)
        if shown is None:
            gone += 1
        elif shown.version < there.version:
            behind.append(block)
        elif shown.version == there.version and shown != there:
            forked.append(block)
    return Comparison(
        compared=len(theirs.heads),
        forked=tuple(forked),
        behind=tuple(behind),
        gone=gone,
        list_fault=_list_fault(theirs, seen),
    )


def _list_fault(theirs: ViewTerms, seen: SeenList) -> str | None:
    version = seen.record.version
    if version < theirs.list_version:
        return f"the revocation list has version {version} here, and had {theirs.list_version} there: it is withheld"
    if version and version == theirs.list_version and seen.digest != theirs.list_digest:
        return f"there are two revocation lists of version {version}: an owner, or the store, tells each another"
    return None


def _shown(head: Head) -> ShownHead:
    raw = decode_signed_header(head.signed).header
    header = decode_header(raw)
    if (header.block, header.version, header.removed) != (head.block, head.version, head.removed):
        raise IntegrityError(f"the store gave the header of another block or version for {head.block.hex()}")
    return ShownHead(version=header.version, removed=header.removed, digest=tagged_hash(Label.VIEW, bytes(raw)))
