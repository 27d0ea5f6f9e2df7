"""`RevocationView`: the newest revocation list that this process knows of a domain.

    refresh(now)  asks the store; believes nothing older, other or smaller than what was seen (`check_succession`)
    current       what verifiers take; one attribute, so that every check of every call may ask
    memory        what outlives the process

A list that cannot be believed leaves `current` as it was and is raised at each `refresh`: who was revoked stays so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from btlib.errors import CapabilityError, IntegrityError
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.revocations import Revocations

from ._revocation_memory import FORMAT, FileMemory, MemoryOfProcess, Remembered, RevocationMemory
from .domain import NOTHING_SEEN, ROLLED_BACK, DomainReader, SeenList, check_succession, revocations_block
from .errors import FsError
from .store import Store

MEMORY_FILE = "revoked"  #: beside a domain's pins
SAVE_SECONDS = 300  #: how often a confirmation alone is written down; staleness is a matter of hours

__all__ = ["MEMORY_FILE", "FileMemory", "MemoryOfProcess", "Remembered", "RevocationMemory", "RevocationView"]


class RevocationView:
    """Thread-safe."""

    def __init__(self, store: Store, root: Principal, memory: RevocationMemory | None = None) -> None:
        """Begins with what `memory` has. Raises FsError where that is damaged or another domain's."""
        self.block = revocations_block(root)
        self.current: Revocations
        self.confirmed: int | None = None
        self._root = root
        self._reader = DomainReader(store, root, self)
        self._memory = MemoryOfProcess() if memory is None else memory
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._saved: int | None = None
        self._compared = False
        remembered = self._memory.load()
        self._seen = NOTHING_SEEN if remembered is None else self._own(remembered)
        self.current = self._seen.record.effective

    @property
    def seen(self) -> SeenList:
        """The newest list, with its header's time."""
        return self._seen

    def listen(self, listener: Callable[[], None]) -> None:
        """Call it after every newer list, in the thread that found it; it must not wait."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def refresh(self, now: int) -> bool:
        """Ask the store; whether there was a newer list. Raises FsError (ROLLBACK, INTEGRITY…), StoreError."""
        with self._lock:
            try:
                newer = self._newer()
            except (IntegrityError, CapabilityError) as error:
                raise FsError(error.kind, error.message, error.hint) from error
            self.confirmed = now
            if newer is not None:
                self._seen, self.current = newer, newer.record.effective
            if newer is not None or self._saved is None:
                self._save(now)
            elif now - self._saved >= SAVE_SECONDS:
                with suppress(FsError):  # a full disk; it is written down with the next
                    self._save(now)
            listeners = self._listeners if newer is not None else ()
        for listener in listeners:
            listener()
        return newer is not None

    def _save(self, now: int) -> None:
        self._memory.save(Remembered(root=self._root.digest, seen=self._seen, confirmed=now))
        self._saved = now

    def _newer(self) -> SeenList | None:
        # The first answer is wanted whole, also of the version that is known: it could be another list.
        seen = self._seen
        found = self._reader.revocation_list(seen.record.version if self._compared else 0)
        if found is None and seen.record.version and not self._compared:
            raise IntegrityError(
                f"the revocation list is missing from the store; version {seen.record.version} was seen before",
                kind=Kind.ROLLBACK,
                hint=ROLLED_BACK,
            )
        if found is not None:
            check_succession(seen, found)
        self._compared = True
        return found if found is not None and found.record.version > seen.record.version else None

    def _own(self, remembered: Remembered) -> SeenList:
        if remembered.format != FORMAT or remembered.root != self._root.digest:
            raise FsError(
                Kind.INVALID,
                f"what is remembered of revocations is not about {self._root}, or of a newer version",
                "update this program, or move the file away",
            )
        self.confirmed = self._saved = remembered.confirmed
        return remembered.seen
