"""`Bell`: rung from any thread, waited for in an event loop. So that a thousand long polls cost no thread.

A ring that happens while nobody waits is kept for the next wait. asyncio only: that is where the service handlers run.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Made and waited for in the loop's thread, by one task at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake who waits. From any thread; never waits."""
        try:
            self._loop.call_soon_threadsafe(self._rung.set)
        except RuntimeError:
            return  # the loop has ended, and with it whoever waited

    async def wait(self, seconds: float) -> bool:
        """Return True once rung, False when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True
