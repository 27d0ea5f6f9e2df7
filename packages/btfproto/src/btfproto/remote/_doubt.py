"""`Doubted`: a request that may have taken effect before the server was started anew.

A server answers a repetition from its record of replies. Where that was lost with the session, the repetition is
carried out again, and may fail *because* the first attempt succeeded: the name to be made exists, the one to be removed
does not. Such a failure is then the success it hides. A request of which no earlier attempt went out is not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from btlib.kinds import Kind

from btfproto.errors import FsError
from btfproto.messages import files
from btfproto.provider import Attributes, FileKind, Inode, OpenFlags

from ._link import FsSession, SessionLostError
from ._places import Places

Lookup = Callable[[Inode, str], Attributes]

_MADE: dict[type, FileKind] = {files.MakeDirectory: FileKind.DIRECTORY, files.MakeSymlink: FileKind.SYMLINK}


Reply = TypeVar("Reply", bound=msgspec.Struct)


class Doubted(Generic[Reply]):
    """One request about names, sent until it is answered; once it is in doubt, with a look at what is there."""

    def __init__(self, session: FsSession, request: files.FsRequest, expected: type[Reply], places: Places) -> None:
        self._session = session
        self._request = request
        self._expected = expected
        self._in_doubt = False
        self._moved = places.inode(request.parent, request.name) if isinstance(request, files.Rename) else None

    def send(self, generation: int) -> Reply:
        """Raises SessionLostError, FsError."""

        def lookup(parent: Inode, name: str) -> Attributes:
            return self._session.call(files.Lookup(parent=parent, name=name), files.Attributed, generation).attributes

        request = self._request
        try:
            if self._in_doubt and already_done(request, self._moved, lookup):
                return self._reply(files.Done())
            return self._session.call(request, self._expected, generation)
        except SessionLostError as gone:
            self._in_doubt = self._in_doubt or gone.in_doubt
            raise
        except FsError as error:
            if not self._in_doubt:
                raise
            if isinstance(request, files.Create) and error.kind is Kind.EXISTS:
                flags = request.flags & ~int(OpenFlags.EXCLUSIVE)
                return self._session.call(msgspec.structs.replace(request, flags=flags), self._expected, generation)
            return self._reply(settle(request, error, lookup))

    def _reply(self, reply: files.FsReply) -> Reply:
        assert isinstance(reply, self._expected)
        return reply


def already_done(request: files.FsRequest, moved: Inode | None, lookup: Lookup) -> bool:
    """Whether a rename has happened: it must not be tried again, since an exchange would undo it.

    `moved` is what had the old name, as far as the client knows.
    """
    if not isinstance(request, files.Rename) or moved is None:
        return False
    try:
        found = lookup(request.new_parent, request.new_name).inode
    except FsError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return False
    return found == moved


def settle(request: files.FsRequest, error: FsError, lookup: Lookup) -> files.FsReply:
    """The reply that the first attempt would have got, or raises `error`: it failed for another reason."""
    if isinstance(request, files.Unlink | files.RemoveDirectory) and error.kind is Kind.NOT_FOUND:
        return files.Done()
    if error.kind is not Kind.EXISTS:
        raise error
    if isinstance(request, files.MakeLink):
        found = lookup(request.parent, request.name)
        if found.inode == request.inode:
            return files.Attributed(attributes=found)
    if isinstance(request, files.MakeDirectory | files.MakeSymlink | files.MakeNode):
        kind = request.kind if isinstance(request, files.MakeNode) else _MADE[type(request)]
        found = lookup(request.parent, request.name)
        if found.kind is kind:
            return files.Attributed(attributes=found)
    raise error
