"""What a client gets to see: the answer of whoever decides about an attach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from btlib.paths import BlockPath
from bttp import Peer

from btfproto.provider import FsProvider, Inode


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A directory of a provider, with the rights that the client has in it.

    `writable_until` is the unix second at which the right to write ends (None: never); it counts only where `writable`.
    `why_not` says why the client may not write.
    """

    provider: FsProvider
    inode: Inode
    path: BlockPath
    writable: bool
    writable_until: int | None = None
    why_not: str = ""


#: Decides by grants: (path, peer, read_only) → Attachment. Raises FsError (FORBIDDEN, NOT_FOUND, …) with a sentence.
Attacher = Callable[[BlockPath, Peer, bool], Attachment]
