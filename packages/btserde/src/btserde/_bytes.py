"""Bytes-like values as something whose `len` is its number of bytes."""

from __future__ import annotations


def flat(value: object) -> bytes | memoryview:
    """A bytes-like value as bytes or a view of bytes, not copied. Raises TypeError."""
    if isinstance(value, bytes):
        return value
    view = memoryview(value)  # type: ignore[arg-type]
    if not view.c_contiguous:
        raise TypeError("a view with gaps has no encoding")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
