"""`Asking`: reading from a store on a server, now or as of a snapshot. What an answer is not, is refused (PROTOCOL).

Requests that do not fit are asked again in halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec
from btlib.kinds import Kind

from btfproto.errors import StoreError
from btfproto.messages import stores
from btfproto.store import (
    Found,
    HeadAnswer,
    HeadDigest,
    HeadSummary,
    HeadWant,
    RecordRef,
    Records,
    StoreStatus,
    Unchanged,
)

from ._bounded import ATTEMPTS

Reply = TypeVar("Reply", bound=msgspec.Struct)
Question = stores.ReadHeads | stores.ReadRecords | stores.Scan | stores.GetStatus | stores.ReadDigests


class Asking:
    """The reading half of `Store`."""

    def ask(self, request: Question, expected: type[Reply]) -> Reply:
        """Send a request, and return its answer of the right type. Raises StoreError."""
        raise NotImplementedError

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        if len(wants) > stores.MAX_HEADS:
            return self._in_halves(wants)
        try:
            answers = self.ask(stores.ReadHeads(list(wants)), stores.Heads).answers
        except StoreError as error:
            if error.kind is not Kind.LIMIT or len(wants) < 2:
                raise
            return self._in_halves(wants)
        _check_heads(wants, answers)
        return answers

    def read_records(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        if len(refs) > stores.MAX_RECORDS:
            return self._read_halves(block, refs)
        try:
            records = self.ask(stores.ReadRecords(block, list(refs)), stores.GotRecords).records
        except StoreError as error:
            if error.kind is not Kind.LIMIT or len(refs) < 2:
                raise
            return self._read_halves(block, refs)
        require(len(records.records) == len(refs), f"{len(records.records)} records where {len(refs)} were asked for")
        return records

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        summaries = self.ask(stores.Scan(after, min(limit, stores.MAX_SCAN)), stores.Scanned).summaries
        blocks = [*([] if after is None else [after]), *(summary.block for summary in summaries)]
        require(len(summaries) <= limit, f"{len(summaries)} lines where {limit} were asked for")
        require(all(a < b for a, b in pairwise(blocks)), "a scan that is out of order")
        return summaries

    def status(self) -> StoreStatus:
        return self.ask(stores.GetStatus(), stores.Status).status

    def _in_halves(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        middle = len(wants) // 2
        return [*self.read_heads(wants[:middle]), *self.read_heads(wants[middle:])]

    def _read_halves(self, block: bytes, refs: Sequence[RecordRef]) -> Records:
        """More than fits a reply. All must be of one version, so a change in between starts over."""
        middle = len(refs) // 2
        for _ in range(ATTEMPTS):
            first, second = self.read_records(block, refs[:middle]), self.read_records(block, refs[middle:])
            if first.version == second.version:
                return Records(first.version, [*first.records, *second.records])
        raise StoreError(Kind.CONFLICT, f"block {block.hex()} changed while it was read", "try again")


def check_digests(after: bytes | None, limit: int, digests: Sequence[HeadDigest]) -> None:
    blocks = [*([] if after is None else [after]), *(digest.block for digest in digests)]
    require(len(digests) <= limit, f"{len(digests)} lines where {limit} were asked for")
    require(all(a < b for a, b in pairwise(blocks)), "digests that are out of order")


def _check_heads(wants: Sequence[HeadWant], answers: Sequence[HeadAnswer]) -> None:
    require(len(answers) == len(wants), f"{len(answers)} heads where {len(wants)} were asked for")
    for want, answer in zip(wants, answers, strict=True):
        if isinstance(answer, Found):
            require(answer.head.block == want.block, "the head of another block")
        elif isinstance(answer, Unchanged):
            require(want.known > 0, "'unchanged' about a head that is not known here")


def require(condition: bool, what: str) -> None:
    """Raises StoreError (PROTOCOL)."""
    if not condition:
        raise StoreError(Kind.PROTOCOL, f"the server answered with {what}")
