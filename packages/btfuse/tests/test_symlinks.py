from __future__ import annotations

import os.path
from pathlib import Path

import pytest
from btfuse._symlinks import is_contained
from hypothesis import given
from hypothesis import strategies as st

MOUNT = "/mnt/bt"


@pytest.mark.parametrize(
    ("target", "depth", "contained"),
    [
        ("file", 0, True),
        ("a/b/c", 0, True),
        ("./a", 0, True),
        ("..", 0, False),
        ("..", 1, True),
        ("../../x", 1, False),
        ("../../x", 2, True),
        ("./../x", 1, True),
        ("a/../b", 5, False),  # `a` may be a symlink
        ("a/../../../x", 1, False),
        ("/etc/passwd", 9, False),
        ("/mnt/bt", 0, True),
        ("/mnt/bt/x", 0, True),
        ("//mnt//bt/./x", 0, True),
        ("/mnt/btx", 0, False),
        ("/mnt", 0, False),
        ("/mnt/bt/../x", 0, False),
        ("/", 0, False),
        ("", 0, True),
    ],
)
def test_targets(target: str, depth: int, contained: bool) -> None:
    assert is_contained(target, depth, MOUNT) is contained


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b"])), st.integers(0, 4), st.booleans())
def test_a_contained_target_stays_below_the_mount_however_it_is_read(
    names: list[str], depth: int, absolute: bool
) -> None:
    target = ("/" if absolute else "") + "/".join(names)
    if is_contained(target, depth, MOUNT):
        there = os.path.normpath(Path(MOUNT, *["d"] * depth, target))
        assert (there + "/").startswith(MOUNT + "/")
