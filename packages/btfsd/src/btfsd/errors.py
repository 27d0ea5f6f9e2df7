"""What keeps the daemon from starting, beside the errors of what it serves."""

from __future__ import annotations

from collections.abc import Sequence

from btlib.errors import BlocktreeError
from btlib.kinds import Kind


class ConfigurationError(BlocktreeError):
    """The configuration is wrong; each problem is one line that names the key and, where it can, file and line."""

    def __init__(self, problems: Sequence[str], hint: str | None = None) -> None:
        super().__init__("\n".join(problems), kind=Kind.INVALID, hint=hint)
        self.problems = tuple(problems)
