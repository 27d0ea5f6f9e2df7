"""A directory of a domain as an origin and a goal. Places are inodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from btfproto.care import stretches
from btfproto.errors import FsError
from btfproto.provider import AttributeChanges, Attributes, FileKind, FsProvider, OpenFlags, Owner
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..copying import HOPELESS
from ..tree import PIECE, Tree
from .records import XATTRS, Content, Names, NoContent, Record, Stretch

DIRECTORY_MODE = 0o755  #: of directories that an archive does not mention


class TreeContent:
    """The data of a file in a tree."""

    def __init__(self, provider: FsProvider, attributes: Attributes) -> None:
        self._provider = provider
        self._attributes = attributes
        handle = provider.open(attributes.inode, OpenFlags.READ)
        try:
            self.stretches: list[Stretch] = list(stretches(provider, handle, attributes.size))
        finally:
            provider.close(handle)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        handle = self._provider.open(self._attributes.inode, OpenFlags.READ)
        try:
            for start, end in self.stretches:
                for offset in range(start, end, PIECE):
                    yield offset, self._provider.read(handle, offset, min(PIECE, end - offset))
        finally:
            self._provider.close(handle)


class TreeOrigin:
    """What lies below a directory."""

    def __init__(self, tree: Tree, top: int) -> None:
        self._tree = tree
        self._provider = tree.provider
        self._top = top
        self._last: tuple[Names, int] = ((), top)
        self.failures: list[tuple[str, BlocktreeError]] = []

    def records(self) -> Iterator[Record]:
        self.failures = []
        linked: dict[int, Names] = {}
        pending: list[tuple[Names, Attributes]] = [((), self._provider.getattr(self._top))]
        while pending:
            # All of a directory comes together: who unpacks sets its time once nothing more goes into it.
            names, directory = pending.pop()
            with self._reported(names):
                yield self._record(names, directory)
                for entry in self._tree.entries(directory):
                    below = (*names, entry.name)
                    with self._reported(below):
                        found = self._tree.attributes(directory, entry)
                        if found.kind is FileKind.DIRECTORY:
                            pending.append((below, found))
                        else:
                            yield self._named(below, found, linked)

    @contextmanager
    def _reported(self, names: Names) -> Iterator[None]:
        """What fails is left out."""
        try:
            yield
        except BlocktreeError as error:
            if error.kind in HOPELESS:
                raise
            self.failures.append(("/".join(names) or ".", error))

    def _named(self, names: Names, found: Attributes, linked: dict[int, Names]) -> Record:
        """A record that says whether an earlier one is of the same file."""
        first = linked.setdefault(found.inode, names) if found.links > 1 else names
        record = self._record(names, found, None if first == names else first)
        self._provider.forget(found.inode)
        return record

    def content(self, record: Record) -> Content:
        attributes = record.place
        assert isinstance(attributes, Attributes)
        return TreeContent(self._provider, attributes) if attributes.size else NoContent()

    def find(self, names: Names) -> Record | None:
        try:
            if not names:
                return self._record((), self._provider.getattr(self._top))
            return self._record(names, self._provider.lookup(self._directory(names[:-1]), names[-1]))
        except FsError as error:
            if error.kind not in (Kind.NOT_FOUND, Kind.NOT_DIRECTORY):
                raise
        return None

    def same(self, one: Record, other: Record) -> bool:
        return (
            isinstance(one.place, Attributes)
            and isinstance(other.place, Attributes)
            and (one.place.inode == other.place.inode)
        )

    def _directory(self, names: Names) -> int:
        if self._last[0] != names:
            inode = self._top
            for name in names:
                inode = self._provider.lookup(inode, name).inode
            self._last = (names, inode)
        return self._last[1]

    def _record(self, names: Names, found: Attributes, first: Names | None = None) -> Record:
        provider = self._provider
        kept = [name for name in provider.listxattr(found.inode) if name.startswith(XATTRS)]
        return Record(
            names=names,
            kind=found.kind,
            mode=found.mode,
            uid=found.uid,
            gid=found.gid,
            modified=found.modified,
            size=found.size if found.kind is FileKind.FILE else 0,
            device=found.device,
            target=provider.readlink(found.inode) if found.kind is FileKind.SYMLINK else "",
            xattrs={name: provider.getxattr(found.inode, name) for name in kept},
            first=first,
            place=found,
        )


class TreeGoal:
    """A directory to fill. The time of a file's change is set last: so it tells a whole file from a part of one."""

    keeps_owner = True
    mode_mask = 0o7777
    leaves_out: frozenset[FileKind] = frozenset()

    def __init__(self, tree: Tree, top: int, owner: Owner) -> None:
        self._tree = tree
        self._provider = tree.provider
        self._owner = owner
        self._directories: dict[Names, int] = {(): top}
        self._finished: list[tuple[int, Record]] = []

    def holds(self, record: Record) -> bool:
        found = self._lookup(record.names)
        if found is None or found.kind is not record.kind:
            return False
        if record.first is not None:
            first = self._lookup(record.first)
            return first is not None and first.inode == found.inode
        if record.kind is FileKind.SYMLINK and self._provider.readlink(found.inode) != record.target:
            return False
        size = found.size if found.kind is FileKind.FILE else 0
        return (size, found.modified, found.device) == (record.size, record.modified, record.device)

    def put(self, record: Record, content: Content | None) -> None:
        if record.kind is FileKind.DIRECTORY:
            self._finished.append((self._enter(record.names, record.mode & self.mode_mask), record))
            return
        parent, name = self._enter(record.names[:-1], DIRECTORY_MODE), record.names[-1]
        self._clear(parent, name)
        if record.first is not None:
            first = self._lookup(record.first)
            if first is None:
                raise FsError(Kind.NOT_FOUND, f"{record.path}: its first name {'/'.join(record.first)} is not there")
            self._provider.link(first.inode, parent, name)
            return
        self._set(self._make(parent, name, record, content), record)

    def finish(self) -> None:
        for inode, record in reversed(self._finished):
            self._set(inode, record)
        self._provider.sync()

    def view(self) -> TreeOrigin:
        return TreeOrigin(self._tree, self._directories[()])

    def _make(self, parent: int, name: str, record: Record, content: Content | None) -> int:
        provider, owner, mode = self._provider, self._owner, record.mode & self.mode_mask
        match record.kind:
            case FileKind.FILE:
                return self._write(parent, name, record, content)
            case FileKind.SYMLINK:
                return provider.symlink(parent, name, record.target, owner).inode
            case _:
                return provider.mknod(parent, name, record.kind, mode, owner, record.device).inode

    def _write(self, parent: int, name: str, record: Record, content: Content | None) -> int:
        flags = OpenFlags.WRITE | OpenFlags.EXCLUSIVE
        made, handle = self._provider.create(parent, name, 0o600, self._owner, flags)
        try:
            for offset, piece in () if content is None else content.pieces():
                self._provider.write(handle, offset, piece)
            self._provider.setattr(made.inode, AttributeChanges(size=record.size))
        finally:
            self._provider.close(handle)
        return made.inode

    def _set(self, inode: int, record: Record) -> None:
        provider = self._provider
        for name in provider.listxattr(inode):
            if name.startswith(XATTRS) and name not in record.xattrs:
                provider.removexattr(inode, name)
        for name, value in record.xattrs.items():
            provider.setxattr(inode, name, value)
        provider.setattr(inode, AttributeChanges(uid=record.uid, gid=record.gid))
        provider.setattr(inode, AttributeChanges(mode=record.mode & self.mode_mask, modified=record.modified))

    def _lookup(self, names: Names) -> Attributes | None:
        """What has this name; None where nothing has."""
        if not names:
            return self._provider.getattr(self._directories[()])
        parent = self._directories.get(names[:-1])
        try:
            if parent is None:
                parent = self._enter(names[:-1], DIRECTORY_MODE)
            return self._provider.lookup(parent, names[-1])
        except FsError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
        return None

    def _clear(self, parent: int, name: str) -> None:
        """Nothing has this name any more, unless it is a directory."""
        try:
            found = self._provider.lookup(parent, name)
        except FsError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return
        if found.kind is FileKind.DIRECTORY:
            raise FsError(Kind.IS_DIRECTORY, f"{name}: what has this name in the target is a directory")
        self._provider.unlink(parent, name)

    def _enter(self, names: Names, mode: int) -> int:
        """The directory of these names, made with those above where need be."""
        known = self._directories.get(names)
        if known is not None:
            return known
        parent = self._enter(names[:-1], DIRECTORY_MODE)
        try:
            inode = self._provider.mkdir(parent, names[-1], mode | 0o700, self._owner).inode
        except FsError as error:
            if error.kind is not Kind.EXISTS:
                raise
            found = self._provider.lookup(parent, names[-1])
            if found.kind is not FileKind.DIRECTORY:
                text = f"{'/'.join(names)}: what has this name in the target is not a directory"
                raise FsError(Kind.NOT_DIRECTORY, text) from error
            inode = found.inode
        self._directories[names] = inode
        return inode
