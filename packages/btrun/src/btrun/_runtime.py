"""The runtime: one task group, the tree of supervisors in it, and the names of its actors.

    async with Runtime() as rt:
        counter = rt.spawn(Counter, name="counter")
        counter.send(Add(amount=1))

Leaving the context stops all actors, the youngest first, each with its grace; then timers and workers. What then still
waits is a dead letter or a failed call. If the top supervisor gives up, the context raises EscalationError.
"""

from __future__ import annotations

import random as _random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TypeVarTuple

import anyio
from btlib.identity import Identity
from btlib.paths import BlockPath
from bttp import ReconnectingLink, Router

from ._carriers import Carrier, Carriers
from ._cell import INNER_ROUTES, Cell
from ._doors import Doors
from ._following import follow
from ._gone import Gone
from ._handlers import Route
from ._inspection_service import InspectionService
from ._inspection_wire import inspection_path, is_below
from ._life import Life
from ._loops import Loop, running_loop
from ._nearness import nearest_first
from ._pool import Pool, current_worker
from ._publishing import Topics
from ._remote import RemoteTarget, publish_elsewhere
from ._serving import RemoteService
from ._starter import Starter
from ._supervision import Restart, Supervision
from ._supervisor import Supervisor
from ._traces import Tracers
from .actor import Actor
from .dead_letters import DeadLetters
from .errors import EscalationError, NoSuchActorError, UsageError
from .inspection import Inspection, Trace, inspect_runtime
from .reasons import Crashed, Reason
from .refs import ANYBODY, UNSET, Ref, Unset, bind, make_ref
from .services import CALL_SECONDS, IDLE_SECONDS, Providers, Service, Single
from .topics import Subscription, Topic

Ts = TypeVarTuple("Ts")

DRAIN_SECONDS = 5.0  #: that leaving the context gives services to finish what waits, before their workers are stopped
LOCAL = "local:"  #: stands for the path of a runtime that has none


