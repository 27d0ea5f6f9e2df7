"""The messages of the store and of the file system: typed requests and replies, and their bytes.

`messages.files` and `messages.stores` hold the types, the functions here turn them into bytes and back. The layout is
specified in `docs/spec/files.md`. Nothing here touches the world.
"""

from . import _files as files
from . import _store as stores
from ._codec import (
    LIMITS,
    MessageError,
    decode_fs_call,
    decode_fs_reply,
    decode_store_reply,
    decode_store_request,
    encode_fs_call,
    encode_fs_reply,
    encode_store_reply,
    encode_store_request,
)
from ._failure import Failed, failure_of, printable

__all__ = [
    "LIMITS",
    "Failed",
    "MessageError",
    "decode_fs_call",
    "decode_fs_reply",
    "decode_store_reply",
    "decode_store_request",
    "encode_fs_call",
    "encode_fs_reply",
    "encode_store_reply",
    "encode_store_request",
    "failure_of",
    "files",
    "printable",
    "stores",
]
