"""`Tree`: files by path. An attached `FsProvider` knows only inodes; people name paths.

Symbolic links are followed as a shell's commands would follow them, but only relative ones and never out of the
attached directory: what an absolute target means depends on where somebody mounts, which is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from btfproto.errors import FsError
from btfproto.provider import Attributes, Entry, FileKind, FsProvider, OpenFlags, Owner
from btlib.kinds import Kind
from btlib.paths import BlockPath

LINK_LIMIT = 40  #: symbolic links followed in one path, as in Linux
LISTING = 1024  #: entries asked for at once; a message of some hundred KiB where a network lies between
PIECE = 1 << 20  #: bytes read or written at once


class Tree:
    """The directory `anchor` of a domain, attached as `provider`."""

    def __init__(self, provider: FsProvider, anchor: BlockPath, petname: str) -> None:
        self.provider = provider
        self.anchor = anchor
        self._petname = petname

    def shown(self, path: BlockPath) -> str:
        """A path as its user writes it."""
        return f"{self._petname}:/{'/'.join(path.names)}"

    def find(self, path: BlockPath, *, follow: bool = True) -> Attributes:
        """The attributes of what has this path; with `follow`, of what a link there leads to. Raises FsError."""
        walked = [self.provider.getattr(self.provider.root)]
        pending = list(reversed(self._below(path)))
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                self._leave(walked, path)
                continue
            found = self._lookup(walked[-1], name, path)
            if found.kind is FileKind.SYMLINK and (pending or follow):
                links += 1
                pending += reversed(self._target_names(found, links, path))
            else:
                walked.append(found)
        return walked[-1]

    def maybe_find(self, path: BlockPath, *, follow: bool = True) -> Attributes | None:
        """As `find`, or None where nothing has this path."""
        try:
            return self.find(path, follow=follow)
        except FsError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
        return None

    def directory(self, path: BlockPath) -> Attributes:
        """The attributes of a directory; raises FsError where there is none, or something else."""
        found = self.find(path)
        if found.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, f"{self.shown(path)} is not a directory")
        return found

    def entries(self, directory: Attributes) -> Iterator[Entry]:
        """All entries of a directory with their attributes, fetched in batches."""
        cookie = 0
        while batch := self.provider.readdir(directory.inode, cookie, LISTING, plus=True):
            yield from batch
            cookie = batch[-1].cookie

    def attributes(self, directory: Attributes, entry: Entry) -> Attributes:
        """What an entry of a listing is; asks only where the listing did not tell."""
        return entry.attributes or self.provider.lookup(directory.inode, entry.name)

    def pieces(self, inode: int, size: int) -> Iterator[bytes]:
        """A file's content, a piece at a time. `size` only saves the last, empty read."""
        handle = self.provider.open(inode, OpenFlags.READ)
        try:
            offset = 0
            while piece := self.provider.read(handle, offset, PIECE):
                yield piece
                offset += len(piece)
                if offset >= size and len(piece) < PIECE:
                    break
        finally:
            self.provider.close(handle)

    def make_directories(self, path: BlockPath, mode: int, owner: Owner) -> Attributes:
        """The directory with this path, made with the parents that it lacks."""
        place = self.provider.getattr(self.provider.root)
        for name in self._below(path):
            place = self._enter_or_make(place, name, path, mode, owner)
        return place

    def _enter_or_make(self, parent: Attributes, name: str, path: BlockPath, mode: int, owner: Owner) -> Attributes:
        try:
            found = self.provider.lookup(parent.inode, name)
        except FsError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return self.provider.mkdir(parent.inode, name, mode, owner)
        if found.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, f"{name!r} on the way to {self.shown(path)} is not a directory")
        return found

    def _below(self, path: BlockPath) -> Sequence[str]:
        if not self.anchor.is_prefix_of(path):
            raise FsError(Kind.FORBIDDEN, f"{self.shown(path)} lies outside {self.shown(self.anchor)}")
        return path.names[len(self.anchor.names) :]

    def _lookup(self, parent: Attributes, name: str, path: BlockPath) -> Attributes:
        if parent.kind is not FileKind.DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, f"something on the way to {self.shown(path)} is not a directory")
        try:
            return self.provider.lookup(parent.inode, name)
        except FsError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            raise FsError(
                Kind.NOT_FOUND, f"there is no {self.shown(path)}", hint=f"see: bt ls {self.shown(path.parent or path)}"
            ) from error

    def _leave(self, walked: list[Attributes], path: BlockPath) -> None:
        walked.pop()
        if not walked:
            top = self.shown(self.anchor)
            raise FsError(Kind.FORBIDDEN, f"a symbolic link on the way to {self.shown(path)} leads out of {top}")

    def _target_names(self, link: Attributes, links: int, path: BlockPath) -> list[str]:
        if links > LINK_LIMIT:
            raise FsError(
                Kind.LOOP, f"there are more than {LINK_LIMIT} symbolic links on the way to {self.shown(path)}"
            )
        target = self.provider.readlink(link.inode)
        if target.startswith("/"):
            reason = f"a symbolic link on the way to {self.shown(path)} is absolute ({target!r})"
            raise FsError(Kind.NOT_SUPPORTED, f"{reason}, and means something only in a mount")
        return [name for name in target.split("/") if name not in ("", ".")]
