"""A simulated run that fails prints its seed, and that seed replays it exactly, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Every world that the other tests simulate.
WORLDS = {
    "supervision": "tests.test_simulation.storm",
    "crashes": "tests.test_simulation.crashes",
    "services": "tests.test_services.contest",
    "hand-over": "tests.test_nearest.handing_over_one",
    "sessions": "tests.protocol.test_simulated.market",
    "sessions among three": "tests.protocol.test_simulated.circle",
}

PROGRAM = """
import importlib, logging, sys
from btrun.testing import simulate
logging.disable()
module, _, name = sys.argv[1].rpartition(".")
print("\\n".join(simulate(getattr(importlib.import_module(module), name), seed=int(sys.argv[2]))))
"""

FAILING = """
import random
from btrun.testing import simulate

async def main(sim):
    await sim.start("a")
    if sim.random.random() < 0.5 and random.random() < 0.5:
        raise ValueError("it failed")

for seed in range(100):
    simulate(main, seed=seed)
"""


def run(program: str, *arguments: str, hash_seed: str = "0", check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    folder = Path(__file__).parent.parent
    environment = {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, check=check, cwd=folder, env=environment)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_run_is_the_same_in_every_process(world: str) -> None:
    one, again, other = (
        run(PROGRAM, world, seed, hash_seed=hashes).stdout for seed, hashes in (("7", "1"), ("7", "2"), ("8", "1"))
    )
    assert one == again
    assert one != other
    assert one.count("\n") > 20


def test_a_failing_run_prints_its_seed_which_fails_again() -> None:
    printed = run(FAILING, check=False).stderr
    seed = printed.partition("simulation seed ")[2].partition(":")[0]
    assert f"simulate(…, seed={seed}) replays this" in printed
    one = FAILING.replace("range(100)", f"[{seed}]")
    assert "ValueError: it failed" in run(one, check=False).stderr
