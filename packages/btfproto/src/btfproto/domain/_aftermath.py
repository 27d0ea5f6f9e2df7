"""What a revocation with a moment in the past would do: which blocks nobody could read any more.

A header says when it was written; a reader refuses one from after its writer was revoked, whatever it holds. So what
was honestly written since then goes too, until somebody else writes it anew. It is counted before anything is signed,
since nothing is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from btlib.block import Header
from btlib.errors import CapabilityError, IntegrityError
from btlib.principals import Principal

from ._reader import DomainReader, unverified_header
from ._survey import PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """How many blocks would be lost to readers. `root_directory`: that one is among them, and so the whole tree."""

    files: int = 0  #: files, directories and links
    records: int = 0  #: grants and scopes
    root_directory: bool = False


def aftermath(reader: DomainReader, principals: Mapping[Principal, int], serials: Mapping[bytes, int]) -> Aftermath:
    """Look at every head. Raises StoreError; FsError, IntegrityError where the domain itself does not verify."""
    directory = reader.domain().directory
    files = records = 0
    top = False
    after: bytes | None = None
    while page := reader.store.scan(after, PAGE):
        for head in reader.heads([summary.block for summary in page if not summary.removed]):
            if head is None:
                continue
            try:
                header = unverified_header(head)
                lost = _is_lost(reader, header, principals, serials)
            except (IntegrityError, CapabilityError):
                continue  # it is not read now either
            if lost:
                files, records = files + (not header.public), records + header.public
                top = top or header.block == directory
        after = page[-1].block
    return Aftermath(files=files, records=records, root_directory=top)


def _is_lost(
    reader: DomainReader, header: Header, principals: Mapping[Principal, int], serials: Mapping[bytes, int]
) -> bool:
    if header.public and header.block == header.chain[: len(header.block)]:
        return False  # a writer record proves itself
    moments = [
        since
        for cap in reader.writer(header.chain).chain.caps
        for since in (principals.get(cap.subject), serials.get(cap.serial))
        if since is not None
    ]
    return bool(moments) and min(moments) <= header.written
