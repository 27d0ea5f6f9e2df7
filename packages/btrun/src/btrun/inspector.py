"""A running runtime, seen and stopped from another process, by a thread. `bt ps` is made of it.

    with bttp.blocking.connect(endpoint, identity, root=root) as link:
        inspector = Inspector(link, path)
        inspector.look().actors
        inspector.halt("pool/worker-3", How.KILL)
        with inspector.follow("pool") as messages:
            for message in messages: ...

It needs EXECUTE at `<path>/.bt/inspect`; who may execute at the runtime's path may there, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from btlib.kinds import Kind
from btlib.paths import BlockPath
from bttp.blocking import BlockingLink
from bttp.errors import RemoteError

from ._inspection_wire import (
    MOST,
    Follow,
    Halt,
    Handled,
    How,
    Look,
    decode_halted,
    decode_handled,
    encode_follow,
    encode_request,
    inspection_path,
)
from .errors import NoSuchActorError, UnavailableError
from .inspection import Inspection, decode_inspection

__all__ = ["Handled", "How", "Inspector", "inspection_path"]

PATIENCE = 10.0  #: seconds: a runtime that does not answer for so long is blocked, and that is worth knowing


class Inspector:
    """One runtime over one link. Every method raises BttpError, and UnavailableError where no runtime serves."""

    def __init__(self, link: BlockingLink, path: BlockPath) -> None:
        """`path`: that of the runtime."""
        self._link = link
        self.path = path
        self._place = inspection_path(path)

    def look(self, below: str = "", most: int = MOST) -> Inspection:
        """See Runtime.inspect."""
        return decode_inspection(self._call(Look(below=below, most=most)))

    def halt(self, name: str, how: How = How.STOP) -> None:
        """Have an actor (or the workers of a service) end; does not wait for it. Raises NoSuchActorError."""
        if not decode_halted(self._call(Halt(name=name, how=how))).found:
            raise NoSuchActorError(f"{self.path}/{name} does not exist", hint="bt ps lists what does")

    @contextmanager
    def follow(self, below: str = "") -> Iterator[Iterator[Handled]]:
        """Each message that is handled from now on, as an iterator that never ends by itself. A busy actor begins to be
        followed when it has handled what waits, or some hundred messages."""
        with self._translated(), self._link.stream(self._place, encode_follow(Follow(below=below))) as stream:
            stream.receive()  # it begins, or is refused
            yield (decode_handled(item) for item in stream)

    def _call(self, request: Look | Halt) -> memoryview:
        with self._translated():
            return self._link.call(self._place, encode_request(request), timeout=PATIENCE)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RemoteError as error:
            if error.kind is Kind.NO_SUCH_TARGET:
                raise UnavailableError(f"the process that answers there has no runtime at {self.path}") from error
            raise
