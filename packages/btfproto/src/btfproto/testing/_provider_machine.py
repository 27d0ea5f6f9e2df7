"""A Hypothesis state machine that compares a provider with a model in dictionaries."""

from __future__ import annotations

from btlib.kinds import Kind
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ..provider import AllocateMode, AttributeChanges, FileKind, FsProvider, Handle, Inode, RenameFlags
from ._provider_tools import ME, READ_WRITE, opened, read_file, refused


class ModelNode:
    """What a plain file system would remember of an object."""

    def __init__(self, kind: FileKind, inode: Inode, parent: ModelNode | None = None) -> None:
        self.kind = kind
        self.inode = inode
        self.parent = parent  #: of a directory
        self.content = bytearray()
        self.target = ""
        self.children: dict[str, ModelNode] = {}
        self.links = 2 if kind is FileKind.DIRECTORY else 1
        self.xattrs: dict[str, bytes] = {}
        self.mode = 0

    def is_below(self, other: ModelNode) -> bool:
        node: ModelNode | None = self
        while node is not None and node is not other:
            node = node.parent
        return node is other


class Model:
    """A file system in dictionaries. It can be copied, as a commit does."""

    def __init__(self, root: Inode) -> None:
        self.root = ModelNode(FileKind.DIRECTORY, root)

    def nodes(self) -> list[ModelNode]:
        """Every object once, in the order in which they are found."""
        found: dict[int, ModelNode] = {}
        waiting = [self.root]
        while waiting:
            node = waiting.pop(0)
            if id(node) not in found:
                found[id(node)] = node
                waiting += node.children.values()
        return list(found.values())

    def directories(self) -> list[ModelNode]:
        return [node for node in self.nodes() if node.kind is FileKind.DIRECTORY]

    def files(self) -> list[ModelNode]:
        return [node for node in self.nodes() if node.kind is FileKind.FILE]


NAMES = st.sampled_from(["a", "b", "c", "d", "ö" * 100, "x" * 255])
PICKS = st.integers(0, 1000)  #: which of the directories or files there are
OFFSETS = st.sampled_from([0, 1, 100, 16_383, 16_384, 20_000, 49_152, 70_000])
LENGTHS = st.sampled_from([0, 1, 10, 4096, 16_384, 16_385, 40_000])


