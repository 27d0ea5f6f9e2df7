"""Handles of Files: what each role may do in each of its states.

Generated from btrun.protocol.examples.files; do not edit. To make it again:
bt protocol handles btrun.protocol.examples.files:Files
"""

# fmt: off
# ruff: noqa

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple, overload

from msgspec import Struct

import btrun.protocol.examples.files as declared
from btrun.protocol import Ended, Handle, Side, Taking

FINGERPRINT: Final = 0xE6C0C5F332C0562C


class ClientClosed(Handle):
    """As the client: the client opens a file, or goes."""

    state: ClassVar[str] = "closed"

    __slots__ = ()

    @overload
    def send(self, message: declared.Open) -> Taking[ClientOpening]: ...

    @overload
    def send(self, message: declared.Quit) -> Taking[Ended]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class ClientOpening(Handle):
    """As the client: the server looks for the file."""

    state: ClassVar[str] = "opening"

    __slots__ = ()

    class Opened(NamedTuple):
        message: declared.Opened
        then: ClientOpened

    class Failed(NamedTuple):
        message: declared.Failed
        then: ClientClosed

    def receive(self) -> Taking[Opened | Failed]:
        return self._receive()


class ClientOpened(Handle):
    """As the client: the client reads, writes, or closes."""

    state: ClassVar[str] = "opened"

    __slots__ = ()

    @overload
    def send(self, message: declared.Read) -> Taking[ClientReading]: ...

    @overload
    def send(self, message: declared.Write) -> Taking[ClientWriting]: ...

    @overload
    def send(self, message: declared.Close) -> Taking[ClientClosing]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class ClientReading(Handle):
    """As the client: the server fetches the bytes."""

    state: ClassVar[str] = "reading"

    __slots__ = ()

    class Data(NamedTuple):
        message: declared.Data
        then: ClientOpened

    class Failed(NamedTuple):
        message: declared.Failed
        then: ClientOpened

    def receive(self) -> Taking[Data | Failed]:
        return self._receive()


class ClientWriting(Handle):
    """As the client: the server stores the bytes."""

    state: ClassVar[str] = "writing"

    __slots__ = ()

    class Written(NamedTuple):
        message: declared.Written
        then: ClientOpened

    class Failed(NamedTuple):
        message: declared.Failed
        then: ClientOpened

    def receive(self) -> Taking[Written | Failed]:
        return self._receive()


class ClientClosing(Handle):
    """As the client: the server makes them durable."""

    state: ClassVar[str] = "closing"

    __slots__ = ()

    class Closed(NamedTuple):
        message: declared.Closed
        then: ClientClosed

    class Failed(NamedTuple):
        message: declared.Failed
        then: ClientClosed

    def receive(self) -> Taking[Closed | Failed]:
        return self._receive()


class ServerClosed(Handle):
    """As the server: the client opens a file, or goes."""

    state: ClassVar[str] = "closed"

    __slots__ = ()

    class Open(NamedTuple):
        message: declared.Open
        then: ServerOpening

    class Quit(NamedTuple):
        message: declared.Quit
        then: Ended

    def receive(self) -> Taking[Open | Quit]:
        return self._receive()


class ServerOpening(Handle):
    """As the server: the server looks for the file."""

    state: ClassVar[str] = "opening"

    __slots__ = ()

    @overload
    def send(self, message: declared.Opened) -> Taking[ServerOpened]: ...

    @overload
    def send(self, message: declared.Failed) -> Taking[ServerClosed]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class ServerOpened(Handle):
    """As the server: the client reads, writes, or closes."""

    state: ClassVar[str] = "opened"

    __slots__ = ()

    class Read(NamedTuple):
        message: declared.Read
        then: ServerReading

    class Write(NamedTuple):
        message: declared.Write
        then: ServerWriting

    class Close(NamedTuple):
        message: declared.Close
        then: ServerClosing

    def receive(self) -> Taking[Read | Write | Close]:
        return self._receive()


class ServerReading(Handle):
    """As the server: the server fetches the bytes."""

    state: ClassVar[str] = "reading"

    __slots__ = ()

    @overload
    def send(self, message: declared.Data) -> Taking[ServerOpened]: ...

    @overload
    def send(self, message: declared.Failed) -> Taking[ServerOpened]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class ServerWriting(Handle):
    """As the server: the server stores the bytes."""

    state: ClassVar[str] = "writing"

    __slots__ = ()

    @overload
    def send(self, message: declared.Written) -> Taking[ServerOpened]: ...

    @overload
    def send(self, message: declared.Failed) -> Taking[ServerOpened]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class ServerClosing(Handle):
    """As the server: the server makes them durable."""

    state: ClassVar[str] = "closing"

    __slots__ = ()

    @overload
    def send(self, message: declared.Closed) -> Taking[ServerClosed]: ...

    @overload
    def send(self, message: declared.Failed) -> Taking[ServerClosed]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


as_client: Final = Side(
    declared.Files,
    "client",
    ClientClosed,
    (ClientOpening, ClientOpened, ClientReading, ClientWriting, ClientClosing),
    fingerprint=FINGERPRINT,
)

as_server: Final = Side(
    declared.Files,
    "server",
    ServerClosed,
    (ServerOpening, ServerOpened, ServerReading, ServerWriting, ServerClosing),
    fingerprint=FINGERPRINT,
)
