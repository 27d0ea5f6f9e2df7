"""Refusals say what to do next."""

from __future__ import annotations

import ast
from pathlib import Path

import blocktree
import pytest

SOURCES = Path(blocktree.__file__).parent


def refusals_without_a_next_step(source: str) -> list[int]:
    """The lines of refusals that leave the user alone. A defect has no next step, nor has a no that was meant."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    refusals = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "CommandError"]
    given = [(call, {word.arg: ast.unparse(word.value) for word in call.keywords}) for call in refusals]
    return [
        call.lineno
        for call, words in given
        if "hint" not in words and words.get("kind") not in ("Kind.INTERNAL", "Kind.CANCELLED")
    ]


@pytest.mark.parametrize("file", sorted(SOURCES.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCES)))
def test_every_refusal_names_a_next_step(file: Path) -> None:
    assert refusals_without_a_next_step(file.read_text(encoding="utf-8")) == []


def test_a_refusal_without_a_next_step_is_found() -> None:
    assert refusals_without_a_next_step('raise CommandError("no")') == [1]
