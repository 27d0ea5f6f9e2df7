"""Run every test that docs/threat-model.md names: `python -m tests.hostile [words for pytest]`."""

from __future__ import annotations

import subprocess
import sys

from .claims import ROOT, claims, every_test


def main() -> int:
    there = every_test()
    named = {name for claim in claims() for name in claim.tests}
    files = sorted({str(there[name].relative_to(ROOT)) for name in named})
    words = ["-k", " or ".join(sorted(named)), *files]
    return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:], *words], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
