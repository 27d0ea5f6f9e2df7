"""Care of a store: is every byte still what was signed, how much room does it take, what can still be read.

Nothing here changes a store, except `remove_orphans`. `scrub_store` needs no keys, `scrub_tree` a file system that has
them; `inspect_files` and `measure` look at the files of an embedded store, `copy_store` copies them, for a backup.
"""

from ._archive import ArchivedStore
from ._backup import Copied, CopyMeter, StoreSource, StoreTarget, copy_store, opened_copy
from ._collection import Orphan, Tombstone, find_orphans, find_tombstones, remove_orphans
from ._copies import NOTE_NAME, ArchiveSource, ArchiveTarget, DirectorySource, DirectoryTarget
from ._files import Usage, inspect_files, measure
from ._restoring import Restored, restore_path
from ._rollback import (
    LostRevocations,
    WentBack,
    accept_rolled_back,
    find_lost_revocations,
    find_rolled_back,
    find_store_went_back,
    name_blocks,
)
from ._scrub import Damage, Meter, scrub_store
from ._tree import Position, Unreadable, scrub_tree, stretches, walk_tree

__all__ = [
    "NOTE_NAME",
    "ArchiveSource",
    "ArchiveTarget",
    "ArchivedStore",
    "Copied",
    "CopyMeter",
    "Damage",
    "DirectorySource",
    "DirectoryTarget",
    "LostRevocations",
    "Meter",
    "Orphan",
    "Position",
    "Restored",
    "StoreSource",
    "StoreTarget",
    "Tombstone",
    "Unreadable",
    "Usage",
    "WentBack",
    "accept_rolled_back",
    "copy_store",
    "find_lost_revocations",
    "find_orphans",
    "find_rolled_back",
    "find_store_went_back",
    "find_tombstones",
    "inspect_files",
    "measure",
    "name_blocks",
    "opened_copy",
    "remove_orphans",
    "restore_path",
    "scrub_store",
    "scrub_tree",
    "stretches",
    "walk_tree",
]
