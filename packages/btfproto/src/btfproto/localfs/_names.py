"""Names in a directory: what is one, and where it stands.

    key of a name = (58-bit keyed hash of its bytes, never 0) << 5 | ordinal

Entries are ordered by key, and a key is the cookie of a listing: it fits 63 bits, is never 0, and stays the same while
other names come and go. The hash is keyed by the directory's block key, so that an outsider can neither guess a name
from its position nor prepare names that collide. Names whose hashes are equal all the same get different ordinals.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from btlib.kinds import Kind
from btlib.labels import Label

from ..errors import FsError

MAX_NAME_BYTES = 255  #: NAME_MAX
ORDINAL_BITS = 5  #: 32 names may share a hash; more than that is an attack by somebody who knows the key
ORDINALS = 1 << ORDINAL_BITS
HASH_BITS = 63 - ORDINAL_BITS
MAX_KEY = (1 << 63) - 1

_SHIFT = 64 - HASH_BITS


@lru_cache(maxsize=64)  # one call comes here several times with the same name, and so does the next
def name_bytes(name: str) -> bytes:
    """The bytes of a name that a caller gave. Raises FsError: INVALID or NAME_TOO_LONG."""
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise FsError(Kind.INVALID, f"the name {name!a} is not valid UTF-8") from None
    if len(raw) > MAX_NAME_BYTES:
        raise FsError(Kind.NAME_TOO_LONG, f"a name has at most {MAX_NAME_BYTES} bytes, not {len(raw)}: {name[:40]!a}")
    if not raw or b"/" in raw or b"\0" in raw or raw == b"." or raw == b"..":
        raise FsError(Kind.INVALID, f"{name!a} cannot be a name")
    return raw


class NameHasher:
    """The keyed hash of one directory's names; it remembers the last. May be shared between threads."""

    __slots__ = ("_keyed", "_last")

    def __init__(self, directory_key: bytes) -> None:
        derived = hashlib.blake2b(Label.NAME_HASH.value, key=directory_key, digest_size=32).digest()
        self._keyed = hashlib.blake2b(key=derived, digest_size=8)
        self._last = (b"", 0)

    def __call__(self, raw: bytes) -> int:
        """1 … 2^58 - 1."""
        known, found = self._last
        if raw == known and found:
            return found
        state = self._keyed.copy()
        state.update(raw)
        found = int.from_bytes(state.digest(), "little") >> _SHIFT or 1
        self._last = raw, found
        return found
