"""What a runtime does with requests from others. bttp has checked EXECUTE on the actor's path before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from btlib.errors import BlocktreeError
from btlib.paths import BlockPath
from btserde import SerdeError
from msgspec.structs import replace

from . import _wire as wire
from ._cell import Cell
from ._doors import INNER
from ._guests import call_from_afar, may_answer_now
from ._pool import current_worker
from .errors import DeclarationError, NoSuchActorError, UnhandledMessageError, UsageError
from .reasons import NeverLived
from .refs import ANYBODY

if TYPE_CHECKING:
    from ._runtime import Runtime
    from .services import Service


MAX_NAMES = 256  #: paths whose actor's name is kept: each as long as a path may be, and whoever may call can send them


class Incoming(Protocol):
    """What is needed of a `bttp.Request`."""

    @property
    def path(self) -> BlockPath: ...

    @property
    def body(self) -> memoryview: ...

    @property
    def deadline(self) -> float | None: ...


class RemoteService:
    """The handler of a runtime's path in a bttp router."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._heads = wire.Heads()
        self._names: dict[BlockPath, str] = {}

    async def __call__(self, incoming: Incoming) -> bytes:
        """Answer one request. Raises BlocktreeError for one that nobody can answer."""
        if current_worker.get() is not None:
            current_worker.set(None)  # an actor made the link or the server, but it is not the one that calls
        path = incoming.path
        try:
            head, content = self._heads.decode(incoming.body)
        except SerdeError as error:
            raise self._strange(path, error) from error
        request = head.request
        cell = self._find(path, request.incarnation)
        verb = request.verb
        if verb is ASK:
            try:
                if cell is None:
                    raise self._absent(path, request)
                message = _message(cell, head, content)
                if (answer := head.answer) is None:
                    answer = head.answer = wire.answer_type(head.message.cls)
                deadline = math.inf if incoming.deadline is None else incoming.deadline
                if not isinstance(cell, Cell):
                    timeout = None if deadline == math.inf else max(0.0, deadline - self._runtime.loop.now())
                    return answer.reply(await cell.call(message, timeout=timeout, origin=request.chain))
                if (route := may_answer_now(cell, message)) is not None:
                    return answer.reply(cell.answer_now(route, message))
                return answer.reply(await call_from_afar(cell, message, deadline, request.chain))
            except BlocktreeError as error:
                return wire.encode_reply(wire.failure(error))
        if verb is TELL:
            self._tell(path, cell, head, content)
        elif verb is wire.Verb.WATCH:
            return wire.encode_ended(await self._watch(cell, request.restarts))
        elif cell is not None:
            if verb is wire.Verb.KILL:
                cell.kill()
            else:
                cell.stop(drain=verb is wire.Verb.DRAIN)
        return b""

    def _strange(self, path: BlockPath, error: SerdeError) -> BlocktreeError:
        """For a request of another wire: that of a service which is not here, most of all."""
        if self._find(path, ANYBODY) is None:
            return NoSuchActorError(f"{path} does not exist")
        return UsageError(f"this is no request to the actor {path}: {error}")

    def _find(self, path: BlockPath, incarnation: int) -> Cell | Service | None:
        if (name := self._names.get(path)) is None:
            name = self._name(path)
        runtime = self._runtime
        return runtime.find(name, incarnation) or runtime.find_service(name, incarnation)

    def _name(self, path: BlockPath) -> str:
        here = self._runtime.block_path
        assert here is not None
        names = path.names[len(here.names) :]
        if names and names[-1] == INNER:  # the way to an actor whose own path has a door
            names = names[:-1]
        if len(self._names) == MAX_NAMES:
            del self._names[next(iter(self._names))]
        name = self._names[path] = "/".join(names)
        return name

    def _tell(self, path: BlockPath, cell: Cell | Service | None, head: wire.Head, content: memoryview | bytes) -> None:
        dead_letters, request = self._runtime.dead_letters, head.request
        if cell is None:
            dead_letters.add(str(path), replace(request, body=content), str(NeverLived()))
            return
        try:
            cell.send(_message(cell, head, content))
        except BlocktreeError as error:
            dead_letters.add(str(path), replace(request, body=content), error.message)

    def _absent(self, path: BlockPath, request: wire.Request) -> BlocktreeError:
        if request.incarnation == ANYBODY:
            return NoSuchActorError(f"{path} does not exist")
        return wire.ERRORS[0](f"{path} cannot answer {request.name}: it ended, or its runtime was started anew")

    async def _watch(self, cell: Cell | Service | None, restarts: int) -> wire.Ended:
        if cell is None:
            return wire.Ended(NeverLived(), False, 0)
        if not isinstance(cell, Cell):
            raise UsageError(f"{cell.path} is a service: its workers come and go", hint="monitor an actor")
        if cell.restarts > restarts:  # it was started anew while nobody listened
            assert cell.last_failure is not None
            return wire.Ended(cell.last_failure, True, cell.restarts)
        down = await cell.wait_down(last=False)
        return wire.Ended(down.reason, down.restarting, cell.restarts + down.restarting)


def _message(cell: Cell | Service, head: wire.Head, content: memoryview | bytes) -> object:
    """The message, as one of the types that the actor takes. Raises UnhandledMessageError."""
    if head.actor is not cell.actor_class:
        _learn(cell, head)
    try:
        return head.message.decode(content)
    except SerdeError as error:
        raise DeclarationError(f"{head.request.name} for {cell.path} cannot be decoded: {error}") from error


def _learn(cell: Cell | Service, head: wire.Head) -> None:
    """Which of the actor's types is meant. Raises UnhandledMessageError."""
    actor, request = cell.actor_class, head.request
    known = wire.wire_types(actor)  # type: ignore[arg-type]
    found = known.get((request.name, request.schema))
    if found is None:
        same = any(name == request.name for name, _ in known)
        raise UnhandledMessageError(
            f"{cell.path} ({actor.__name__}) has no handler for {request.name}"
            + (" as this side declares it: the two runtimes have different versions of it" if same else ""),
            hint=f"from other runtimes it takes {', '.join(sorted(name for name, _ in known)) or 'nothing'}",
        )
    head.actor, head.message, head.answer = actor, found, None


ASK, TELL = wire.Verb.ASK, wire.Verb.TELL  # looking a member up costs as much as finding the actor
