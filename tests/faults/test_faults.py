"""The short form of the suite: real mounts, one or two rounds of each kind. `nox -s faults` runs the whole of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from btfproto.errors import StoreError

from tests.faults import rounds, snapshotting
from tests.faults.checker import Verdict
from tests.faults.full_disk import SIZE, fill_and_go_on
from tests.faults.image import Image, image
from tests.faults.memory import stay_within
from tests.faults.rig import FaultError, Rig, rig

pytestmark = [pytest.mark.mount, pytest.mark.slow]

CUT_DISK = 64  #: MiB


@pytest.fixture(autouse=True)
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where all directories of a test are made; whatever it does, nothing is mounted there afterwards."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@pytest.fixture
def loop_device() -> None:
    if shutil.which("mkfs.ext4") is None or shutil.which("losetup") is None:
        pytest.skip("needs mkfs.ext4 and losetup (Debian packages e2fsprogs and mount)")
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        pytest.skip("there are no loop devices here")


@pytest.mark.parametrize(
    "round_of",
    [
        rounds.kill_alone,
        rounds.kill_client,
        rounds.kill_server,
        rounds.kill_thin_client,
        rounds.kill_thin_server,
        snapshotting.kill_snapshots_alone,
        snapshotting.kill_snapshots_client,
    ],
)
def test_a_kill_loses_nothing_that_was_acknowledged(round_of: Callable[[Rig, Random, str], Verdict]) -> None:
    with rig() as built:
        seed = f"short {round_of.__name__}"
        round_of(built, Random(seed), seed)


@pytest.mark.usefixtures("loop_device")
def test_a_power_cut_loses_nothing_that_was_acknowledged() -> None:
    with image(CUT_DISK) as disk, rig(disk.place / "store") as built:
        for round_of in (rounds.cut_alone, rounds.cut_served):
            seed = f"short {round_of.__name__}"
            round_of(built, Random(seed), seed, disk)


@pytest.mark.usefixtures("loop_device")
def test_a_store_that_does_not_sync_its_segments_is_caught(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "sitecustomize.py").write_text("import os\nos.fdatasync = os.fsync = lambda descriptor: None\n")
    monkeypatch.setenv("PYTHONPATH", str(top))
    noticed = pytest.raises((FaultError, StoreError, OSError), match=r"is damaged|Bad message|durable|no state")
    with image(CUT_DISK) as disk, rig(disk.place / "store") as built, noticed:
        cut_often(built, disk)


def cut_often(built: Rig, disk: Image) -> None:
    for number in range(5):
        rounds.cut_alone(built, Random(number), f"planted {number}", disk)


@pytest.mark.usefixtures("loop_device")
def test_a_full_disk_is_reported_and_room_lets_the_mount_go_on() -> None:
    with image(SIZE) as disk, rig(disk.place / "store") as built:
        fill_and_go_on(built, disk)


def test_memory_stays_within_its_bound() -> None:
    with rig() as built:
        stay_within(built, span=4 << 30, sparse=3_000, dense=128 << 20)
