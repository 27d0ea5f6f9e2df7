"""What `prove --verbose --merge` prints, as numbers. Pure.

A script that does not apply to this operating system prints one point that holds and ends: it counts as left out, not
as a success. A point that fails and is marked TODO is one whose authors know that Linux answers differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCRIPT = re.compile(r"^(\S+\.t) \.\.")
_PLAN = re.compile(r"^1\.\.(\d+)")
_POINT = re.compile(r"^(not )?ok \d+(.*)$")


@dataclass(frozen=True, kw_only=True)
class Points:
    """What came of some scripts."""

    scripts: int = 0
    left_out: int = 0  #: scripts that do not apply here
    passed: int = 0
    failed: tuple[str, ...] = ()  #: script and point, as they were printed
    expected: tuple[str, ...] = ()  #: failures marked TODO


def parse(text: str) -> Points:
    scripts = left_out = passed = 0
    failed: list[str] = []
    expected: list[str] = []
    for name, lines in _scripts(text):
        points = [match for line in lines if (match := _POINT.match(line))]
        planned = next((int(match[1]) for line in lines if (match := _PLAN.match(line))), None)
        scripts += 1
        if planned == 1 and len(points) == 1 and not points[0][1]:
            left_out += 1
            continue
        for point in points:
            if not point[1]:
                passed += 1
            else:
                (expected if "# TODO" in point[2] else failed).append(f"{name}: {point[0]}")
        if planned != len(points):
            failed.append(f"{name}: {len(points)} points where {planned} were planned")
    return Points(scripts=scripts, left_out=left_out, passed=passed, failed=tuple(failed), expected=tuple(expected))


def _scripts(text: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if match := _SCRIPT.match(line):
            found.append((match[1], []))
        elif line.startswith("Test Summary Report"):
            break
        elif found:
            found[-1][1].append(line)
    return found
