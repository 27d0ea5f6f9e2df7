"""Endpoint records in the tree: reading those of a path and all above it, and writing one's own.

They lie in public blocks that everyone finds by the path. Who wrote a block proves nothing about the records in it and
is not checked: each proves itself. Writing needs WRITE in the block's scope, as for any block.
"""

from __future__ import annotations

from collections.abc import Callable

from btlib.block import Header
from btlib.errors import BlocktreeError, CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.writecaps import Chain, Rights

from ..domain import DomainReader, Draft, commit_draft
from ..domain._create import REQUEST_SIZE
from ..domain._reader import unverified_header
from ..errors import FsError
from ._records import (
    MAX_SERVERS,
    RecordSet,
    SignedRecord,
    check_record,
    endpoints_block,
    read_set,
    readable,
)
from ._resolve import prefixes

ATTEMPTS = 3  #: to write, where another server of the same path writes at the same moment

Published = dict[BlockPath, tuple[SignedRecord, ...]]


def read_published(reader: DomainReader, target: BlockPath) -> Published:
    """The records of a path and of all above it, unverified, by path. Raises StoreError.

    A block that is no set of records counts as none: whoever broke it can hide what it held, and no more.
    """
    places = list(prefixes(target))
    found: Published = {}
    for place, head in zip(places, reader.heads([endpoints_block(place) for place in places]), strict=True):
        if head is not None and not head.removed:
            try:
                records = _records(reader.content(head))
            except IntegrityError:
                continue
            if records:
                found[place] = records
    return found


def publish_record(
    reader: DomainReader,
    identity: Identity,
    path: BlockPath,
    make: Callable[[SignedRecord | None], SignedRecord],
    *,
    server: BlockPath,
    now: int,
    random: Callable[[int], bytes],
) -> SignedRecord:
    """Put the record that `make(the one before)` gives in the place of the server's last one, durably.

    Those of other servers that are not good any more go. Raises FsError (CONFLICT, LIMIT), and CapabilityError where
    the identity may not write.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _publish(reader, identity, path, make, server, now, random)
        except FsError as error:
            if error.kind is not Kind.CONFLICT:
                raise
    return _publish(reader, identity, path, make, server, now, random)


def _publish(
    reader: DomainReader,
    identity: Identity,
    path: BlockPath,
    make: Callable[[SignedRecord | None], SignedRecord],
    server: BlockPath,
    now: int,
    random: Callable[[int], bytes],
) -> SignedRecord:
    head = reader.head(endpoints_block(path))
    header = None if head is None else unverified_header(head)
    stored = () if head is None or head.removed else _records(reader.content(head))
    records = list(readable(stored))
    own = [(record.issued, signed) for record, signed in records if record.server == server]
    others = [signed for record, signed in records if record.server != server and _is_good(reader, path, signed, now)]
    fresh = make(max(own, key=lambda each: each[0])[1] if own else None)
    if len(others) >= MAX_SERVERS:
        raise FsError(Kind.LIMIT, f"{len(others)} servers have endpoint records at {path}; {MAX_SERVERS} is the limit")
    scope, chain = _scope(reader, identity, header, now)
    draft = Draft(identity.signer, chain, now=now)
    draft.put_public(endpoints_block(path), scope, RecordSet(records=(*others, fresh)), previous=header)
    commit_draft(reader.store, draft, scope, random(REQUEST_SIZE))
    return fresh


def _scope(reader: DomainReader, identity: Identity, header: Header | None, now: int) -> tuple[bytes, Chain]:
    """Where the block lies, or the first scope in which the identity may write; and the chain for it."""
    own = [chain.last.scope for chain in identity.chains if chain.last is not None]
    scopes = [reader.domain().scope, *own] if header is None else [header.scope]
    refusal: CapabilityError | None = None
    for scope in scopes:
        try:
            lineage = reader.lineage(scope)
            right = Rights.WRITE
            return scope, identity.chain_for(reader.root, right, now, lineage=lineage, revocations=reader.revocations)
        except CapabilityError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _is_good(reader: DomainReader, path: BlockPath, signed: SignedRecord, now: int) -> bool:
    try:
        check_record(signed, path=path, now=now, revocations=reader.revocations)
    except BlocktreeError:
        return False
    return True


def _records(content: bytes) -> tuple[SignedRecord, ...]:
    return read_set(content).records[:MAX_SERVERS]
