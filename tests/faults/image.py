"""A disk of its own for a store, and power cuts on it.

An ext4 file system lies in a file and is mounted by a loop device. What the kernel has pushed down to the device is in
the file; what it still holds for the file system is not. So a copy of the file, taken while nothing is written, is the
disk after a power cut at that moment; mounting the copy replays ext4's journal, as after a real one.

    stop the writer ── all its threads stand ── copy ── kill it ── mount the copy in place of the image

It cannot show a missing fsync of a directory, because ext4 brings names down with the files (measured).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.rig import FaultError, is_mounted, require, wait_until

COPIES = 20  #: attempts to copy while the kernel writes nothing of its own accord
#: So long that the kernel pushes nothing down by itself which a program did not ask to be durable.
_MOUNT_OPTIONS = "loop,commit=300"


@dataclass
class Image:
    """A mounted image."""

    file: Path
    place: Path

    def make(self, mebibytes: int) -> None:
        with self.file.open("wb") as file:
            file.truncate(mebibytes << 20)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self.file))
        self.place.mkdir(exist_ok=True)
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", _MOUNT_OPTIONS, str(self.file), str(self.place))

    def unmount(self) -> None:
        run("umount", str(self.place))

    @property
    def device(self) -> str:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, place, *_ = line.split()
            if place == str(self.place):
                return device
        raise FaultError(f"{self.place} is not mounted")

    def cut(self, writer: int, kill: Callable[[], None]) -> None:
        """Take the power away from a process that writes here; `kill` ends it."""
        os.kill(writer, signal.SIGSTOP)
        wait_until(lambda: stands(writer), f"process {writer} stands")
        copy = self.file.with_suffix(".cut")
        self._copy(copy)
        kill()
        self.unmount()
        copy.replace(self.file)
        self.mount()

    def _copy(self, copy: Path) -> None:
        """As it was at one moment: the device saw no write meanwhile."""
        for _ in range(COPIES):
            before = self._written()
            run("cp", "--sparse=always", str(self.file), str(copy))
            if self._written() == before:
                return
        raise FaultError("the kernel goes on writing although the writer is stopped")

    def _written(self) -> str:
        """The device's counts of writes and flushes, and what is in flight."""
        return Path("/sys/block", Path(self.device).name, "stat").read_text()

    def sweep(self) -> None:
        if is_mounted(self.place):
            with contextlib.suppress(FaultError):
                self.unmount()
        if is_mounted(self.place):
            run("umount", "-l", str(self.place))


@contextlib.contextmanager
def image(mebibytes: int) -> Iterator[Image]:
    """An image in a temporary directory, mounted."""
    top = Path(tempfile.mkdtemp(prefix="blocktree-image-"))
    built = Image(top / "disk.img", top / "disk")
    try:
        built.make(mebibytes)
        yield built
    finally:
        built.sweep()
        shutil.rmtree(top)


def stands(process: int) -> bool:
    """Whether all threads are stopped; one inside a sync only stops when that is done."""
    states = [line.rpartition(")")[2].split()[0] for line in thread_lines(process)]
    return bool(states) and all(state == "T" for state in states)


def thread_lines(process: int) -> list[str]:
    return [(task / "stat").read_text() for task in Path(f"/proc/{process}/task").iterdir()]


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"`{' '.join(words)}` exits {done.returncode}: {done.stderr.strip()}")
