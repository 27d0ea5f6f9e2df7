"""`StoreClient`: a store on a server, as a `Store`.

It trusts the server with nothing but being there: answers are checked for being answers to the question (counts, ids,
orders, sizes), and what they contain is verified by whoever uses the store. Every request may be repeated (a commit
carries its request id), so one that is lost with its link goes out again on the next. Large records stay views into the
message that brought them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btserde import SerdeError
from bttp.errors import BttpError

from btfproto._dial import Dialer
from btfproto.errors import StoreError
from btfproto.messages import MessageError, decode_store_reply, encode_store_request, printable, stores
from btfproto.provider import Lock
from btfproto.store import (
    Acquire,
    Commit,
    CommitAnswer,
    Conflict,
    Events,
    Found,
    HeadAnswer,
    HeadSummary,
    HeadWant,
    LeaseAnswer,
    LeaseBusy,
    LeaseHeld,
    LeaseRequest,
    RecordRef,
    Records,
    StoreStatus,
    Unchanged,
)

from ._bounded import ATTEMPTS
from ._server import WATCH

CALL_SECONDS = 60.0  #: one call: a slow disk at the other end, not a dead one (the link notices that itself)
WATCH_GRACE = 10.0  #: seconds by which the answer to a watch may be late

Reply = TypeVar("Reply", bound=msgspec.Struct)


class StoreClient:
    """See `Store`. Thread-safe; calls of several threads share one link."""

    def __init__(self, dialer: Dialer, service: BlockPath) -> None:
        """`service` is `<server path>/store`. The client closes the dialer when it is closed."""
        self._dialer = dialer
        self._service = service
        self._watch_path = service.child(WATCH)

    @property
    def dialer(self) -> Dialer:
        """What its calls go through, for others who speak with the same server."""
        return self._dialer

    @property
    def connection(self) -> object | None:
        """What ends leases when it ends; None while there is no link."""
        return self._dialer.connection

    def read_heads(self, wants: Sequence[HeadWant]) -> list[HeadAnswer]:
        if len(wants) > stores.MAX_HEADS:
            return self._in_halves(wants)
        try:
            answers = self._call(stores.ReadHeads(list(wants)), stores.Heads).answers
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
            records = self._call(stores.ReadRecords(block, list(refs)), stores.GotRecords).records
        except StoreError as error:
            if error.kind is not Kind.LIMIT or len(refs) < 2:
                raise
            return self._read_halves(block, refs)
        _require(len(records.records) == len(refs), f"{len(records.records)} records where {len(refs)} were asked for")
        return records

    def commit(self, commit: Commit) -> CommitAnswer:
        count = len(commit.changes)
        if count > stores.MAX_CHANGES:
            raise StoreError(Kind.LIMIT, f"a commit changes at most {stores.MAX_CHANGES} blocks, not {count}")
        answer = self._call(stores.DoCommit(commit), stores.CommitDone).answer
        if isinstance(answer, Conflict):
            known = any(change.block == answer.block for change in commit.changes)
            _require(known, "a conflict over a block that is not in the commit")
        return answer

    def scan(self, after: bytes | None, limit: int) -> list[HeadSummary]:
        summaries = self._call(stores.Scan(after, min(limit, stores.MAX_SCAN)), stores.Scanned).summaries
        blocks = [*([] if after is None else [after]), *(summary.block for summary in summaries)]
        _require(len(summaries) <= limit, f"{len(summaries)} lines where {limit} were asked for")
        _require(all(a < b for a, b in pairwise(blocks)), "a scan that is out of order")
        return summaries

    def watch(self, cursor: int, holder: bytes, timeout: float) -> Events:
        milliseconds = min(int(max(timeout, 0) * 1000), stores.MAX_WATCH_MILLISECONDS)
        request = stores.Watch(cursor, holder, milliseconds)
        wait = milliseconds / 1000 + WATCH_GRACE
        events = self._call(request, stores.Watched, path=self._watch_path, timeout=wait).events
        _require(events.lost or events.cursor >= cursor, "events from before the ones already seen")
        return events

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        answer = self._call(stores.DoLease(request), stores.LeaseDone).answer
        asked_for_lease = isinstance(request, Acquire)
        _require(isinstance(answer, LeaseHeld | LeaseBusy) == asked_for_lease, "an answer to another lease request")
        return answer

    def set_file_lock(self, file: bytes, holder: bytes, lock: Lock) -> tuple[Lock | None, bool]:
        """Take or release a range of a file: what forbids it, and whether the server had this holder's locks."""
        done = self._call(stores.SetFileLock(file, holder, lock), stores.FileLockDone)
        return done.conflict, done.known

    def test_file_lock(self, file: bytes, holder: bytes, lock: Lock) -> tuple[Lock | None, bool]:
        """The same without taking anything."""
        done = self._call(stores.TestFileLock(file, holder, lock), stores.FileLockDone)
        return done.conflict, done.known

    def drop_file_locks(self, holder: bytes) -> None:
        """Release all of a holder's."""
        self._call(stores.DropFileLocks(holder), stores.FileLockDone)

    def status(self) -> StoreStatus:
        return self._call(stores.GetStatus(), stores.Status).status

    def close(self) -> None:
        self._dialer.close()

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

    def _call(
        self,
        request: stores.StoreRequest,
        expected: type[Reply],
        *,
        path: BlockPath | None = None,
        timeout: float = CALL_SECONDS,
    ) -> Reply:
        try:
            message = encode_store_request(request)
        except SerdeError as error:
            raise StoreError(Kind.INVALID, f"a request that no store can answer: {error}") from error
        try:
            body = self._dialer.call(path or self._service, message, timeout=timeout)
            return decode_store_reply(body, expected)
        except MessageError as error:
            raise StoreError(error.kind, f"{self._dialer.endpoint}: {error.message}") from error
        except BttpError as error:
            raise StoreError(error.kind, printable(error.message), error.hint) from error


def _check_heads(wants: Sequence[HeadWant], answers: Sequence[HeadAnswer]) -> None:
    _require(len(answers) == len(wants), f"{len(answers)} heads where {len(wants)} were asked for")
    for want, answer in zip(wants, answers, strict=True):
        if isinstance(answer, Found):
            _require(answer.head.block == want.block, "the head of another block")
        elif isinstance(answer, Unchanged):
            _require(want.known > 0, "'unchanged' about a head that is not known here")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise StoreError(Kind.PROTOCOL, f"the server answered with {what}")