class FileSystemMachine(RuleBasedStateMachine):
    """Does random things to a provider and to a `Model`, and compares. Subclasses implement `open_provider`."""

    fs: FsProvider

    def open_provider(self) -> FsProvider:
        """A provider with an empty root directory."""
        raise NotImplementedError

    def close_provider(self) -> None:
        """Called at the end of each run."""
        self.fs.shutdown()

    @initialize()
    def open_it(self) -> None:
        self.fs = self.open_provider()
        self.model = Model(self.fs.root)
        self.open_files: list[tuple[Handle, ModelNode]] = []
        self.fill = 0

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.compare()
            for handle, _ in self.open_files:
                self.fs.close(handle)
            self.close_provider()

    def compare(self) -> None:
        """Everything that can be seen must be as in the model."""
        for node in self.model.nodes():
            shown = self.fs.getattr(node.inode)
            assert (shown.kind, shown.links, shown.mode) == (node.kind, node.links, node.mode or shown.mode)
            assert {name: self.fs.getxattr(node.inode, name) for name in self.fs.listxattr(node.inode)} == node.xattrs
            if node.kind is FileKind.DIRECTORY:
                listed = {entry.name: (entry.inode, entry.kind) for entry in self.fs.readdir(node.inode, 0, 1000)}
                assert listed == {name: (child.inode, child.kind) for name, child in node.children.items()}
            elif node.kind is FileKind.SYMLINK:
                assert self.fs.readlink(node.inode) == node.target
            else:
                assert shown.size == len(node.content)
                assert read_file(self.fs, node.inode) == bytes(node.content)
        for handle, node in self.open_files:
            assert self.fs.read(handle, 0, 1 << 20) == bytes(node.content)

    def directory(self, pick: int) -> ModelNode:
        directories = self.model.directories()
        return directories[pick % len(directories)]

    def file(self, pick: int) -> ModelNode | None:
        files = self.model.files()
        return files[pick % len(files)] if files else None

    def bytes_of(self, length: int) -> bytes:
        self.fill = self.fill % 255 + 1
        return bytes([self.fill]) * length

    @rule(pick=PICKS, name=NAMES)
    def make_directory(self, pick: int, name: str) -> None:
        parent = self.directory(pick)
        if name in parent.children:
            with refused(Kind.EXISTS):
                self.fs.mkdir(parent.inode, name, 0o755, ME)
            return
        made = self.fs.mkdir(parent.inode, name, 0o755, ME)
        parent.children[name] = ModelNode(FileKind.DIRECTORY, made.inode, parent)
        parent.links += 1

    @rule(pick=PICKS, name=NAMES, offset=OFFSETS, length=LENGTHS, keep_open=st.booleans())
    def create_file(self, pick: int, name: str, offset: int, length: int, keep_open: bool) -> None:
        parent = self.directory(pick)
        node = parent.children.get(name)
        if node is not None and node.kind is not FileKind.FILE:
            with refused(Kind.IS_DIRECTORY, Kind.LOOP):
                self.fs.create(parent.inode, name, 0o644, ME, READ_WRITE)
            return
        shown, handle = self.fs.create(parent.inode, name, 0o644, ME, READ_WRITE)
        if node is None:
            node = parent.children[name] = ModelNode(FileKind.FILE, shown.inode)
        assert shown.inode == node.inode
        self._write(handle, node, offset, length)
        if keep_open and len(self.open_files) < 4:
            self.open_files.append((handle, node))
        else:
            self.fs.close(handle)

    def _write(self, handle: Handle, node: ModelNode, offset: int, length: int) -> None:
        data = self.bytes_of(length)
        assert self.fs.write(handle, offset, data) == length
        if length:
            node.content.extend(bytes(max(offset - len(node.content), 0)))
            node.content[offset : offset + length] = data

    @rule(pick=PICKS, offset=OFFSETS, length=LENGTHS)
    def write_to_open_file(self, pick: int, offset: int, length: int) -> None:
        if self.open_files:
            handle, node = self.open_files[pick % len(self.open_files)]
            self._write(handle, node, offset, length)

    @rule(pick=PICKS)
    def close_file(self, pick: int) -> None:
        if self.open_files:
            handle, _ = self.open_files.pop(pick % len(self.open_files))
            self.fs.close(handle)

    @rule(pick=PICKS, size=OFFSETS)
    def truncate(self, pick: int, size: int) -> None:
        if (node := self.file(pick)) is not None:
            self.fs.setattr(node.inode, AttributeChanges(size=size))
            del node.content[size:]
            node.content.extend(bytes(size - len(node.content)))

    @rule(pick=PICKS, offset=OFFSETS, length=LENGTHS, mode=st.sampled_from(AllocateMode))
    def allocate(self, pick: int, offset: int, length: int, mode: AllocateMode) -> None:
        node = self.file(pick)
        if node is None or not length:
            return
        with opened(self.fs, node.inode, READ_WRITE) as handle:
            self.fs.fallocate(handle, mode, offset, length)
        if mode in (AllocateMode.PUNCH_HOLE, AllocateMode.ZERO_RANGE):
            end = min(offset + length, len(node.content))
            node.content[offset:end] = bytes(max(end - offset, 0))
        if mode in (AllocateMode.ALLOCATE, AllocateMode.ZERO_RANGE):
            node.content.extend(bytes(max(offset + length - len(node.content), 0)))

    @rule(pick=PICKS, name=NAMES, points_to=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
    def make_symlink(self, pick: int, name: str, points_to: str) -> None:
        parent = self.directory(pick)
        if name not in parent.children:
            made = self.fs.symlink(parent.inode, name, points_to, ME)
            node = parent.children[name] = ModelNode(FileKind.SYMLINK, made.inode)
            node.target = points_to

    @rule(pick=PICKS, to=PICKS, name=NAMES)
    def link(self, pick: int, to: int, name: str) -> None:
        node, parent = self.file(pick), self.directory(to)
        if node is None:
            return
        if name in parent.children:
            with refused(Kind.EXISTS):
                self.fs.link(node.inode, parent.inode, name)
            return
        self.fs.link(node.inode, parent.inode, name)
        node.links += 1
        parent.children[name] = node

    @rule(pick=PICKS, name=NAMES)
    def remove(self, pick: int, name: str) -> None:
        parent = self.directory(pick)
        node = parent.children.get(name)
        if node is None:
            with refused(Kind.NOT_FOUND):
                self.fs.unlink(parent.inode, name)
        elif node.kind is not FileKind.DIRECTORY:
            self.fs.unlink(parent.inode, name)
            del parent.children[name]
            node.links -= 1
        elif node.children:
            with refused(Kind.NOT_EMPTY):
                self.fs.rmdir(parent.inode, name)
        else:
            self.fs.rmdir(parent.inode, name)
            del parent.children[name]
            parent.links -= 1

    @rule(pick=PICKS, name=NAMES, to=PICKS, new_name=NAMES, flags=st.sampled_from(list(RenameFlags)))
    def rename(self, pick: int, name: str, to: int, new_name: str, flags: RenameFlags) -> None:
        parent, new_parent = self.directory(pick), self.directory(to)
        error = self._rename_error(parent, name, new_parent, new_name, flags)
        if error:
            with refused(*error):
                self.fs.rename(parent.inode, name, new_parent.inode, new_name, flags)
            return
        self.fs.rename(parent.inode, name, new_parent.inode, new_name, flags)
        node, old = parent.children[name], new_parent.children.get(new_name)
        if node is old:
            return
        if flags is RenameFlags.EXCHANGE:
            assert old is not None
            self._place(node, parent, new_parent, new_name)
            self._place(old, new_parent, parent, name)
            return
        if old is not None:
            old.links -= 1
            new_parent.links -= old.kind is FileKind.DIRECTORY
        del parent.children[name]
        self._place(node, parent, new_parent, new_name)

    def _place(self, node: ModelNode, before: ModelNode, parent: ModelNode, name: str) -> None:
        parent.children[name] = node
        if node.kind is FileKind.DIRECTORY:
            before.links -= 1
            parent.links += 1
            node.parent = parent

    def _rename_error(
        self, parent: ModelNode, name: str, new_parent: ModelNode, new_name: str, flags: RenameFlags
    ) -> tuple[Kind, ...]:
        """The kinds that are right where this rename must fail; several where several things are wrong."""
        node, old = parent.children.get(name), new_parent.children.get(new_name)
        if node is None:
            return (Kind.NOT_FOUND,)
        wrong: list[Kind] = []
        if new_parent.is_below(node):
            wrong.append(Kind.INVALID)
        if flags is RenameFlags.EXCHANGE:
            if old is None:
                wrong.append(Kind.NOT_FOUND)
            elif parent.is_below(old):
                wrong.append(Kind.INVALID)
            return tuple(wrong)
        if old is None or old is node:
            return (*wrong, Kind.EXISTS) if flags is RenameFlags.NO_REPLACE and old is node else tuple(wrong)
        if flags is RenameFlags.NO_REPLACE:
            return (*wrong, Kind.EXISTS)
        if node.kind is FileKind.DIRECTORY and old.kind is not FileKind.DIRECTORY:
            wrong.append(Kind.NOT_DIRECTORY)
        if node.kind is not FileKind.DIRECTORY and old.kind is FileKind.DIRECTORY:
            wrong.append(Kind.IS_DIRECTORY)
        if node.kind is old.kind is FileKind.DIRECTORY and old.children:
            wrong.append(Kind.NOT_EMPTY)
        return tuple(wrong)

    @rule(pick=PICKS, mode=st.integers(1, 0o777))
    def change_mode(self, pick: int, mode: int) -> None:
        nodes = self.model.nodes()
        node = nodes[pick % len(nodes)]
        self.fs.setattr(node.inode, AttributeChanges(mode=mode))
        node.mode = mode

    @rule(pick=PICKS, name=st.sampled_from(["user.a", "user.b"]), value=st.binary(max_size=20))
    def set_xattr(self, pick: int, name: str, value: bytes) -> None:
        nodes = self.model.nodes()
        node = nodes[pick % len(nodes)]
        self.fs.setxattr(node.inode, name, value)
        node.xattrs[name] = value

    @rule()
    def sync(self) -> None:
        self.fs.sync()

    @rule()
    def look(self) -> None:
        self.compare()
