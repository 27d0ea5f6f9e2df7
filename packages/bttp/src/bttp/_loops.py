"""Which event loop runs."""

from __future__ import annotations

import asyncio


def on_asyncio() -> bool:
    """Whether the running event loop is asyncio's (uvloop is one); otherwise it is trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
