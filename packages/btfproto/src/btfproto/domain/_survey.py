"""All public records of a domain that a store holds, verified: for the views of who may do what, and since when.

It reads the head of every block there is, some 100,000 a second where the store is on this machine; their contents only
where they are public. A record that does not verify is no record: it is counted, and left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from btlib.block import BLOCK_ID_SIZE, Header, WriterRecord, decode_writer, writer_id
from btlib.errors import CapabilityError, IntegrityError
from btlib.principals import Principal
from btserde import SerdeError, decode

from btfproto.store import Head

from ._groups import GroupFound, check_membership, decode_membership, group_block
from ._reader import DomainReader, unverified_header
from ._records import RECORD_LIMITS, Grants, grants_block

PAGE = 1024  #: heads of one request

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsFound:
    """What a principal was granted in a scope; `author` wrote the record as it is, at `header.written`."""

    header: Header
    grants: Grants
    author: Principal


@dataclass(slots=True, kw_only=True)
class Survey:
    """The records found. `refused`: how many did not verify."""

    grants: list[GrantsFound] = field(default_factory=list)
    writers: list[WriterRecord] = field(default_factory=list)
    groups: list[GroupFound] = field(default_factory=list)
    blocks: int = 0
    key_epoch: int = 0  #: the highest of any block that is not public
    refused: int = 0


def survey_records(reader: DomainReader, progress: Progress | None = None) -> Survey:
    """Raises StoreError; FsError, IntegrityError where the domain itself does not verify."""
    found = Survey()
    after: bytes | None = None
    while page := reader.store.scan(after, PAGE):
        for head in reader.heads([summary.block for summary in page if not summary.removed]):
            if head is not None:
                _take(reader, head, found)
        found.blocks += len(page)
        after = page[-1].block
        if progress is not None:
            progress(found.blocks)
    found.grants.sort(key=lambda one: (str(one.grants.principal), one.header.scope))
    return found


def _take(reader: DomainReader, head: Head, found: Survey) -> None:
    try:
        unverified = unverified_header(head)
        if not unverified.public:
            found.key_epoch = max(found.key_epoch, unverified.key_epoch)
            return
        content = reader.content(head)
        whole = writer_id(content)
        if whole[:BLOCK_ID_SIZE] == head.block:
            found.writers.append(decode_writer(content, whole))
            return
        grants = _grants(content)
        if grants is None:
            _take_group(reader, head, content, found)
            return  # or the record of the domain, of a scope, or the revocation list
        header = reader.verify(head)
        if header.block != grants_block(header.scope, grants.principal):
            raise IntegrityError("grants in another's place")
        author = reader.writer(header.chain).public.principal
    except (IntegrityError, CapabilityError):
        found.refused += 1
    else:
        found.grants.append(GrantsFound(header=header, grants=grants, author=author))


def _take_group(reader: DomainReader, head: Head, content: bytes, found: Survey) -> None:
    membership = decode_membership(content)
    if membership is None or head.block != group_block(membership.terms.group):
        return
    header = reader.verify(head)
    check_membership(membership, header, reader.domain().scope)
    found.groups.append(GroupFound(header=header, membership=membership))


def _grants(content: bytes) -> Grants | None:
    try:
        return decode(content, Grants, RECORD_LIMITS)
    except (SerdeError, CapabilityError):
        return None
