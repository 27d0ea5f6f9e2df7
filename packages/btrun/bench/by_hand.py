"""What a good programmer writes on asyncio when there is no actor library: a deque, a task, and futures.

No bound, no deadline, no supervision, no names: this is the floor that btrun is compared with.
"""

from __future__ import annotations

import asyncio
from collections import deque


class HandActor:
    """An object with a mailbox and a task."""

    def __init__(self) -> None:
        self.mailbox: deque[tuple[object, asyncio.Future[object] | None]] = deque()
        self.total = 0
        self._loop = asyncio.get_running_loop()
        self._wait: asyncio.Future[None] | None = None
        self.task = self._loop.create_task(self._run())

    def send(self, message: object) -> None:
        self.mailbox.append((message, None))
        wait = self._wait
        if wait is not None and not wait.done():
            wait.set_result(None)

    async def call(self, message: object) -> object:
        answer: asyncio.Future[object] = self._loop.create_future()
        self.mailbox.append((message, answer))
        wait = self._wait
        if wait is not None and not wait.done():
            wait.set_result(None)
        return await answer

    async def receive(self, message: object) -> object:
        raise NotImplementedError

    async def _run(self) -> None:
        mailbox = self.mailbox
        while True:
            while mailbox:
                message, answer = mailbox.popleft()
                try:
                    result = await self.receive(message)
                except Exception as error:
                    if answer is not None and not answer.done():
                        answer.set_exception(error)
                else:
                    if answer is not None and not answer.done():
                        answer.set_result(result)
            self._wait = self._loop.create_future()
            await self._wait
