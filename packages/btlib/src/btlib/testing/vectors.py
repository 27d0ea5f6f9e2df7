"""Files of test vectors that a program makes: to write them, or to check that they are what it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def write_or_check(directory: Path, made: Mapping[Path, str], arguments: Sequence[str]) -> int:
    """Write `made` into its directory, or with `--check` among the arguments compare all `*.json` there with it.

    Returns the exit status: 1 where something differs, is missing, or is one too many.
    """
    if "--check" in arguments:
        found = {path: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
        differ = sorted(path.name for path in made.keys() | found.keys() if made.get(path) != found.get(path))
        print("\n".join(f"differs: {name}" for name in differ) or "all vectors are as made")
        return 1 if differ else 0
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0
