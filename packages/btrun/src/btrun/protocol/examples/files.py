"""A file over a session: open, read, write, close. What is not open cannot be read, and the type checker knows."""

from __future__ import annotations

from btlib import Kind
from btserde import U32, U64
from msgspec import Struct

from btrun.protocol import END, Protocol, Role, State


class Open(Struct, frozen=True, kw_only=True):
    """A file by its path, to read, and to write where `writing`."""

    path: str
    writing: bool


class Opened(Struct, frozen=True, kw_only=True):
    """It is open."""

    size: U64


class Failed(Struct, frozen=True, kw_only=True):
    """It could not be done; nothing has changed."""

    kind: Kind
    text: str


class Read(Struct, frozen=True, kw_only=True):
    """Up to `length` bytes from `offset` on."""

    offset: U64
    length: U32


class Data(Struct, frozen=True, kw_only=True):
    """The bytes; fewer than asked for only at the end of the file."""

    content: bytes


class Write(Struct, frozen=True, kw_only=True):
    """Put the bytes at `offset`."""

    offset: U64
    content: bytes


class Written(Struct, frozen=True, kw_only=True):
    """All of them are there."""

    size: U64


class Close(Struct, frozen=True, kw_only=True):
    """Done with this file."""


class Closed(Struct, frozen=True, kw_only=True):
    """What was written is durable."""


class Quit(Struct, frozen=True, kw_only=True):
    """Done with all files."""


class Files(Protocol):
    """One file at a time of a server's tree."""

    client = Role("reads and writes")
    server = Role("has the files")

    closed = State("the client opens a file, or goes")
    opening = State("the server looks for the file")
    opened = State("the client reads, writes, or closes")
    reading = State("the server fetches the bytes")
    writing = State("the server stores the bytes")
    closing = State("the server makes them durable")

    closed.lets(client, {Open: opening, Quit: END})
    opening.lets(server, {Opened: opened, Failed: closed})
    opened.lets(client, {Read: reading, Write: writing, Close: closing})
    reading.lets(server, {Data: opened, Failed: opened})
    writing.lets(server, {Written: opened, Failed: opened})
    closing.lets(server, {Closed: closed, Failed: closed})
