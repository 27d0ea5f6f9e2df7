"""What a runtime does with requests from others. bttp has checked EXECUTE on the actor's path before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bttp
from btlib.errors import BlocktreeError
from btlib.paths import BlockPath
from btserde import SerdeError, decode

from . import _wire as wire
from ._cell import Cell
from .errors import DeclarationError, NoSuchActorError, UnhandledMessageError, UsageError
from .reasons import Down, NeverLived
from .refs import ANYBODY

if TYPE_CHECKING:
    from ._runtime import Runtime
    from .services import Service


class RemoteService:
    """The handler of a runtime's path in a bttp router."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def __call__(self, request: bttp.Request) -> bytes:
        runtime = self._runtime
        timeout = None if request.deadline is None else max(0.0, request.deadline - runtime.loop.now())
        return await self.serve(request.path, request.body, timeout)

    async def serve(self, path: BlockPath, body: memoryview | bytes, timeout: float | None) -> bytes:
        """Answer one request. Raises BlocktreeError for one that nobody can answer."""
        request = wire.decode_request(body)
        cell = self._find(path, request.incarnation)
        match request.verb:
            case wire.Verb.TELL:
                self._tell(path, cell, request)
            case wire.Verb.ASK:
                return wire.encode_reply(await self._ask(path, cell, request, timeout))
            case wire.Verb.WATCH:
                return wire.encode_ended(await self._watch(cell, request.restarts))
            case wire.Verb.KILL:
                if cell is not None:
                    cell.kill()
            case _:
                if cell is not None:
                    cell.stop(drain=request.verb is wire.Verb.DRAIN)
        return b""

    def _find(self, path: BlockPath, incarnation: int) -> Cell | Service | None:
        own = self._runtime.block_path
        assert own is not None
        name = "/".join(path.names[len(own.names) :])
        return self._runtime.find_service(name, incarnation) or self._runtime.find(name, incarnation)

    def _tell(self, path: BlockPath, cell: Cell | Service | None, request: wire.Request) -> None:
        dead_letters = self._runtime.dead_letters
        if cell is None:
            dead_letters.add(str(path), request, str(NeverLived()))
            return
        try:
            cell.send(_message(cell, request))
        except BlocktreeError as error:
            dead_letters.add(str(path), request, error.message)

    async def _ask(
        self, path: BlockPath, cell: Cell | Service | None, request: wire.Request, timeout: float | None
    ) -> wire.Answered | wire.Failed:
        try:
            if cell is None:
                raise self._absent(path, request)
            message = _message(cell, request)
            value = await cell.call(message, timeout=timeout, origin=request.chain)
            return wire.Answered(memoryview(wire.encode_answer(type(message), value)))
        except BlocktreeError as error:
            return wire.failure(error)

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


def _message(cell: Cell | Service, request: wire.Request) -> object:
    """The message, as one of the types that the actor takes. Raises UnhandledMessageError."""
    actor: type = cell.actor_class
    known = wire.wire_types(actor)
    tp = known.get((request.name, request.schema))
    if tp is None:
        same = any(name == request.name for name, _ in known)
        raise UnhandledMessageError(
            f"{cell.path} ({cell.actor_class.__name__}) has no handler for {request.name}"
            + (" as this side declares it: the two runtimes have different versions of it" if same else ""),
            hint=f"from other runtimes it takes {', '.join(sorted(name for name, _ in known)) or 'nothing'}",
        )
    try:
        return decode(request.body, tp)
    except SerdeError as error:
        raise DeclarationError(f"{request.name} for {cell.path} cannot be decoded: {error}") from error
