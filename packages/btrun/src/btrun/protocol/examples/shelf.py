"""Both sides of `files` as programs: a server of a few files in memory, and a client that copies and appends."""

from __future__ import annotations

from btlib import Kind

from btrun.protocol import Channel

from .files import Close, Closed, Data, Failed, Open, Opened, Quit, Read, Write, Written
from .files_handles import (
    ClientClosed,
    ClientOpened,
    ClientOpening,
    ClientReading,
    ClientWriting,
    ServerClosed,
    ServerOpened,
    ServerReading,
    ServerWriting,
    as_client,
    as_server,
)

#: Bytes that one answer carries.
CHUNK = 4


class FileFailedError(Exception):
    """The server could not do it; the text says why."""


class Shelf:
    """Files by path."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    async def serve(self, channel: Channel) -> None:
        async with as_server(channel) as closed:
            while True:
                match await closed.receive():
                    case ServerClosed.Quit():
                        return
                    case ServerClosed.Open(wanted, opening):
                        if wanted.path not in self.files and not wanted.writing:
                            closed = await opening.send(Failed(kind=Kind.NOT_FOUND, text=f"no file {wanted.path}"))
                        else:
                            content = self.files.setdefault(wanted.path, b"")
                            closed = await self._opened(wanted, await opening.send(Opened(size=len(content))))

    async def _opened(self, file: Open, opened: ServerOpened) -> ServerClosed:
        while True:
            match await opened.receive():
                case ServerOpened.Close(_, closing):
                    return await closing.send(Closed())
                case ServerOpened.Read(read, reading):
                    opened = await self._read(file, read, reading)
                case ServerOpened.Write(write, writing):
                    opened = await self._write(file, write, writing)

    async def _read(self, file: Open, read: Read, reading: ServerReading) -> ServerOpened:
        end = read.offset + min(read.length, CHUNK)
        return await reading.send(Data(content=self.files[file.path][read.offset : end]))

    async def _write(self, file: Open, write: Write, writing: ServerWriting) -> ServerOpened:
        if not file.writing:
            return await writing.send(Failed(kind=Kind.READ_ONLY, text=f"{file.path} is open to read only"))
        content = self.files[file.path].ljust(write.offset, b"\0")
        self.files[file.path] = content[: write.offset] + write.content + content[write.offset + len(write.content) :]
        return await writing.send(Written(size=len(self.files[file.path])))


async def read_file(channel: Channel, path: str) -> bytes:
    """The content of a file. Raises FileFailedError."""
    async with as_client(channel) as closed:
        size, opened = await _open(closed, Open(path=path, writing=False))
        content = b""
        while len(content) < size:
            reading = await opened.send(Read(offset=len(content), length=size - len(content)))
            match await reading.receive():
                case ClientReading.Data(data, opened):
                    content += data.content
                case ClientReading.Failed(failed, _):
                    raise FileFailedError(failed.text)
        await _quit(opened)
    return content


async def append(channel: Channel, path: str, content: bytes, *, writing: bool = True) -> int:
    """Put the content behind the file's end, and give its new size. Raises FileFailedError."""
    async with as_client(channel) as closed:
        size, opened = await _open(closed, Open(path=path, writing=writing))
        match await (await opened.send(Write(offset=size, content=content))).receive():
            case ClientWriting.Failed(failed, opened):
                await _quit(opened)
                raise FileFailedError(failed.text)
            case ClientWriting.Written(written, opened):
                await _quit(opened)
                return written.size


async def _open(closed: ClientClosed, wanted: Open) -> tuple[int, ClientOpened]:
    match await (await closed.send(wanted)).receive():
        case ClientOpening.Failed(failed, closed):
            await closed.send(Quit())
            raise FileFailedError(failed.text)
        case ClientOpening.Opened(found, opened):
            return found.size, opened


async def _quit(opened: ClientOpened) -> None:
    closing = await opened.send(Close())
    _, closed = await closing.receive()
    await closed.send(Quit())
