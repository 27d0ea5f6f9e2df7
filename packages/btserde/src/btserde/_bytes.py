"""Bytes-like values as something whose `len` is its number of bytes."""

from __future__ import annotations


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
