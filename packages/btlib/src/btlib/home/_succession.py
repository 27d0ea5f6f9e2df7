"""`Succession`: the files of a rotation, in which new keys take the place of old ones.

    FILE          the keys in use
    FILE.next     those that follow: from the beginning of a rotation until they are in use
    FILE.old      those that were in use: from then on until they are revoked

    nothing ─ begin ─▶ NEXT ─ promote ─▶ OLD ─ finish ─▶ nothing

Each arrow is one durable step, and at every moment FILE opens. It knows nothing of what the keys may do: that the next
ones can do all that those in use can, before `promote`, is for whoever rotates.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from ._directories import sync_directory


class Phase(Enum):
    """How far a rotation is."""

    NONE = "none"
    NEXT = "next"
    OLD = "old"


class Succession:
    """The rotation of one file of credentials."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.next = file.with_name(f"{file.name}.next")
        self.old = file.with_name(f"{file.name}.old")

    def phase(self) -> Phase:
        """Where an interruption left it. Both files are there where `promote` was interrupted: that is done again."""
        if self.next.exists():
            return Phase.NEXT
        return Phase.OLD if self.old.exists() else Phase.NONE

    def promote(self) -> None:
        """Put the next keys in use; those in use stay beside them. Raises OSError."""
        if not self.old.exists():
            os.link(self.file, self.old)
            sync_directory(self.file.parent)
        self.next.replace(self.file)
        sync_directory(self.file.parent)

    def cancel(self) -> None:
        """Give up keys that are not in use yet. Raises OSError."""
        self.old.unlink(missing_ok=True)  # a second name of the file in use; first, so that it never seems to be over
        self.next.unlink(missing_ok=True)
        sync_directory(self.file.parent)

    def finish(self) -> None:
        """Remove the old keys. Their bytes may stay on the disk, under their passphrase. Raises OSError."""
        self.old.unlink(missing_ok=True)
        sync_directory(self.file.parent)
