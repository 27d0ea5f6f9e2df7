"""All targets, from the modules that define them."""

from __future__ import annotations

import contextlib

from btlib.errors import BlocktreeError

from . import actors, blocks, kernel, links, messages, pairings, principals, texts, topics, values  # noqa: F401 (they fill TARGETS)
from .target import TARGETS, Target

with contextlib.suppress(BlocktreeError):  # the library of chips is not everywhere
    from . import chips  # noqa: F401

__all__ = ["TARGETS", "Target"]