class Runtime(Supervisor):
    """An actor runtime. Use it as an async context manager; it belongs to the event loop that entered it."""

    default_restart = Restart.TEMPORARY

    def __init__(
        self,
        identity: Identity | None = None,
        path: BlockPath | None = None,
        *,
        supervision: Supervision = Supervision(),  # noqa: B008 - a frozen value
        call_timeout: float | None = CALL_SECONDS,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`identity` and `path`: as whom and where it is reached by other runtimes; a local one needs neither.

        `supervision`: of the actors that are spawned directly. `random` gives jitter; simulations replace it.
        """
        self.identity = identity
        self.prefix = LOCAL if path is None else str(path)
        self.block_path = path
        self.call_timeout = call_timeout
        self.random = random
        self.carriers = Carriers(time.time)
        self.abandoned = False
        self.dead_letters = DeadLetters()
        self.tracers = Tracers()
        self._topics = Topics(self)
        self.loop: Loop
        self.pool: Pool
        self._starter: Starter
        self._scope: anyio.CancelScope
        self._cells: dict[str, Cell] = {}
        self._services: dict[str, Service] = {}
        self._routes: dict[type[Actor], dict[type, Route]] = {}
        self._incarnations = int(random() * 2**40) << 20  # differs from what an earlier process at this path gave
        self._open = False
        self._failure: EscalationError | None = None
        self._context: AbstractAsyncContextManager[Runtime] | None = None
        self.router = Router()  #: serve it with bttp, and the actors here can be reached at their paths
        self.remote = RemoteService(self)
        self.doors = Doors(self)
        if path is not None:
            inspection, place = InspectionService(self), inspection_path(path)
            self.router.add(path, self.remote)
            self.router.add(place, inspection.answer)
            self.router.add_stream(place, inspection.follow)
        super().__init__(self, _Top(self), "", supervision, Restart.TEMPORARY)

    async def __aenter__(self) -> Runtime:
        if self._context is not None:
            raise UsageError("a runtime can be entered once", hint="make a new one")
        self._context = self._life()
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._context is not None
        return await self._context.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[Runtime]:
        body: Exception | None = None
        async with anyio.create_task_group() as group:
            self.loop = running_loop()
            self.loop.start(group)
            self._starter = Starter(self.loop, group)
            self.pool = Pool(self.loop, self._starter, self)
            self._open = True
            try:
                with anyio.CancelScope() as self._scope:
                    try:
                        yield self
                    except Exception as error:  # it passes on, outside of the task group that would wrap it
                        body = error
            finally:
                try:
                    with anyio.CancelScope(shield=True):
                        await self._stop_all()
                finally:
                    self._open = False
                    self.loop.stop()
                    self.pool.close()
                    self._starter.close()
        if body is not None:
            raise body
        if self._failure is not None:
            raise self._failure

    async def _stop_all(self) -> None:
        if not self.abandoned:
            with anyio.move_on_after(DRAIN_SECONDS):
                await self.drain()
        await self.halt_children(restarting=False)
        if not self.abandoned:
            await self.drain()  # of those that did not finish, the leases are given back now

    async def drain(self) -> None:
        """Hand all services over, the youngest first: each takes no new messages, finishes those that wait, and gives
        its lease back. Then the links may end: `await server.drain()` lets answers leave. Leaving the context drains.
        """
        for service in reversed(self._services.values()):
            await service.drain()

    # --- what users call

    def ref(self, name: str) -> Ref:
        """The actor of this name, as it lives now. Raises NoSuchActorError."""
        if name in self._services:
            return make_ref(f"{self.prefix}/{name}", ANYBODY, self._services[name])
        cell = self._cells.get(name)
        if cell is None:
            raise NoSuchActorError(f"{self.prefix}/{name} does not exist", hint="runtime.inspect() lists what does")
        return cell.ref

    def inspect(self, below: str = "", most: int | None = None) -> Inspection:
        """What lives here (at the name `below`, or below it), `most` actors of it, who waits for whom, and what
        reached nobody.

        Other processes see the same with `btrun.inspector`, and people with `bt ps`: whoever may execute at
        `<path>/.bt/inspect`.
        """
        meant = [cell for name, cell in self._cells.items() if is_below(name, below)]
        services = [service for name, service in self._services.items() if is_below(name, below)]
        place = f"{self.prefix}/{below}" if below else ""
        letters = [letter for letter in self.dead_letters.last if is_below(letter.path, place)]
        return inspect_runtime(self, meant, services, letters, len(meant) if most is None else most)

    def trace(self, listener: Callable[[Trace], None] | None) -> None:
        """Call it with each message that was handled; None ends that. It must neither block nor raise.

        A busy actor begins (or ends) to be traced when it has handled what waits, or some hundred messages.
        """
        self.tracers.set_own(listener)

    def bind(self, ref: Ref) -> Ref:
        """Let a reference that came from elsewhere be used here."""
        if not ref.path.startswith(f"{self.prefix}/"):
            bind(ref, RemoteTarget(self, ref))
        elif (service := self.find_service(ref.path.removeprefix(f"{self.prefix}/"), ref.incarnation)) is not None:
            bind(ref, service)
        elif (cell := self.find(ref.path.removeprefix(f"{self.prefix}/"), ref.incarnation)) is not None:
            bind(ref, cell)
        else:
            bind(ref, Gone(self, ref))
        return ref

    def at(self, path: BlockPath) -> Ref:
        """Whoever lives at a path, here or in another runtime, whenever the reference is used."""
        return self.bind(Ref(str(path), ANYBODY))

    def service(
        self,
        name: str,
        actor_class: type[Actor],
        *arguments: object,
        workers: int = 1,
        idle: float = IDLE_SECONDS,
        supervision: Supervision = Supervision(),  # noqa: B008 - a frozen value
        single: Single | None = None,
        **named: object,
    ) -> Service:
        """Offer a service at a name; see `btrun.services`. Its reference: `ref(name)`. Raises NameTakenError."""
        service = Service(
            self, name, actor_class, (arguments, named),
            workers=workers, idle=idle, supervision=supervision, single=single,
        )  # fmt: skip
        self._services[name] = service
        return service

    async def publish(self, topic: Topic, message: object, *, timeout: float | Unset | None = UNSET) -> int:
        """Give a message to all subscribers of a topic, here or elsewhere; how many there were. See `btrun.topics`.

        It waits for those whose mailboxes want it so. At most once. Raises CallTimeoutError when some had no room for
        `timeout` seconds (the others have it), MailboxFullError to an actor that would wait for itself, and
        UnavailableError, RemoteError for topics elsewhere.
        """
        place = self._topic(topic)
        timeout = self.call_timeout if timeout is UNSET else timeout
        assert not isinstance(timeout, Unset)
        if place.startswith(f"{self.prefix}/"):
            return await self._topics.publish(place, message, timeout)
        return await publish_elsewhere(self, place, message, timeout)

    def serve_topics(self, name: str) -> None:
        """Let others publish and subscribe at `<path>/<name>` and below: those who may execute there."""
        if self.block_path is None:
            raise UsageError("a runtime without a path cannot be reached by others", hint="Runtime(identity, path)")
        self._topics.serve(self.block_path.child(name))

    def nearest(self, service: str, among: Sequence[BlockPath] | None = None) -> Providers:
        """Whoever offers a service of this name, as calls find them: this runtime first, then others by their steps in
        the tree; those that are as near share the load. `among`: the paths of the runtimes to ask; by default all to
        which links are attached when a call is made. Those that do not offer it, or to which no link leads, cost a call
        no more than the question. Keep what you get: it knows how many of its calls are under way where.
        """

        def groups() -> list[list[Ref]]:
            here = self.block_path
            if here is None:
                return [[self.bind(Ref(f"{self.prefix}/{service}", ANYBODY))]]
            if among is None:
                own = [here] if service in self._services else []
                places = {*own, *map(BlockPath.parse, self.carriers.places())}
            else:
                places = set(among)
            near = nearest_first(here, places)
            return [[self.at(BlockPath.parse(f"{place}/{service}")) for place in group] for group in near]

        return Providers(groups, random=self.random)

    def attach(self, link: Carrier | ReconnectingLink, path: BlockPath) -> None:
        """Reach the paths below `path` by this link, until it closes. A later one replaces it.

        With `bttp.reconnecting`, references work again when the link is there again. While it is not, calls raise
        NoLinkError, which says that nothing was sent.

        The link's peer must be allowed to serve at `path`: WrongPeerError, here, or from calls over a reconnecting
        link. That looks at its chains; `bttp.connect(server=path, revocations=…)` also knows who was revoked.
        """
        self.carriers.attach(link, path)

    def abandon(self) -> None:
        """End as a crash would: kill all actors at once, run no `on_stop`, and leave the context. For simulations."""
        self.abandoned = True
        for cell in list(self._cells.values()):
            cell.kill()
        self._scope.cancel()

    # --- what its parts call

    async def subscribe(self, cell: Cell, topic: Topic, below: bool) -> Subscription:
        """See Actor.subscribe."""
        place = self._topic(topic)
        if place.startswith(f"{self.prefix}/"):
            return cell.own(self._topics.subscribe(cell, place, below))
        return await follow(cell, place, below)

    def _topic(self, topic: Topic) -> str:
        return str(topic) if isinstance(topic, BlockPath) else f"{self.prefix}/{topic}"

    def find_service(self, name: str, incarnation: int) -> Service | None:
        """The service of this name; a reference to it never names an incarnation."""
        return self._services.get(name) if incarnation == ANYBODY else None

    def find(self, name: str, incarnation: int) -> Cell | None:
        """The living actor of this name, if it is the one that is meant."""
        cell = self._cells.get(name)
        if cell is not None and (incarnation == ANYBODY or incarnation == cell.incarnation):
            return cell
        return None

    def check_open(self) -> None:
        """Raises UsageError outside of the context."""
        if not self._open:
            raise UsageError("the runtime does not run", hint="use it inside of: async with Runtime() as rt")

    def start_task(self, function: Callable[[*Ts], Coroutine[object, object, None]], *arguments: *Ts) -> None:
        """In the runtime's task group, from anywhere. It must end by itself."""
        self._starter.start(lambda: function(*arguments))

    def routes_of(self, actor_class: type[Actor]) -> dict[type, Route]:
        """The table of an actor class; it learns as messages come."""
        routes = self._routes.get(actor_class)
        if routes is None:
            routes = self._routes[actor_class] = {**actor_class._handlers, **INNER_ROUTES}
        return routes

    def next_incarnation(self) -> int:
        self._incarnations += 1
        return self._incarnations

    def remember(self, cell: Cell) -> None:
        self._cells[cell.name] = cell

    def forget_name(self, cell: Life) -> None:
        self._cells.pop(cell.name, None)

    def current_cell(self) -> Cell:
        """The actor whose handler runs this. Raises UsageError outside of actors."""
        worker = current_worker.get()
        if worker is None or worker.cell is None:
            raise UsageError("only an actor can monitor or link", hint="elsewhere: await ref.wait_down()")
        return worker.cell

    def give_up(self, reason: Reason) -> None:
        """Its own supervisor gave up: end the context with that."""
        assert isinstance(reason, Crashed)
        self._failure = EscalationError(reason.text, hint="see the log for each failure")
        self._scope.cancel()


class _Top:
    """Above the top supervisor."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def child_ended(self, child: Supervisor, reason: Reason) -> bool:
        self._runtime.give_up(reason)
        return False

    def forget(self, child: Supervisor) -> None:
        raise AssertionError("the top supervisor is never asked to end by its owner")
