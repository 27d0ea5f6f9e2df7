"""A history: what workers issued and what came back, one JSON line an event, in the order of events.

    {"worker": 0, "issued": {…}}                  before the system call
    {"worker": 0, "returned": "", "durable": …}   after it; `returned` is the error's name, "" for none

A worker has one operation under way at a time. `durable` says that this operation promised durability of all that came
before it. Each line is one append, so the lines of several workers do not mix; the last may be cut by a killed writer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tests.faults.operations import Operation


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    worker: int
    issued: Operation | None = None
    returned: str | None = None
    durable: bool = False


@dataclass
class Step:
    """One operation; times are numbers of events."""

    operation: Operation
    issued: int
    returned: int | None = None
    error: str = ""
    durable: bool = False

    @property
    def succeeded(self) -> bool:
        return self.returned is not None and not self.error


Histories = list[list[Step]]  #: one for each worker


class Recorder:
    """Writes a history. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._encode = msgspec.json.Encoder().encode

    def issued(self, worker: int, operation: Operation) -> None:
        self._write(Event(worker, issued=operation))

    def returned(self, worker: int, error: str = "", *, durable: bool = False) -> None:
        self._write(Event(worker, returned=error, durable=durable))

    def _write(self, event: Event) -> None:
        os.write(self._descriptor, self._encode(event) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def read_history(text: bytes, workers: int) -> Histories:
    """The steps of each worker."""
    decode = msgspec.json.Decoder(Event).decode
    whole, _, _cut = text.rpartition(b"\n")
    return steps((decode(line) for line in whole.splitlines()), workers)


def steps(events: Iterable[Event], workers: int) -> Histories:
    histories: Histories = [[] for _ in range(workers)]
    for number, event in enumerate(events):
        own = histories[event.worker]
        if event.issued is not None:
            own.append(Step(event.issued, number))
        else:
            step = own[-1]
            step.returned, step.error, step.durable = number, event.returned or "", event.durable
    return histories
