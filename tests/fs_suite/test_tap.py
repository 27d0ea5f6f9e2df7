"""The numbers that the report is made of."""

from __future__ import annotations

from tests.fs_suite.__main__ import main, row
from tests.fs_suite.suites import Outcome
from tests.fs_suite.tap import parse

HOLDS = """/s/tests/mkdir/00.t ..
1..3
ok 1
ok 2
ok 3
ok
"""
LEFT_OUT = """/s/tests/chflags/00.t ..
1..1
ok 1
ok
"""
FAILS = """/s/tests/unlink/00.t ..
1..3
ok 1
not ok 2 - tried 'unlink x', expected 0, got ENOENT
not ok 3 # TODO According to POSIX: EPERM
Failed 1/3 subtests

Test Summary Report
-------------------
/s/tests/unlink/00.t (Wstat: 0 Tests: 3 Failed: 1)
ok 7
"""


def test_points_are_counted() -> None:
    points = parse(HOLDS)
    assert (points.scripts, points.left_out, points.passed, points.failed) == (1, 0, 3, ())


def test_a_script_that_does_not_apply_is_no_success() -> None:
    points = parse(HOLDS + LEFT_OUT)
    assert (points.scripts, points.left_out, points.passed) == (2, 1, 3)


def test_failures_are_told_from_those_that_the_suite_expects() -> None:
    points = parse(FAILS)
    assert points.passed == 1
    assert points.failed == ("/s/tests/unlink/00.t: not ok 2 - tried 'unlink x', expected 0, got ENOENT",)
    assert points.expected == ("/s/tests/unlink/00.t: not ok 3 # TODO According to POSIX: EPERM",)


def test_a_script_that_ends_early_fails() -> None:
    assert parse("/s/tests/a/00.t ..\n1..3\nok 1\n").failed == ("/s/tests/a/00.t: 1 points where 3 were planned",)
    assert parse("/s/tests/a/00.t ..\nsh: syntax error\n").failed == (
        "/s/tests/a/00.t: 0 points where None were planned",
    )


def test_a_row_names_every_failure() -> None:
    outcome = Outcome(mode="thin", suite="fsx", part="seed 1", seconds=2.4, passed="", failed=("READ BAD DATA",))
    assert row(outcome) == "| thin | fsx | seed 1 |  | **1 failed** | 2 s |\n    READ BAD DATA"


def test_an_unknown_mode_is_refused() -> None:
    assert main(["--modes", "fast"]) == 2
