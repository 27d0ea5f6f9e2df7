"""Calls that find, make, move and remove names."""

from __future__ import annotations

from btlib.kinds import Kind

from ..errors import FsError
from ..provider import Attributes, Entry, FileKind, Handle, OpenFlags, Owner, RenameFlags
from ._attributes import MAX_TARGET
from ._changing import changing
from ._committer import Committer
from ._directory import DirectoryTree
from ._handles import READ, WRITE, OpenFile
from ._inode import Inode, number_of
from ._names import MAX_KEY, name_bytes
from ._nodes import entry_block, entry_key, entry_kind

MAX_LINKS = 1 << 31
DIRECTORY = FileKind.DIRECTORY
_KINDS = tuple(FileKind)


class Namespace(Committer):
    """See `FsProvider` for what each call promises."""

    def lookup(self, parent: int, name: str) -> Attributes:
        with self.mutex:
            directory, tree = self.directory_of(parent)
            record = tree.find(name_bytes(name), name)
            if record is None:
                raise self._no_entry(directory, name)
            return self.child(directory, name, record).attributes()

    def readdir(self, inode: int, cookie: int, limit: int, plus: bool = False) -> list[Entry]:
        with self.mutex:
            directory, tree = self.directory_of(inode)
            if cookie > MAX_KEY:
                raise FsError(Kind.INVALID, f"{cookie} is no cookie of a listing")
            entries = tree.after(cookie, limit)
            if plus:
                return self._entries_with_attributes(directory, entries)
            return [
                Entry(name=name, inode=number_of(record[2:10]), kind=_KINDS[record[1]], cookie=key)
                for key, name, record in entries
            ]

    def _entries_with_attributes(self, directory: Inode, entries: list[tuple[int, str, bytes]]) -> list[Entry]:
        unknown = [(name, record) for _, name, record in entries if number_of(record[2:10]) not in self.table]
        if unknown:
            self.load_children(directory, unknown, lenient=True)
        return [self._entry_with_attributes(directory, *entry) for entry in entries]

    def _entry_with_attributes(self, directory: Inode, key: int, name: str, record: bytes) -> Entry:
        """Without attributes where they cannot be trusted: a look-up of the name will say why."""
        try:
            shown = self.child(directory, name, record).attributes()
        except FsError as error:
            if error.kind not in (Kind.INTEGRITY, Kind.ROLLBACK):
                raise
            shown = None
        return Entry(name=name, inode=number_of(record[2:10]), kind=_KINDS[record[1]], cookie=key, attributes=shown)

    @changing
    def create(self, parent: int, name: str, mode: int, owner: Owner, flags: OpenFlags) -> tuple[Attributes, Handle]:
        with self.mutex:
            directory, tree = self.directory_of(parent)
            record = tree.find(name_bytes(name), name)
            if record is None:
                inode = self._add(directory, tree, name, FileKind.FILE, mode, owner)
            else:
                inode = self._open_existing(directory, name, record, flags)
            return inode.attributes(), self.handles.add(OpenFile(inode, flags))

    def _open_existing(self, directory: Inode, name: str, record: bytes, flags: OpenFlags) -> Inode:
        if flags & OpenFlags.EXCLUSIVE:
            raise self._exists(directory, name)
        inode = self.child(directory, name, record)
        self.prepare_open(inode, flags)
        return inode

    def prepare_open(self, inode: Inode, flags: int) -> None:
        """What `open` checks and does before there is a handle. (`Files` implements it.)"""
        raise NotImplementedError

    @changing
    def mkdir(self, parent: int, name: str, mode: int, owner: Owner) -> Attributes:
        return self._make(parent, name, DIRECTORY, mode, owner).attributes()

    @changing
    def symlink(self, parent: int, name: str, target: str, owner: Owner) -> Attributes:
        size = len(_target_bytes(target))
        if not 0 < size <= MAX_TARGET:
            kind = Kind.NAME_TOO_LONG if size else Kind.NOT_FOUND
            raise FsError(kind, f"a symlink has a target of 1 to {MAX_TARGET} bytes, not {size}")
        return self._make(parent, name, FileKind.SYMLINK, 0o777, owner, target=target).attributes()

    @changing
    def mknod(self, parent: int, name: str, kind: FileKind, mode: int, owner: Owner, device: int = 0) -> Attributes:
        if kind in (DIRECTORY, FileKind.SYMLINK):
            raise FsError(Kind.INVALID, f"mknod does not make a {kind.name.lower()}")
        if kind not in (FileKind.CHARACTER_DEVICE, FileKind.BLOCK_DEVICE):
            device = 0
        return self._make(parent, name, kind, mode, owner, device=device).attributes()

    def _make(
        self, parent: int, name: str, kind: FileKind, mode: int, owner: Owner, target: str = "", device: int = 0
    ) -> Inode:
        with self.mutex:
            directory, tree = self.directory_of(parent)
            if tree.find(name_bytes(name), name) is not None:
                raise self._exists(directory, name)
            inode = self._add(directory, tree, name, kind, mode, owner)
            inode.target, inode.device = target, device
            return inode

    def _add(self, directory: Inode, tree: DirectoryTree, name: str, kind: FileKind, mode: int, owner: Owner) -> Inode:
        self._check_change(directory)
        inode = self.new_inode(directory, name, kind, mode, owner)
        try:
            tree.insert(name_bytes(name), name, kind, inode.store.block, inode.store.key)
        except FsError:
            del self.table[inode.number]
            raise
        if kind is DIRECTORY:
            inode.links = 2
            directory.links += 1
        self.mark(inode)
        self._touch(directory, inode.changed)
        return inode

    @changing
    def link(self, inode: int, parent: int, name: str) -> Attributes:
        with self.mutex:
            target = self.inode_of(inode)
            directory, tree = self.directory_of(parent)
            raw = name_bytes(name)
            if target.kind is DIRECTORY:
                raise FsError(Kind.IS_DIRECTORY, f"{target.path} is a directory and cannot get a second name")
            if tree.find(raw, name) is not None:
                raise self._exists(directory, name)
            self._check_change(directory)
            self._check_scope(target, directory)
            if not target.links:
                raise FsError(Kind.NOT_FOUND, f"{target.path} was removed")
            if target.links >= MAX_LINKS:
                raise FsError(Kind.TOO_MANY_LINKS, f"{target.path} has {target.links} names")
            tree.insert(raw, name, target.kind, target.store.block, target.store.next_key)
            target.links += 1
            self._touch_changed(target)
            self._touch(directory, target.changed)
            return target.attributes()

    @changing
    def unlink(self, parent: int, name: str) -> None:
        self._unlink(parent, name)

    @changing
    def unlink_keeping(self, parent: int, name: str) -> tuple[int, Handle | None] | None:
        """See `KeepsUnlinked`."""
        return self._unlink(parent, name, keep=True)

    def _unlink(self, parent: int, name: str, keep: bool = False) -> tuple[int, Handle | None] | None:
        with self.mutex:
            directory, tree = self.directory_of(parent)
            raw = name_bytes(name)
            record = self._required(directory, tree, raw, name)
            if entry_kind(record) == DIRECTORY:
                raise FsError(Kind.IS_DIRECTORY, f"{directory.path}/{name} is a directory")
            self._check_change(directory)
            inode = self._child_to_remove(directory, name, record)
            tree.remove(raw, name)
            now = self.clock()
            self._touch(directory, now)
            if inode is None:
                return None
            kept = None
            if keep and inode.links == 1 and inode.kind is FileKind.FILE:
                kept = inode.number, None if inode.opens else self.handles.add(OpenFile(inode, READ | WRITE))
            self._drop_link(inode, now)
            return kept

    def _child_to_remove(self, directory: Inode, name: str, record: bytes) -> Inode | None:
        """None for a damaged file: its name can go, and what is left of its block is nobody's."""
        try:
            return self.child(directory, name, record)
        except FsError as error:
            if error.kind is not Kind.INTEGRITY:
                raise
            return None

    @changing
    def rmdir(self, parent: int, name: str) -> None:
        with self.mutex:
            directory, tree = self.directory_of(parent)
            raw = name_bytes(name)
            record = self._required(directory, tree, raw, name)
            if entry_kind(record) != DIRECTORY:
                raise FsError(Kind.NOT_DIRECTORY, f"{directory.path}/{name} is no directory")
            self._check_change(directory)
            inode = self.child(directory, name, record)
            self._check_empty(inode)
            tree.remove(raw, name)
            now = self.clock()
            self._touch(directory, now)
            self._drop_directory(directory, inode, now)

    @changing
    def rename(
        self, parent: int, name: str, new_parent: int, new_name: str, flags: RenameFlags = RenameFlags.NONE
    ) -> None:
        if flags & RenameFlags.EXCHANGE and flags & RenameFlags.NO_REPLACE:
            raise FsError(Kind.INVALID, "a rename cannot both exchange and not replace")
        with self.mutex:
            directory, tree = self.directory_of(parent)
            new_directory, new_tree = self.directory_of(new_parent)
            record = self._required(directory, tree, name_bytes(name), name)
            old = new_tree.find(name_bytes(new_name), new_name)
            self._check_change(directory)
            self._check_change(new_directory)
            inode = self.child(directory, name, record)
            self._check_scope(inode, new_directory, directory)
            self._check_not_below(inode, new_directory)
            if flags & RenameFlags.EXCHANGE:
                self._exchange(directory, name, record, new_directory, new_name, old)
            elif old is None:
                self._move(inode, directory, name, record, new_directory, new_name)
            elif flags & RenameFlags.NO_REPLACE:
                raise self._exists(new_directory, new_name)
            elif entry_block(old) != entry_block(record):
                self._replace(inode, directory, name, record, new_directory, new_name, old)

    def _move(
        self, inode: Inode, directory: Inode, name: str, record: bytes, new_directory: Inode, new_name: str
    ) -> None:
        """To a name that is free."""
        _tree(new_directory).insert(name_bytes(new_name), new_name, *_fields(record))
        _tree(directory).remove(name_bytes(name), name)
        self._moved(inode, directory, new_directory, new_name)

    def _replace(
        self,
        inode: Inode,
        directory: Inode,
        name: str,
        record: bytes,
        new_directory: Inode,
        new_name: str,
        old: bytes,
    ) -> None:
        """To a name that is taken: what it named loses it."""
        victim = self.child(new_directory, new_name, old)
        if inode.kind is DIRECTORY and victim.kind is not DIRECTORY:
            raise FsError(Kind.NOT_DIRECTORY, f"{victim.path} is no directory, {inode.path} is one")
        if victim.kind is DIRECTORY:
            if inode.kind is not DIRECTORY:
                raise FsError(Kind.IS_DIRECTORY, f"{victim.path} is a directory, {inode.path} is none")
            self._check_empty(victim)
        _tree(new_directory).replace(name_bytes(new_name), new_name, *_fields(record))
        _tree(directory).remove(name_bytes(name), name)
        self._moved(inode, directory, new_directory, new_name)
        if victim.kind is DIRECTORY:
            self._drop_directory(new_directory, victim, inode.changed)
        else:
            self._drop_link(victim, inode.changed)

    def _exchange(
        self, directory: Inode, name: str, record: bytes, new_directory: Inode, new_name: str, old: bytes | None
    ) -> None:
        if old is None:
            raise self._no_entry(new_directory, new_name)
        inode, other = self.child(directory, name, record), self.child(new_directory, new_name, old)
        if inode is other:
            return
        self._check_scope(other, directory, new_directory)
        self._check_not_below(other, directory)
        _tree(new_directory).replace(name_bytes(new_name), new_name, *_fields(record))
        _tree(directory).replace(name_bytes(name), name, *_fields(old))
        self._moved(inode, directory, new_directory, new_name)
        self._moved(other, new_directory, directory, name)

    def _moved(self, inode: Inode, directory: Inode, new_directory: Inode, new_name: str) -> None:
        inode.parent, inode.name = new_directory, new_name
        if inode.kind is DIRECTORY:
            directory.links -= 1
            new_directory.links += 1
        self._touch_changed(inode)
        self._touch(directory, inode.changed)
        self._touch(new_directory, inode.changed)

    def _drop_link(self, inode: Inode, now: int) -> None:
        inode.links -= 1
        inode.changed = now
        self._let_go(inode)

    def _drop_directory(self, parent: Inode, inode: Inode, now: int) -> None:
        parent.links -= 1
        self.mark(parent)
        inode.links = 0
        inode.changed = now
        self._let_go(inode)

    def _let_go(self, inode: Inode) -> None:
        if inode.links or inode.opens:
            self.mark(inode)
        else:
            self.release(inode)

    def _touch(self, directory: Inode, now: int) -> None:
        directory.modified = directory.changed = now
        self.mark(directory)

    def _touch_changed(self, inode: Inode) -> None:
        inode.changed = self.clock()
        self.mark(inode)

    def _required(self, directory: Inode, tree: DirectoryTree, raw: bytes, name: str) -> bytes:
        record = tree.find(raw, name)
        if record is None:
            raise self._no_entry(directory, name)
        return record

    def _check_change(self, directory: Inode) -> None:
        self.check_writable(directory)
        if not directory.links:
            raise FsError(Kind.NOT_FOUND, f"the directory {directory.path} was removed")

    def _check_empty(self, inode: Inode) -> None:
        if _tree(inode).entries:
            raise FsError(Kind.NOT_EMPTY, f"the directory {inode.path} is not empty")

    def _check_scope(self, inode: Inode, new_directory: Inode, directory: Inode | None = None) -> None:
        """An object stays in its write scope: moving it would need its headers signed for another."""
        if directory is not None and directory.store.scope == new_directory.store.scope:
            return  # also where a scope of its own begins at the object
        if inode.store.scope != new_directory.store.scope:
            raise FsError(
                Kind.CROSS_DEVICE,
                f"{inode.path} and {new_directory.path} were delegated to different writers",
                "copy it and remove the original",
            )

    def _check_not_below(self, inode: Inode, new_directory: Inode) -> None:
        above: Inode | None = new_directory
        while above is not None:
            if above is inode:
                raise FsError(Kind.INVALID, f"{inode.path} cannot be moved into itself")
            above = above.parent

    def _no_entry(self, directory: Inode, name: str) -> FsError:
        return FsError(Kind.NOT_FOUND, f"{directory.path.rstrip('/')}/{name} does not exist")

    def _exists(self, directory: Inode, name: str) -> FsError:
        return FsError(Kind.EXISTS, f"{directory.path.rstrip('/')}/{name} exists already")


def _tree(inode: Inode) -> DirectoryTree:
    assert inode.directory is not None
    return inode.directory


def _fields(record: bytes) -> tuple[int, bytes, bytes]:
    return entry_kind(record), entry_block(record), entry_key(record)


def _target_bytes(target: str) -> bytes:
    try:
        raw = target.encode()
    except UnicodeEncodeError:
        raise FsError(Kind.INVALID, f"the symlink target {target!a} is not valid UTF-8") from None
    if b"\0" in raw:
        raise FsError(Kind.INVALID, "a symlink target contains no NUL")
    return raw
