"""What docs/threat-model.md claims, line by line, and what it names as proof: attacks, and tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from btfproto.testing import attacks as of_file_systems
from btlib.testing import attacks as of_capabilities
from btlib.testing import pairing as of_pairing
from bttp.testing import attacks as of_links

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "threat-model.md"

ATTACKS = {*of_capabilities.ATTACKS, *of_pairing.ATTACKS, *of_links.ATTACKS, *of_file_systems.ATTACKS}

#: Words that stand where no test can: nothing stops it, or what is claimed is that we do not.
BY_DESIGN = ("*by design*", "*not ")

_TEST = re.compile(r"`(test_\w+)`")
_ATTACK = re.compile(r"attacks? ((?:`[a-z0-9-]+`(?:, )?)+)")
_NAME = re.compile(r"`([a-z0-9-]+)`")


@dataclass(frozen=True)
class Claim:
    """One line of a table."""

    line: int
    text: str

    @property
    def tests(self) -> list[str]:
        return _TEST.findall(self.text)

    @property
    def attacks(self) -> list[str]:
        return [name for names in _ATTACK.findall(self.text) for name in _NAME.findall(names)]

    @property
    def shown(self) -> bool:
        """Whether it names what shows it, or says that nothing does."""
        return bool(self.tests or self.attacks) or any(words in self.text for words in BY_DESIGN)


def claims() -> list[Claim]:
    """Every line of every table but their heads."""
    lines = enumerate(DOCUMENT.read_text(encoding="utf-8").splitlines(), 1)
    return [
        Claim(number, line)
        for number, line in lines
        if line.startswith("| ") and not line.startswith("| power") and not line.startswith("|--")
    ]


def every_test() -> dict[str, Path]:
    """Every test there is, by its name, with its file."""
    return dict(_tests())


def _tests() -> Iterator[tuple[str, Path]]:
    for file in sorted([*ROOT.glob("packages/*/tests/**/test_*.py"), *ROOT.glob("tests/**/test_*.py")]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield node.name, file
