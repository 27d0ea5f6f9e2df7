"""`bt df`, as a user runs it."""

from __future__ import annotations

import random
from pathlib import Path

from .conftest import Machine
from .serving import enrol, free_port, running_server


def numbers(document: dict[str, object]) -> dict[str, int]:
    return {key: value for key, value in document.items() if isinstance(value, int)}


def test_what_is_written_lives_and_what_is_removed_is_dead(nas: Machine, tmp_path: Path) -> None:
    empty = numbers(nas("df", "--json", "home:").document)
    assert empty["dead"] == empty["tombstones"] == 0
    size = 100 * 16_384
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(size))
    nas("cp", tmp_path / "file", "home:/")
    full = numbers(nas("df", "--json", "home:").document)
    assert size < full["living"] - empty["living"] < 1.1 * size
    assert full["store"] >= full["living"]
    assert full["capacity"] > full["available"] > 0
    nas("rm", "home:/file")
    after = numbers(nas("df", "--json", "home:").document)
    assert after["tombstones"] == 1
    assert after["blocks"] == full["blocks"] - 1
    assert after["living"] < size < after["dead"]


def test_people_read_sizes_with_units_and_no_passphrase_is_asked_for(nas: Machine) -> None:
    done = nas("df", BLOCKTREE_PASSPHRASE="a wrong one")
    assert done.out.startswith(f"home: {nas.store}\n")
    assert "  dead bytes in segments                      0 B\n" in done.out


def test_a_store_in_use_and_one_on_a_server_are_measured(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    port = free_port()
    with running_server(nas, port, tmp_path / "btfsd.log"):
        enrol(nas, laptop, port)
        here, there = nas("df", "--json", "home:").document, laptop("df", "--json", "home:").document
        assert there["living"] == here["living"]
        assert there["dead"] is None
        assert "  available" in laptop("df").out


def test_a_store_that_is_gone_is_missed(nas: Machine) -> None:
    (nas.store / "index.sqlite").unlink()
    assert "there is no store in" in nas("df", "home:", code=1).err
