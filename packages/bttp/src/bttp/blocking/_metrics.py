"""The endpoint for Prometheus, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio.from_thread import start_blocking_portal

from .. import _metrics


@contextmanager
def serve_metrics(endpoint: str, render: Callable[[], str]) -> Iterator[tuple[str, ...]]:
    """As `bttp.serve_metrics`; `render` runs in that thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_metrics.serve_metrics(endpoint, render)) as endpoints,
    ):
        yield endpoints
