"""What one message may cost."""

from __future__ import annotations

import msgspec

# A frame of the transport carries at most this much, so no honest message is larger.
DEFAULT_MAX_SIZE = 64 * 1024 * 1024
# A million small items is about 100 MiB of Python objects.
DEFAULT_MAX_COUNT = 1_000_000
# Far more than any message nests, far below the interpreter's recursion limit.
DEFAULT_MAX_DEPTH = 32


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one encoding, enforced when encoding and when decoding.

    `max_depth`: structs of self-referring types that may be open inside one another.
    `max_size`: bytes of the whole encoding.
    `max_count`: items of one list, set or dict.
    """

    max_depth: int = DEFAULT_MAX_DEPTH
    max_size: int = DEFAULT_MAX_SIZE
    max_count: int = DEFAULT_MAX_COUNT

    def __post_init__(self) -> None:
        if min(self.max_depth, self.max_size, self.max_count) < 1:
            raise ValueError("a limit is at least 1")
