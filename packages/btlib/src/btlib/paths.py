"""Block paths: the names of everything. `/<root principal>/name/name`.

    path = "/" principal *( "/" name )      at most 4096 bytes of UTF-8 and 256 names
    name = 1..255 bytes of UTF-8 without "/" and NUL, and neither "." nor ".."

One path has one text: no trailing slash, no empty or relative names. Names are compared as they are, byte by byte;
nothing is normalised. Petnames (`home:/photos`) are not paths; the user's configuration turns them into paths.
"""

from __future__ import annotations

import msgspec

from .errors import PathError, PrincipalError
from .principals import Principal

MAX_NAME_BYTES = 255  #: what file systems take (NAME_MAX)
MAX_PATH_BYTES = 4096  #: what system calls take (PATH_MAX)
MAX_NAMES = 256  #: bounds the work of everything that walks a path


def check_name(name: str) -> str:
    """The name itself, if it is one. Raises PathError otherwise."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise PathError(f"the name {name[:40]!a} is not valid UTF-8") from error
    if not 1 <= size <= MAX_NAME_BYTES:
        raise PathError(f"a name has 1 to {MAX_NAME_BYTES} bytes, not {size}: {name[:40]!a}")
    if name in (".", ".."):
        raise PathError(f"{name!r} cannot be a name")
    if "/" in name or "\0" in name:
        raise PathError(f"the name {name!a} contains a slash or a NUL")
    return name


class BlockPath(msgspec.Struct, frozen=True, cache_hash=True):
    """A root principal and the names below it. Immutable, hashable; one that exists is valid."""

    root: Principal
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            check_name(name)
        if len(self.names) > MAX_NAMES:
            raise PathError(f"a path has at most {MAX_NAMES} names, not {len(self.names)}")
        size = len(str(self).encode())
        if size > MAX_PATH_BYTES:
            raise PathError(f"a path has at most {MAX_PATH_BYTES} bytes, not {size}")

    @classmethod
    def parse(cls, text: str) -> BlockPath:
        """Read `/bt1…/a/b`. Raises PathError with what is wrong."""
        if not text.startswith("/"):
            raise PathError(f"{_quote(text)} is no block path: it does not begin with a slash")
        if text.count("/") > MAX_NAMES + 1:
            raise PathError(f"{_quote(text)} is no block path: it has more than {MAX_NAMES} names")
        root, *names = text[1:].split("/")
        if text.endswith("/"):
            raise PathError(f"{_quote(text)} is no block path: it ends in a slash", hint="leave the last slash away")
        try:
            return cls(Principal.parse(root), tuple(names))
        except PrincipalError as error:
            raise PathError(f"{_quote(text)} is no block path: {error.message}", hint=error.hint) from error

    def child(self, name: str) -> BlockPath:
        """The path of a name in this directory. Raises PathError."""
        return BlockPath(self.root, (*self.names, name))

    @property
    def parent(self) -> BlockPath | None:
        """The path of the directory that holds this one; None at the root."""
        return BlockPath(self.root, self.names[:-1]) if self.names else None

    @property
    def name(self) -> str:
        """The last name; empty at the root."""
        return self.names[-1] if self.names else ""

    def is_prefix_of(self, other: BlockPath) -> bool:
        """Whether `other` is this path or lies below it, name by name: `/…/a` is no prefix of `/…/ab`."""
        return self.root == other.root and self.names == other.names[: len(self.names)]

    def __str__(self) -> str:
        return "/".join(("", str(self.root), *self.names))

    def __repr__(self) -> str:
        return f"BlockPath({str(self)!r})"


def _quote(text: str) -> str:
    return ascii(text if len(text) <= 160 else f"{text[:160]}…")
