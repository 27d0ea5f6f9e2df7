"""The blocktree file system: store, file messages, client, server and LocalFs.

btfproto.provider   FsProvider: what a file system can do
btfproto.localfs    LocalFs: the file system over any store; where the keys are
btfproto.remote     FsClient and FsServer: the file system over a link
btfproto.store      Store: where blocks lie; embedded and in memory (`btfproto.store.remote`: over a link)
btfproto.domain     making, opening and granting domains
btfproto.messages   the messages of both services
btfproto.opening    what a home names, opened in one call
btfproto.testing    conformance suites for whoever writes another store or provider
"""

from importlib.metadata import version

from .errors import FsError, StoreError
from .provider import (
    AllocateMode,
    AttributeChanges,
    Attributes,
    Entry,
    FileKind,
    FileSystemStatus,
    FsProvider,
    Lock,
    LockKind,
    OpenFlags,
    Owner,
    RenameFlags,
    Seek,
)

__version__ = version("btfproto")

__all__ = [
    "AllocateMode",
    "AttributeChanges",
    "Attributes",
    "Entry",
    "FileKind",
    "FileSystemStatus",
    "FsError",
    "FsProvider",
    "Lock",
    "LockKind",
    "OpenFlags",
    "Owner",
    "RenameFlags",
    "Seek",
    "StoreError",
    "__version__",
]
