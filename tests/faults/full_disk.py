"""A disk that becomes full under a mount: programs are told, nothing acknowledged is lost, and room lets it go on."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.image import Image
from tests.faults.operations import content
from tests.faults.rig import Rig, require

SIZE = 24  #: MiB of the disk
BALLAST = 5  #: MiB of it that something else takes, twice, and gives back
FILE = 700_000  #: bytes of each file that is written
MOST_FILES = 4 * (SIZE << 20) // FILE


@dataclass
class Writer:
    """Writes files and fsyncs each; remembers which were acknowledged."""

    place: Path
    acknowledged: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def write(self) -> None:
        """One more file. Raises OSError."""
        self.number += 1
        name = f"file{self.number}"
        descriptor = os.open(self.place / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            os.pwrite(descriptor, content(self.number, FILE), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.acknowledged[name] = self.number

    def write_until_full(self) -> None:
        try:
            while self.number < MOST_FILES:
                self.write()
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0)
            require(error.errno == errno.ENOSPC, f"a program is told ENOSPC, not {name}")
            return
        require(False, "a full disk is noticed")

    def delete_half(self) -> int:
        """Every second file, on a disk where there is no room; how many."""
        names = list(self.acknowledged)[::2]
        for name in names:
            (self.place / name).unlink()
            del self.acknowledged[name]
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return len(names)

    def check(self) -> None:
        """All that was acknowledged is there."""
        for name, number in self.acknowledged.items():
            found = (self.place / name).read_bytes()
            require(found == content(number, FILE), f"{name} is as it was acknowledged ({len(found)} bytes)")


def fill_and_go_on(rig: Rig, image: Image) -> str:
    """Twice full, and room is made each time; a third time, and files are deleted in the mount; then a crash."""
    ballast = [image.place / "first", image.place / "second"]
    for path in ballast:
        path.write_bytes(os.urandom(BALLAST << 20))
    rig.start_mount("commit=0.3")
    writer = Writer(rig.place)
    counts = []
    for path in ballast:
        writer.write_until_full()
        writer.check()
        counts.append(len(writer.acknowledged))
        path.unlink()
        for _ in range(5):
            writer.write()
        writer.check()
    writer.write_until_full()
    gone = writer.delete_half()
    for _ in range(gone // 2):
        writer.write()
    writer.check()
    rig.kill_mount()
    rig.start_mount()
    writer.check()
    rig.unmount()
    rig.scrub()
    total = len(writer.acknowledged)
    return f"full after {counts[0]} and {counts[1]} files of {FILE} bytes; {total} acknowledged, all there"
