"""What reaches a terminal."""

from __future__ import annotations

import pytest
from blocktree.output import human_size, visible
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 60, "5120.0 PiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert human_size(count) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("größe.txt", "größe.txt"), ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb"), ("\u202egpj", "\\u202egpj")],
)
def test_names_cannot_act_on_a_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_everything_visible_is_printable_and_can_be_encoded(text: str) -> None:
    assert visible(text).isprintable()
    visible(text).encode()
