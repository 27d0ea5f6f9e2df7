"""The replay cache: what became of calls with an idempotency key, so that a repeated one is not done twice. Pure.

A key belongs to the principal that sent it. Within `seconds` after a call ended, the same key and request get the
recorded outcome; while it runs, they hear that; with another request, that they are wrong. A caller that repeats says
to which cache and how long ago it sent first (`Repeat`): where that is another cache (the server was restarted) or too
long ago, it hears that the record is gone, instead of having it done perhaps twice. Answers are dropped, the oldest
first, where they exceed their bytes; keys are never dropped early: beyond their number, new ones are refused.

Not thread-safe; the time is an argument.
"""

from __future__ import annotations

import enum
import hashlib
import itertools

import msgspec
from btlib.kinds import Kind

from ._fields import Fields
from .errors import BttpError, LimitError

_TRANSIT = 60.0  # seconds that a record outlives what is promised: a repeat may be on its way for long

_serials = itertools.count(1)


class ReplayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of calls with idempotency keys. Settings of the same names."""

    seconds: float = 600.0  #: how long after its end a call is remembered; a client has long given up by then
    max_keys: int = 4096  #: remembered keys of one principal; each takes some 400 bytes
    max_running: int = 256  #: calls with keys at once of one principal, over all its links; they outlive those
    max_bytes: int = 4 * 1024 * 1024  #: bytes of the kept answers of one principal
    max_answer: int = 256 * 1024  #: bytes of an answer that is kept; of a longer one only that it was given
    max_all_keys: int = 65536  #: remembered keys of all principals
    max_all_bytes: int = 64 * 1024 * 1024  #: bytes of all kept answers


class State(enum.Enum):
    """What became of a call."""

    RUNNING = "is under way"
    ANSWERED = "was answered"
    FAILED = "failed"
    DROPPED = "was answered; the answer is not kept"


class Record(msgspec.Struct, eq=False):
    """One call with a key."""

    owner: bytes
    key: bytes
    request: bytes  #: digest of path and body
    state: State = State.RUNNING
    answer: bytes = b""
    kind: Kind = Kind.INTERNAL  #: of a failure, with its text
    text: str = ""
    ended: float = 0.0


class _Owner(msgspec.Struct):
    """One principal's share."""

    keys: int = 0
    running: int = 0
    size: int = 0  #: bytes of `answers`
    answers: dict[bytes, Record] = msgspec.field(default_factory=dict)  #: those kept, oldest first


class ReplayCache:
    """What one router's handlers did for calls with keys."""

    def __init__(self, limits: ReplayLimits) -> None:
        self._serial = next(_serials)
        self._limits = limits
        self._records: dict[tuple[bytes, bytes], Record] = {}  # running ones anywhere
        self._ended: dict[tuple[bytes, bytes], Record] = {}  # by the time of their end
        self._kept: dict[tuple[bytes, bytes], Record] = {}  # those with answers, likewise
        self._owners: dict[bytes, _Owner] = {}
        self._size = 0  # bytes of all answers

    def __len__(self) -> int:
        return len(self._records)

    def instance(self, certificate: bytes) -> int:
        """The name of this cache in HELLO: of this process (by its ephemeral certificate), and of it alone there."""
        digest = hashlib.sha256(b"bttp replay cache" + self._serial.to_bytes(8, "little") + certificate).digest()
        return int.from_bytes(digest[:8], "little") or 1

    def begin(self, owner: bytes, fields: Fields, request: bytes, instance: int, now: float) -> Record:
        """The record of this call: a new, running one (its handler is to run), or that of an ended one (`outcome`).

        Raises BttpError: BUSY while it is under way, STALE where the record is gone or never was here, CONFLICT for a
        key that stood for another request; LimitError.
        """
        self._expire(now)
        assert fields.key is not None
        record = self._records.get((owner, fields.key))
        if record is not None:
            return _checked(record, request)
        repeat = fields.repeat
        if repeat is not None and (repeat.instance != instance or repeat.elapsed > self._limits.seconds * 1000):
            raise BttpError(
                "this call was sent before, and what became of it is not known here (any more)",
                kind=Kind.STALE,
                hint="look whether it was done, then call with a new key",
            )
        return self._new(owner, fields.key, request)

    def _new(self, owner: bytes, key: bytes, request: bytes) -> Record:
        limits, share = self._limits, self._owners.get(owner) or _Owner()
        if share.running >= limits.max_running:
            raise LimitError(f"{share.running} calls with idempotency keys of yours are under way (max_running)")
        if share.keys >= limits.max_keys:
            raise LimitError(f"{share.keys} idempotency keys of yours are remembered (max_keys)", hint="try later")
        if len(self._records) >= limits.max_all_keys:
            raise LimitError(f"{len(self._records)} idempotency keys are remembered (max_all_keys)", hint="try later")
        self._owners[owner] = share
        share.keys += 1
        share.running += 1
        record = self._records[owner, key] = Record(owner, key, request)
        return record

    def answered(self, record: Record, answer: bytes, now: float) -> None:
        """Its handler gave an answer."""
        if self._end(record, now):
            record.state = State.DROPPED
            if len(answer) <= self._limits.max_answer:
                record.state, record.answer = State.ANSWERED, answer
                self._keep(record)

    def failed(self, record: Record, kind: Kind, text: str, now: float) -> None:
        """Its handler failed, or was cancelled."""
        if self._end(record, now):
            record.state, record.kind, record.text = State.FAILED, kind, text

    def _end(self, record: Record, now: float) -> bool:
        if record.state is not State.RUNNING:
            return False
        record.ended = now
        self._ended[record.owner, record.key] = record
        self._owners[record.owner].running -= 1
        return True

    def _keep(self, record: Record) -> None:
        share = self._owners[record.owner]
        share.answers[record.key] = self._kept[record.owner, record.key] = record
        share.size += len(record.answer)
        self._size += len(record.answer)
        while share.size > self._limits.max_bytes:
            self._drop(next(iter(share.answers.values())))
        while self._size > self._limits.max_all_bytes:
            self._drop(next(iter(self._kept.values())))

    def _drop(self, record: Record) -> None:
        """Keep of this one only that it was answered."""
        share = self._owners[record.owner]
        if share.answers.pop(record.key, None) is not None:
            del self._kept[record.owner, record.key]
            share.size -= len(record.answer)
            self._size -= len(record.answer)
            record.state, record.answer = State.DROPPED, b""

    def _expire(self, now: float) -> None:
        while self._ended:
            name, record = next(iter(self._ended.items()))
            if record.ended + self._limits.seconds + _TRANSIT > now:
                return
            self._drop(record)
            del self._ended[name], self._records[name]
            share = self._owners[record.owner]
            share.keys -= 1
            if not share.keys:
                del self._owners[record.owner]


def _checked(record: Record, request: bytes) -> Record:
    """A known record, as a repeated call may have it."""
    if record.request != request:
        raise BttpError(
            "this idempotency key stood for another request", kind=Kind.CONFLICT, hint="use a new key for each request"
        )
    if record.state is State.RUNNING:
        raise BttpError("a call with this idempotency key is under way", kind=Kind.BUSY, hint="ask again later")
    if record.state is State.DROPPED:
        raise BttpError(
            "the call with this idempotency key was done, and its answer is not kept (max_answer, max_bytes)",
            kind=Kind.STALE,
        )
    return record
