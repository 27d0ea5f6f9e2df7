"""The file system itself: `LocalFs` over any store. This is where keys, names and contents are in the clear."""

from ._fs import LocalFs
from ._new_directory import empty_directory_attributes
from ._pins import FilePins, MemoryPins, Pins
from .options import FsOptions

__all__ = ["FilePins", "FsOptions", "LocalFs", "MemoryPins", "Pins", "empty_directory_attributes"]
