"""The error of the `bt` command itself, and what its parts may raise: BlocktreeError, OSError, and nothing else."""

from __future__ import annotations

from btlib.errors import BlocktreeError
from btlib.kinds import Kind


class CommandError(BlocktreeError):
    """A command that cannot go on: the text says who, what and why, the hint names the next command."""

    default_kind = Kind.INVALID
