"""The file system itself: `LocalFs` over any store. This is where keys, names and contents are in the clear."""

from ._fs import LocalFs
from ._keeper import FileKeeper, Keeper, Kept, NoKeeper, kept_in
from ._new_directory import empty_directory_attributes
from ._pins import FilePins, MemoryPins, Pins, SeenStore
from ._rekeying import Rekeyed, Rekeying, rekey_tree
from ._store_pin import StoreComparison, StorePin, compare_store
from .options import FsOptions

__all__ = [
    "FileKeeper",
    "FilePins",
    "FsOptions",
    "Keeper",
    "Kept",
    "LocalFs",
    "MemoryPins",
    "NoKeeper",
    "Pins",
    "Rekeyed",
    "Rekeying",
    "SeenStore",
    "StoreComparison",
    "StorePin",
    "compare_store",
    "empty_directory_attributes",
    "kept_in",
    "rekey_tree",
]
