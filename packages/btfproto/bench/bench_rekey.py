"""Re-keying many small files, beside writing the same files once more: what a copy under new keys would cost.

Both over an embedded store on the machine's temporary directory, in one process.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from btfproto.domain import DomainReader, open_volume
from btfproto.localfs import FsOptions, LocalFs, Rekeying, empty_directory_attributes, rekey_tree
from btfproto.provider import OpenFlags, Owner
from btfproto.store import EmbeddedStore
from btfproto.testing.domains import World
from btlib import ReadKey

from tests.bench.harness import Result, compare

NAME = "rekey"

FILES, DIRECTORIES, SIZE = 10_000, 20, 1000
ME = Owner(1000, 1000)


class Tree:
    """A domain with many small files in some directories below `/files`."""

    def __init__(self, directory: Path) -> None:
        self.store = EmbeddedStore(directory)
        self.now = int(time.time())
        self.world = World.make(self.store, now=self.now, directory_attributes=empty_directory_attributes)
        self.written = 0
        self.write()

    def open(self) -> LocalFs:
        volume = open_volume(self.store, self.world.machine, self.world.path(), self.now)
        return LocalFs(self.store, self.world.machine, volume, options=FsOptions())

    def write(self) -> float:
        """Write all the files into a new directory, durably: files a second."""
        with self.open() as fs:
            begin = time.perf_counter()
            top = fs.mkdir(fs.root, f"files {self.written}", 0o755, ME).inode
            for number in range(DIRECTORIES):
                inner = fs.mkdir(top, f"d{number}", 0o755, ME).inode
                for file in range(FILES // DIRECTORIES):
                    _, handle = fs.create(inner, f"f{file}", 0o644, ME, OpenFlags.WRITE)
                    fs.write(handle, 0, b"x" * SIZE)
                    fs.close(handle)
            fs.sync()
            self.written += 1
            return FILES / (time.perf_counter() - begin)

    def rekey(self) -> float:
        """Re-key the first directory: files a second."""
        with self.open() as fs:
            above = self.key(fs, fs.root)
            top = self.key(fs, fs.lookup(fs.root, "files 0").inode, "files 0")
        work = Rekeying(
            store=self.store,
            identity=self.world.machine,
            reader=DomainReader(self.store, self.world.root.principal),
            top=top,
            above=above,
            keys_of=lambda _principal: None,
            now=self.now,
            random=os.urandom,
        )
        begin = time.perf_counter()
        done = rekey_tree(work)
        return (done.blocks - DIRECTORIES - 1) / (time.perf_counter() - begin)

    def key(self, fs: LocalFs, inode: int, *names: str) -> ReadKey:
        stored = fs.inode_of(inode).store
        return ReadKey(block=stored.block, key_epoch=stored.key_epoch, key=stored.key, path=self.world.path(*names))


def run(rounds: int) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="bt-bench-") as directory:
        tree = Tree(Path(directory) / "store")
        try:
            what = f"re-key {FILES} files of {SIZE} bytes"
            return compare(what, "files/s", tree.rekey, {"writing them": tree.write}, rounds, better="higher")
        finally:
            tree.store.close()
