"""A server in a thread of its own, with an event loop inside (uvloop where it is installed)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal

from .._broker import Broker
from .._limits import Limits, ServerLimits
from .._policy import Policy
from .._renewing import keep_renewed
from .._router import Router
from .._server import Server
from .._server import serve as serve_async
from .._statistics import LinkStatistics, ServerStatistics

_T = TypeVar("_T")


class BlockingServer:
    """A running server. Its methods may be called from any thread but its own."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._thread = threading.get_ident()
        self.endpoints: tuple[str, ...] = server.endpoints  #: where it listens, with actual ports

    @property
    def statistics(self) -> ServerStatistics:
        """Counters, as they are now."""
        return self._server.statistics

    @property
    def traffic(self) -> LinkStatistics:
        """As `bttp.Server.traffic`."""

        async def traffic() -> LinkStatistics:
            return self._server.traffic

        return self._run(traffic())

    def recheck(self) -> None:
        """As `bttp.Server.recheck`; when it returns, it is done."""

        if threading.get_ident() == self._thread:  # said by one of this server's own handlers
            self._server.recheck()
            return

        async def recheck() -> None:
            self._server.recheck()

        self._run(recheck())

    def renew(self, identity: Identity | Sequence[Identity]) -> None:
        """As `bttp.Server.renew`."""
        self._run(self._server.renew(identity))

    def keep_renewed(self, identity: Identity, fresh: Callable[[], Identity]) -> None:
        """As `bttp.keep_renewed`, in the background until the server ends."""
        asyncio.run_coroutine_threadsafe(keep_renewed(self._server, identity, fresh), self._loop)

    def publish(self, broker: Broker, topic: BlockPath, body: bytes | memoryview) -> int:
        """As `bttp.Broker.publish`, of a broker that this server has."""
        return self._run(broker.publish(topic, body))

    def drain(self, timeout: float = 5.0) -> bool:
        """Let nobody in any more, let what is under way finish, close the links. False: some was cut off.

        `timeout`: seconds until then.
        """
        return self._run(self._server.drain(timeout))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def serve(
    endpoints: Sequence[str],
    identity: Identity | Sequence[Identity],
    router: Router,
    *,
    roots: Sequence[Principal] = (),
    policy: Policy | None = None,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
    server_limits: ServerLimits = ServerLimits(),  # noqa: B008
) -> Iterator[BlockingServer]:
    """As `bttp.serve`, in a thread that ends with the context. `async` handlers run there, others in its workers."""
    thread = _ServerThread(
        lambda: serve_async(
            endpoints, identity, router, roots=roots, policy=policy, limits=limits, server_limits=server_limits
        )
    )
    try:
        yield thread.start()
    finally:
        thread.stop()


class _ServerThread:
    """Runs one server from `start` to `stop`."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._thread = threading.Thread(target=self._run, name="bttp-server", daemon=True)
        self._ready = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._server: BlockingServer | None = None
        self._error: BaseException | None = None

    def start(self) -> BlockingServer:
        """Raises what `bttp.serve` raises."""
        self._thread.start()
        self._ready.wait()
        if self._server is None:
            self._thread.join()
            assert self._error is not None
            raise self._error
        return self._server

    def stop(self) -> None:
        """Close it; raises the error that ended it, if one did."""
        if self._server is not None:
            self._stop()
            self._thread.join()
            if self._error is not None:
                raise self._error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._main())
        except BaseException as error:  # handed to the thread that waits in start or stop
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        async with self._make() as server:
            self._server = BlockingServer(server, loop)
            self._ready.set()
            await stop.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
