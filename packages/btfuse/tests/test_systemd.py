from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parent.parent / "systemd"
NAMES = ["btfuse@.service", "srv-tree.mount", "srv-tree.automount"]

#: Each of these gives a service a mount namespace of its own, in which nobody else would see the mount.
PRIVATE = (
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateMounts",
    "PrivateDevices",
    "ReadOnlyPaths",
    "TemporaryFileSystem",
)


@pytest.mark.parametrize("name", NAMES)
def test_no_unit_has_a_mount_namespace_of_its_own(name: str) -> None:
    settings = [line for line in (UNITS / name).read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in settings if line.startswith(PRIVATE)]


def test_the_units_are_what_systemd_reads(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in NAMES:
        text = (UNITS / name).read_text().replace("/usr/bin/btfuse", "/bin/true")
        (tmp_path / name.replace("@.", "@test.")).write_text(text)
    units = [str(tmp_path / name.replace("@.", "@test.")) for name in NAMES]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, complaints) == (0, [])
