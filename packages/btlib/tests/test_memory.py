"""What a daemon does with memory that is given back, each in a process of its own: it cannot be undone."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Takes and gives back the sectors of ten mebibytes, again and again; the page faults of it.
PROGRAM = """
import resource
from btlib.memory import keep_memory
if {kept}:
    keep_memory()
for number in range(12):
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    sectors = [bytes(4124) for _ in range(2560)]
    del sectors
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept: bool) -> int:
    program = PROGRAM.format(kept=kept)
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told how to keep memory")
def test_memory_that_was_given_back_is_used_again_without_page_faults() -> None:
    assert faults(kept=True) * 10 < faults(kept=False)
