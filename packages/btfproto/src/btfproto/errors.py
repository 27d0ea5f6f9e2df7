"""The errors of btfproto: what the file system answers, and what a store could not do.

Both carry a `Kind`, so that they cross a link as a number and a text. errno values exist only in `btfuse`.
"""

from __future__ import annotations

from btlib.errors import BlocktreeError
from btlib.kinds import Kind


class FsError(BlocktreeError):
    """A file system call that was refused or failed; the kind says whose fault it is and what the caller may do.

    `hint` names the next command or step where there is one.
    """

    def __init__(self, kind: Kind, text: str, hint: str | None = None) -> None:
        super().__init__(text, kind=kind, hint=hint)


class StoreError(BlocktreeError):
    """A store that cannot answer: the device is full or failing, the store is damaged, held by another, or far away.

    A conflict or a lost lease is no error but an answer (`Conflict`, `Fenced`). After IO in `commit` the effect is
    unknown until the same request is repeated.
    """

    def __init__(self, kind: Kind, text: str, hint: str | None = None) -> None:
        super().__init__(text, kind=kind, hint=hint)


class StoreWentBackError(StoreError):
    """The store at the other end was put back to an earlier state, so nothing was sent to it. What was sent to it on
    an earlier link may have taken effect, and be there again when the right state is.
    """
