"""Bytes-like values: as something whose `len` is its number of bytes, and joined where that is worth it."""

from __future__ import annotations

from collections.abc import Iterable

# Copying less than this costs less than handing it on apart.
LARGE_PART = 4096


def flat(value: object) -> bytes | memoryview:
    """A bytes-like value as bytes or a view of bytes, not copied. Raises TypeError."""
    if isinstance(value, bytes):
        return value
    try:
        view = memoryview(value)  # type: ignore[arg-type]
        if view.nbytes == 0:
            return b""
        return view if view.format == "B" and view.ndim == 1 and view.c_contiguous else view.cast("B")
    except (TypeError, ValueError, BufferError) as error:
        raise TypeError(f"expected contiguous bytes, got {type(value).__name__}") from error


def gather(pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    """Join the small neighbours among pieces; a large one stays as it is."""
    parts: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    for piece in pieces:
        if len(piece) < LARGE_PART:
            small.append(piece)
            continue
        if small:
            parts.append(b"".join(small))
            small = []
        parts.append(piece)
    if small:
        parts.append(b"".join(small))
    return parts
