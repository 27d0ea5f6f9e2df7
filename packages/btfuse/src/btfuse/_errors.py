"""The errors of btfuse."""

from __future__ import annotations

from btlib.errors import BlocktreeError
from btlib.kinds import Kind


class FuseError(BlocktreeError):
    """A mount that cannot be made: the library, the device, the mount point or the options. The user's to mend."""

    def __init__(self, message: str, *, kind: Kind, hint: str | None = None) -> None:
        super().__init__(message, kind=kind, hint=hint)
