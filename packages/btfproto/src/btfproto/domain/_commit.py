"""Bringing a draft into a store: adds the writer's record where it is missing, and turns refusals into errors."""

from __future__ import annotations

from btlib.block import BLOCK_ID_SIZE
from btlib.kinds import Kind

from btfproto.errors import FsError
from btfproto.store import Absent, Committed, Conflict, HeadWant, Store

from ._drafts import Draft


def commit_draft(store: Store, draft: Draft, writer_scope: bytes, request: bytes) -> None:
    """Commit, with the writer's own record in `writer_scope` if the store has none yet.

    Raises FsError (CONFLICT) where somebody else was faster; nothing was changed then, and a new draft may succeed.
    """
    if isinstance(store.read_heads([HeadWant(draft.writer_id[:BLOCK_ID_SIZE])])[0], Absent):
        draft.put_writer(writer_scope)
    answer = store.commit(draft.commit(request))
    if isinstance(answer, Committed):
        return
    if isinstance(answer, Conflict):
        raise FsError(Kind.CONFLICT, f"block {answer.block.hex()} was changed by another at the same time", "try again")
    raise FsError(Kind.FENCED, "the lease of this scope was taken over", "try again")
