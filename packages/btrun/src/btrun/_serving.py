"""What a runtime does with requests from others. bttp has checked EXECUTE on the actor's path before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from btlib.errors import BlocktreeError
from btlib.paths import BlockPath
from btserde import SerdeError
from msgspec.structs import replace

from . import _wire as wire
from ._cell import Cell
from ._doors import INNER
from .errors import DeclarationError, NoSuchActorError, UnhandledMessageError, UsageError
from .reasons import Down, NeverLived
from .refs import ANYBODY

if TYPE_CHECKING:
    from ._runtime import Runtime
    from .services import Service


SMALL = 1024  #: bytes of a message that are copied once more: decoding bytes costs less than decoding a view


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

    async def __call__(self, incoming: Incoming) -> bytes:
        """Answer one request. Raises BlocktreeError for one that nobody can answer."""
        path, deadline = incoming.path, incoming.deadline
        try:
            request, content = self._heads.decode(incoming.body)
        except SerdeError as error:
            raise self._strange(path, error) from error
        cell = self._find(path, request.incarnation)
        match request.verb:
            case wire.Verb.ASK:
                try:
                    if cell is None:
                        raise self._absent(path, request)
                    message = _message(cell, request, content)
                    timeout = None if deadline is None else max(0.0, deadline - self._runtime.loop.now())
                    value = await cell.call(message, timeout=timeout, origin=request.chain)
                    cls: type = message.__class__
                    return wire.answer_type(cls).reply(value)
                except BlocktreeError as error:
                    return wire.encode_reply(wire.failure(error))
            case wire.Verb.TELL:
                self._tell(path, cell, request, content)
            case wire.Verb.WATCH:
                return wire.encode_ended(await self._watch(cell, request.restarts))
            case wire.Verb.KILL:
                if cell is not None:
                    cell.kill()
            case _:
                if cell is not None:
                    cell.stop(drain=request.verb is wire.Verb.DRAIN)
        return b""

    def _strange(self, path: BlockPath, error: SerdeError) -> BlocktreeError:
        """For a request of another wire: that of a service which is not here, most of all."""
        if self._find(path, ANYBODY) is None:
            return NoSuchActorError(f"{path} does not exist")
        return UsageError(f"this is no request to the actor {path}: {error}")

    def _find(self, path: BlockPath, incarnation: int) -> Cell | Service | None:
        runtime = self._runtime
        assert runtime.block_path is not None
        names = path.names[len(runtime.block_path.names) :]
        if names and names[-1] == INNER:  # the way to an actor whose own path has a door
            names = names[:-1]
        name = "/".join(names)
        return runtime.find(name, incarnation) or runtime.find_service(name, incarnation)

    def _tell(self, path: BlockPath, cell: Cell | Service | None, request: wire.Request, content: memoryview) -> None:
        dead_letters = self._runtime.dead_letters
        if cell is None:
            dead_letters.add(str(path), replace(request, body=content), str(NeverLived()))
            return
        try:
            cell.send(_message(cell, request, content))
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
        wait = self._runtime.loop.make_wait()

        def watcher(down: Down) -> None:
            if not wait.done():
                wait.set_result(down)

        cell.add_watcher(watcher)
        try:
            down = await wait
        finally:
            cell.unwatch(watcher)
        assert isinstance(down, Down)
        return wire.Ended(down.reason, down.restarting, cell.restarts + down.restarting)


def _message(cell: Cell | Service, request: wire.Request, content: memoryview) -> object:
    """The message, as one of the types that the actor takes. Raises UnhandledMessageError."""
    actor: type = cell.actor_class
    known = wire.wire_types(actor)
    found = known.get((request.name, request.schema))
    if found is None:
        same = any(name == request.name for name, _ in known)
        raise UnhandledMessageError(
            f"{cell.path} ({cell.actor_class.__name__}) has no handler for {request.name}"
            + (" as this side declares it: the two runtimes have different versions of it" if same else ""),
            hint=f"from other runtimes it takes {', '.join(sorted(name for name, _ in known)) or 'nothing'}",
        )
    try:
        return found.decode(bytes(content) if len(content) < SMALL else content)
    except SerdeError as error:
        raise DeclarationError(f"{request.name} for {cell.path} cannot be decoded: {error}") from error
