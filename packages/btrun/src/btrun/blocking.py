"""A synchronous facade, for scripts: the runtime lives in a thread of its own.

    with open_runtime() as rt:
        counter = rt.spawn(Counter)
        print(counter.call(Add(1)))

    with open_runtime() as rt, rt.linked(["nas:7470"], identity, nas_app, root=root):
        print(rt.at(nas_app.child("counter")).call(Add(1)))       # an actor of another machine

    with open_runtime(Runtime(identity, path)) as rt, rt.serve(["unix:/run/app.sock"], identity, roots=[root]):
        …                                                # its actors can be reached at their paths

It costs two thread switches a use, so it is for scripts, tests and the edge of a program. Any thread may use it.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TypeVar, overload

import bttp
from anyio.from_thread import BlockingPortal, start_blocking_portal
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from bttp.blocking import BlockingServer

from ._runtime import Runtime
from .actor import Actor
from .errors import UsageError
from .messages import Ask
from .reasons import Down
from .refs import UNSET, Ref, Unset

R = TypeVar("R")

LINK_SECONDS = 10.0  #: that a script waits for a link: as long as a handshake may take

__all__ = ["BlockingRef", "BlockingRuntime", "open_runtime"]


class BlockingRef:
    """A reference to use from threads. `ref` is the one to put into messages."""

    def __init__(self, portal: BlockingPortal, ref: Ref) -> None:
        self._portal = portal
        self.ref = ref

    def send(self, message: object) -> bool:
        """See Ref.send."""
        return self._portal.call(self.ref.send, message)

    @overload
    def call(self, message: Ask[R], *, timeout: float | Unset | None = ...) -> R: ...
    @overload
    def call(self, message: object, *, timeout: float | Unset | None = ...) -> object: ...
    def call(self, message: object, *, timeout: float | Unset | None = UNSET) -> object:
        """See Ref.call. An interrupt of this thread does not reach the handler; its deadline does."""

        async def run() -> object:
            return await self.ref.call(message, timeout=timeout)

        return self._portal.call(run)

    def stop(self, *, drain: bool = False) -> None:
        """See Ref.stop."""
        self._portal.call(partial(self.ref.stop, drain=drain))

    def kill(self) -> None:
        """See Ref.kill."""
        self._portal.call(self.ref.kill)

    def wait_down(self) -> Down:
        """See Ref.wait_down."""
        return self._portal.call(self.ref.wait_down)


class BlockingRuntime:
    """A runtime to use from threads. `run` reaches all that has no method here."""

    def __init__(self, portal: BlockingPortal, runtime: Runtime) -> None:
        self._portal = portal
        self._runtime = runtime

    def spawn(self, actor_class: Callable[..., Actor], *arguments: object, **named: object) -> BlockingRef:
        """See Runtime.spawn; the same keywords. The constructor runs in the runtime's thread."""
        spawn = partial(self._runtime.spawn, actor_class, *arguments, **named)  # type: ignore[arg-type]
        return BlockingRef(self._portal, self._portal.call(spawn))

    def ref(self, name: str) -> BlockingRef:
        """See Runtime.ref."""
        return BlockingRef(self._portal, self._portal.call(self._runtime.ref, name))

    def at(self, path: BlockPath) -> BlockingRef:
        """See Runtime.at."""
        return BlockingRef(self._portal, self._portal.call(self._runtime.at, path))

    def publish(self, topic: BlockPath | str, message: object, *, timeout: float | Unset | None = UNSET) -> int:
        """See Runtime.publish."""

        async def run() -> int:
            return await self._runtime.publish(topic, message, timeout=timeout)

        return self._portal.call(run)

    @contextmanager
    def linked(
        self,
        endpoints: Sequence[str],
        identity: Identity | Sequence[Identity] | None,
        path: BlockPath,
        *,
        root: Principal,
        server: BlockPath | None = None,
        timeout: float | None = LINK_SECONDS,
    ) -> Iterator[None]:
        """Reach the actors below `path` over a link to the first endpoint that answers; it is made again when it is
        lost. Waits until it is there. Raises DeadlineError, AuthenticationError.

        `server`: at which path whoever answers must be allowed to serve; by default at `path`.
        """

        @asynccontextmanager
        async def attached() -> AsyncIterator[None]:
            async with bttp.reconnecting(endpoints, identity, root=root, server=server or path) as link:
                await link.ready(timeout)
                self._runtime.attach(link, path)
                yield

        with self._portal.wrap_async_context_manager(attached()):
            yield

    @contextmanager
    def serve(
        self,
        endpoints: Sequence[str],
        identity: Identity | Sequence[Identity],
        *,
        roots: Sequence[Principal] = (),
        policy: bttp.Policy | None = None,
        limits: bttp.Limits = bttp.Limits(),  # noqa: B008 - a frozen value
        server_limits: bttp.ServerLimits = bttp.ServerLimits(),  # noqa: B008
    ) -> Iterator[BlockingServer]:
        """As `bttp.serve` of the runtime's router, in its thread, until the context ends. Raises UsageError on trio."""

        async def begun(server: bttp.Server) -> BlockingServer:
            try:
                return BlockingServer(server, asyncio.get_running_loop())
            except RuntimeError as error:
                raise UsageError("threads can have a server only on asyncio", hint="open_runtime(runtime)") from error

        serving = bttp.serve(
            endpoints, identity, self._runtime.router,
            roots=roots, policy=policy, limits=limits, server_limits=server_limits,
        )  # fmt: skip
        with self._portal.wrap_async_context_manager(serving) as server:
            yield self._portal.call(begun, server)

    @overload
    def run(self, function: Callable[[Runtime], Awaitable[R]]) -> R: ...
    @overload
    def run(self, function: Callable[[Runtime], R]) -> R: ...
    def run(self, function: Callable[[Runtime], object]) -> object:
        """Call a function (`def` or `async def`) with the runtime, in its thread."""
        return self._portal.call(function, self._runtime)


@contextmanager
def open_runtime(runtime: Runtime | None = None, *, backend: str = "asyncio") -> Iterator[BlockingRuntime]:
    """Run a runtime (by default a local one) in a thread, until the context ends. Raises what the runtime raises.

    On asyncio the loop is uvloop's where that is installed, as for servers of bttp.
    """
    runtime = Runtime() if runtime is None else runtime
    faster = backend == "asyncio" and importlib.util.find_spec("uvloop") is not None
    options = {"use_uvloop": True} if faster else None
    with start_blocking_portal(backend, options) as portal, portal.wrap_async_context_manager(runtime):
        yield BlockingRuntime(portal, runtime)
