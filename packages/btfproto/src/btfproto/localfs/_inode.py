"""`Inode`: one file, directory, symlink or special file in memory. Passive; `LocalFs` holds the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from btlib.block import Header

from ..errors import FsError
from ..provider import Attributes, FileKind
from ._attributes import SealedAttributes
from ._blocks import SECTOR_SIZE, StoredBlock
from ._content import Content
from ._directory import DirectoryTree
from ._node_table import Nodes

if TYPE_CHECKING:
    from ._reading import Miss

SECTOR_UNITS = SECTOR_SIZE // 512


def number_of(block: bytes) -> int:
    """The inode number of a block."""
    return int.from_bytes(block[:8], "little")


class Inode:
    """`group` is the group that its newest change belongs to (0: none since it was loaded)."""

    __slots__ = (
        "accessed",
        "ahead",
        "cache_base",
        "changed",
        "chunked",
        "content",
        "device",
        "direct",
        "directory",
        "error",
        "frozen",
        "gid",
        "group",
        "kind",
        "links",
        "mode",
        "modified",
        "name",
        "nodes",
        "number",
        "opens",
        "parent",
        "read_end",
        "shown",
        "size",
        "store",
        "stored",
        "streak",
        "target",
        "uid",
        "xattrs",
    )

    def __init__(self, store: StoredBlock, kind: FileKind, parent: Inode | None, name: str) -> None:
        self.store = store
        self.number = number_of(store.block)
        self.kind = kind
        self.parent = parent  #: where it was last seen: right for a directory, one of several for a linked file
        self.name = name
        self.mode = self.uid = self.gid = self.device = self.size = 0
        self.links = 1
        self.accessed = self.modified = self.changed = 0
        self.stored = 0  #: sectors in the store that are no holes
        self.xattrs: dict[str, bytes] = {}
        self.target = ""
        self.shown: Attributes | None = None  #: made when asked for, dropped at every change
        self.content: Content | None = None  #: of a file with uncommitted changes
        self.directory: DirectoryTree | None = None  #: of a directory
        self.nodes: Nodes | None = None  #: of its tree
        self.cache_base = 0  #: of its sectors in the clean cache; 0: none there yet
        self.group = 0
        self.frozen = False  #: part of a group that is being committed
        self.opens = 0
        self.read_end = 0  #: where the last read ended, to tell a sequential reader
        self.streak = 0  #: misses, one behind the other
        self.chunked = False  #: some of it may be in memory in chunks
        self.direct = False  #: some of it may be read by compiled code
        self.ahead: dict[int, Miss] = {}  #: chunks that are being fetched
        self.error: FsError | None = None  #: of a commit in the background, not yet reported

    @property
    def path(self) -> str:
        """Where it was last seen, for messages."""
        names: list[str] = []
        inode: Inode | None = self
        while inode is not None:
            names.append(inode.name)
            inode = inode.parent
        return "/".join(reversed(names)) or "/"

    def attributes(self) -> Attributes:
        shown = self.shown
        if shown is None:
            shown = self.shown = Attributes(
                inode=self.number,
                kind=self.kind,
                mode=self.mode,
                links=self.links,
                uid=self.uid,
                gid=self.gid,
                device=self.device,
                size=self.shown_size(),
                blocks=self._blocks(),
                accessed=self.accessed,
                modified=self.modified,
                changed=self.changed,
            )
        return shown

    def shown_size(self) -> int:
        if self.directory is not None:
            return self.directory.sectors * SECTOR_SIZE
        return len(self.target.encode()) if self.target else self.size

    def _blocks(self) -> int:
        """512-byte units. Sectors that wait for a commit count in full: an upper bound until then."""
        if self.directory is not None:
            return self.directory.sectors * SECTOR_UNITS
        sectors = self.stored
        if self.content is not None:
            sectors += len(self.content.live.sectors)
            sectors += len(self.content.frozen.sectors) if self.content.frozen else 0
        return min(sectors * SECTOR_UNITS, self.size + 511 >> 9)

    def seal(self) -> SealedAttributes:
        """The attributes as the next header will have them, but for `stored`, which the commit counts."""
        tree = self.directory
        return SealedAttributes(
            kind=self.kind,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            links=self.links,
            device=self.device,
            size=self.size,
            stored=self.stored,
            accessed=self.accessed,
            modified=self.modified,
            changed=self.changed,
            xattrs=self.xattrs.copy(),
            target=self.target,
            entries=tree.entries if tree else 0,
            free=tree.free.copy() if tree else [],
        )

    def load(self, sealed: SealedAttributes, header: Header) -> None:
        """Take over verified attributes. Raises IntegrityError."""
        self.mode, self.uid, self.gid, self.links = sealed.mode, sealed.uid, sealed.gid, sealed.links
        self.device, self.size, self.stored = sealed.device, sealed.size, sealed.stored
        self.accessed, self.modified, self.changed = sealed.accessed, sealed.modified, sealed.changed
        self.xattrs, self.target = sealed.xattrs, sealed.target
        if self.directory is not None:
            self.directory.restore(sealed.entries, header.sector_count, sealed.free)
        self.shown = None

    def take_over(self, fresh: Inode) -> None:
        """Become what `fresh`, the same object loaded anew, is. Handles and place stay."""
        self.store, self.directory, self.nodes = fresh.store, fresh.directory, fresh.nodes
        self.mode, self.uid, self.gid, self.links = fresh.mode, fresh.uid, fresh.gid, fresh.links
        self.device, self.size, self.stored = fresh.device, fresh.size, fresh.stored
        self.accessed, self.modified, self.changed = fresh.accessed, fresh.modified, fresh.changed
        self.xattrs, self.target, self.shown = fresh.xattrs, fresh.target, None
