"""Who unmounts hears the process of that very mount, although the kernel gives a device number away again at once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from btfuse._last_word import LastWord, daemon_of
from btfuse._mountpoint import find_mount, unmount

PATIENCE = 20
#: A mount's process without a mount: is unmounted at the first line that it reads, and has committed at the second.
PROCESS = """
import sys
from btfuse._errors import FuseError
from btfuse._last_word import LastWord
from btlib.kinds import Kind
with LastWord() as word:
    print(word.listen(sys.argv[1], seconds=float(sys.argv[2])), flush=True)
    sys.stdin.readline()
    word.release()
    print("unmounted", flush=True)
    sys.stdin.readline()
    raise FuseError(sys.argv[3], kind=Kind.IO)
"""


class Mount:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def send(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def unmount(self) -> None:
        self.send()
        assert self.line() == "unmounted"


@contextlib.contextmanager
def mount(device: str, text: str, seconds: float = PATIENCE) -> Iterator[Mount]:
    command = [sys.executable, "-c", PROCESS, device, str(seconds), text]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield Mount(process)
        finally:
            process.kill()


@pytest.fixture
def device() -> str:
    """No device has this number: a real mount of another test might."""
    return f"test:{uuid.uuid4()}"


def test_each_asker_hears_its_own_mount_although_both_have_one_device_number(device: str) -> None:
    with mount(device, "the old one") as old:
        assert old.line() == "True"
        with daemon_of(device, os.getuid()) as first:
            assert first is not None
            old.unmount()
            with mount(device, "the new one") as new:
                assert new.line() == "True"
                with daemon_of(device, os.getuid()) as second:
                    assert second is not None
                    assert (first.pid, second.pid) == (old.pid, new.pid)
                    new.unmount()
                    new.send()
                    assert "the new one" in (second.wait(PATIENCE) or "")
            old.send()
            assert "the old one" in (first.wait(PATIENCE) or "")


def test_a_new_mount_waits_for_its_name_until_the_old_one_sees_its_end(device: str) -> None:
    with mount(device, "the old one") as old:
        assert old.line() == "True"
        with mount(device, "the new one") as new:
            old.unmount()
            assert new.line() == "True"
            with daemon_of(device, os.getuid()) as daemon:
                assert daemon is not None
                assert daemon.pid == new.pid


def test_a_mount_whose_name_stays_taken_says_so_and_goes_on(device: str) -> None:
    with LastWord() as holder, LastWord() as other:
        assert holder.listen(device)
        assert not other.listen(device, seconds=0.0)


def test_who_asks_after_the_end_of_a_mount_finds_nobody(device: str) -> None:
    with LastWord() as word:
        assert word.listen(device)
        word.release()
        word.release()
        with daemon_of(device, os.getuid()) as daemon:
            assert daemon is None


def test_a_name_that_another_user_holds_is_nobody(device: str) -> None:
    with LastWord() as word:
        assert word.listen(device)
        with daemon_of(device, os.getuid() + 1) as daemon:
            assert daemon is None


#: A real mount whose commit lasts until the other end of a pipe is closed.
COMMITS = """
import sys
from pathlib import Path
from btfuse._binding import load_binding
from btfuse._context import Settings, Symlinks
from btfuse._mount import run_mount
from btfuse.testing import MemoryProvider
class Slow(MemoryProvider):
    def shutdown(self):
        Path(sys.argv[2]).read_text()
settings = Settings(mountpoint=sys.argv[1], shared=sys.argv[3] != "1", remote_locks=False, symlinks=Symlinks.CONTAINED)
options = ("fsname=memory", "nosuid", "nodev", "subtype=btfuse")
ready = lambda: print("ready", flush=True)
run_mount(Slow(), load_binding("auto"), settings, options, threads=int(sys.argv[3]), ready=ready)
"""


@contextlib.contextmanager
def slow_to_commit(path: Path, pipe: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", COMMITS, str(path), str(pipe), str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)
            while find_mount(str(path)) is not None:
                unmount(str(path), lazy=True)


@pytest.mark.mount
@pytest.mark.skipif(not Path("/dev/fuse").exists() or os.geteuid() != 0, reason="needs /dev/fuse and root")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_mount_that_still_commits_has_given_its_name_away(tmp_path: Path, threads: int) -> None:
    path, pipe = tmp_path / "m", tmp_path / "pipe"
    path.mkdir()
    os.mkfifo(pipe)
    with slow_to_commit(path, pipe, threads) as process:
        entry = find_mount(str(path))
        assert entry is not None
        with daemon_of(entry.device, entry.owner) as asked:
            assert asked is not None
            unmount(str(path))
            with pipe.open("w"):  # opens when the commit has begun
                with daemon_of(entry.device, entry.owner) as late:  # another mount may have the number by now
                    assert late is None or late.pid != process.pid
                assert process.poll() is None
            assert asked.wait(PATIENCE) == ""
