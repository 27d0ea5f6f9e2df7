"""The systemd unit: accepted by systemd, and hardened. systemd itself is never started."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "systemd" / "btfsd.service"
MOST_EXPOSURE = 1.5  #: of 10; what remains is that a server has a network
ANALYZE = shutil.which("systemd-analyze")


def analyze(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on the unit, with a program in its ExecStart that exists here."""
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt install systemd)")
    unit = tmp_path / "btfsd.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/btfsd", sys.executable))
    done = subprocess.run([ANALYZE, *words, str(unit)], capture_output=True, text=True, timeout=60, check=False)
    if "unrecognized option" in done.stderr or "Unknown" in done.stderr:
        pytest.skip(f"this systemd-analyze lacks {' '.join(words)}: {done.stderr.strip()}")
    return done


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_hardly_exposed(tmp_path: Path) -> None:
    done = analyze(tmp_path, "security", "--offline=true", "--no-pager")
    found = re.search(r"exposure level for btfsd\.service: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def test_it_has_no_capabilities_no_user_and_one_place_to_write() -> None:
    lines = UNIT.read_text().splitlines()
    for line in (
        "CapabilityBoundingSet=",
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "StateDirectory=blocktree",
        "LoadCredential=passphrase:/etc/blocktree/passphrase",
        "Type=notify",
    ):
        assert line in lines
