"""Memory of large bodies, used again once nobody looks at it any more. Pure.

The pages of fresh memory cost about as much as decrypting a body into them. So the last pieces that were lent out are
remembered; one whose views are all gone, as the number of references to it tells, has come back.
"""

from __future__ import annotations

from collections import deque
from sys import getrefcount

KEPT = 8  #: pieces: a few bodies under way, at both ends of a busy link or two
UNIT = 64 * 1024  #: sizes are rounded up to it, so that bodies of nearly the same size share memory
LARGEST = 1024 * 1024 + UNIT  #: a mebibyte and what is said around it; larger bodies are rare, and take fresh memory


def _count_of_nobody() -> int:
    """References to what only a local variable has, as `_returned` counts them: versions of Python differ in it."""
    memory = bytearray()
    return getrefcount(memory)


_NOBODY = _count_of_nobody()


class Shelf:
    """The last pieces. Several threads may share one."""

    def __init__(self) -> None:
        self._lent: deque[bytearray] = deque(maxlen=KEPT)

    def take(self, size: int) -> bytearray:
        """At least so many bytes, with anything in them."""
        if size > LARGEST:
            return bytearray(size)
        rounded = (size + UNIT - 1) // UNIT * UNIT
        memory = self._returned(rounded)
        if memory is None:
            memory = bytearray(rounded)
        self._lent.append(memory)
        return memory

    def _returned(self, size: int) -> bytearray | None:
        """One of this size that has come back."""
        for _ in range(KEPT):
            try:
                memory = self._lent.popleft()
            except IndexError:  # there are no more, or another thread is looking at them
                return None
            if getrefcount(memory) == _NOBODY and len(memory) == size:
                return memory
            self._lent.append(memory)
        return None
