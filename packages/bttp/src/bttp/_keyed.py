"""Calls with an idempotency key, between a link's core and the replay cache of its router.

One cache may serve links of several threads; it is used under the one lock of this module, by keyed calls only.
"""

from __future__ import annotations

import hashlib
import threading
import time

from btlib.kinds import Kind

from ._core import LinkCore
from ._events import CallReceived
from ._frames import flatten
from ._replay import Record, ReplayCache, State
from ._router import Answer
from .errors import BttpError

_lock = threading.Lock()


def begin_keyed(core: LinkCore, replays: ReplayCache, event: CallReceived) -> Record | None:
    """The record of a call that is new; None: it was answered here, from its record or with the reason why not."""
    assert event.fields is not None
    principals = core.peer.principals
    if not principals:
        core.fail(event.number, Kind.UNAUTHENTICATED, "an idempotency key needs a proven principal: keys are its own")
        return None
    try:
        with _lock:
            record = replays.begin(principals[0].digest, event.fields, _digest(event), core.instance, time.monotonic())
    except BttpError as error:
        core.fail(event.number, error.kind, str(error))
        return None
    if record.state is State.RUNNING:
        return record
    if record.state is State.ANSWERED:
        core.reply(event.number, record.answer)
    else:
        core.fail(event.number, record.kind, record.text)
    return None


def keep_answer(replays: ReplayCache, record: Record, answer: Answer) -> None:
    """The handler's answer, for those who repeat the call. Raises TypeError for what is no body."""
    whole = b"" if answer is None else b"".join(flatten(answer)[0])
    with _lock:
        replays.answered(record, whole, time.monotonic())


def keep_failure(replays: ReplayCache, record: Record, kind: Kind, text: str) -> None:
    """The same for its failure."""
    with _lock:
        replays.failed(record, kind, text, time.monotonic())


def _digest(event: CallReceived) -> bytes:
    path = str(event.route.path).encode()
    return hashlib.sha256(len(path).to_bytes(4, "little") + path + event.body).digest()
