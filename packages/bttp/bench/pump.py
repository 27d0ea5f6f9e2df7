"""The bare pump: TLS 1.3 and the link's framing with nothing else, as the yardstick of `bttp-pump`.

It has no identities, paths, deadlines, limits, credit or cancellation, and answers every call at once: with its body,
or with nothing if the body is large. What a link costs above it is the price of all that.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from struct import Struct
from typing import cast

HEAD = Struct("<II")
TOTAL = Struct("<I")
CALL, SEND, REPLY, DATA = 17, 18, 19, 20
CHUNK = 64 * 1024
SIZE = 256 * 1024


class Pump(asyncio.BufferedProtocol):
    """One end."""

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._cipher = memoryview(bytearray(SIZE))
        self._plain = memoryview(bytearray(SIZE))
        self._end = 0
        self._frames: list[bytes | memoryview] = []
        self._bodies: deque[tuple[int, memoryview]] = deque()
        self._arriving: dict[int, tuple[bytearray, int]] = {}
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._next = 1
        self._paused = self._flushing = False
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.sends = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=128 * 1024)
        self._handshake()

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
            self.ready.set_result(None)
        except ssl.SSLWantReadError:
            pass
        if data := self._out.read():
            self._transport.write(data)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._cipher

    def buffer_updated(self, nbytes: int) -> None:
        self._in.write(self._cipher[:nbytes])
        if not self.ready.done():
            self._handshake()
            if not self.ready.done():
                return
        tls, incoming, plain = self._tls, self._in, self._plain
        while incoming.pending or tls.pending():
            try:
                while self._end < SIZE and (incoming.pending or tls.pending()):
                    self._end += cast(int, tls.read(SIZE - self._end, plain[self._end :]))
            except ssl.SSLWantReadError:
                self._parse()
                break
            self._parse()
        self._flush()

    def _parse(self) -> None:
        plain, end, start, unpack = self._plain, self._end, 0, HEAD.unpack_from
        while end - start >= 8:
            word, stream = unpack(plain, start)
            stop = start + 8 + (word >> 8)
            if stop > end:
                break
            kind = word & 255
            if kind == REPLY:
                self._waiting.pop(stream).set_result(bytes(plain[start + 8 : stop]))
            elif kind == SEND:
                self.sends += 1
                bytes(plain[start + 8 : stop])
            elif kind == CALL:
                self._called(stream, plain[start + 8 : stop])
            else:
                self._data(stream, plain[start + 8 : stop])
            start = stop
        if start:
            plain[: end - start] = plain[start:end]
        self._end = end - start

    def _called(self, stream: int, payload: memoryview) -> None:
        total = TOTAL.unpack_from(payload)[0]
        if total > CHUNK:
            self._arriving[stream] = bytearray(total), 0
        else:
            body = bytes(payload[4:])
            self._frames.append(HEAD.pack(len(body) << 8 | REPLY, stream) + body)

    def _data(self, stream: int, payload: memoryview) -> None:
        body, filled = self._arriving[stream]
        body[filled : filled + len(payload)] = payload
        filled += len(payload)
        self._arriving[stream] = body, filled
        if filled == len(body):
            del self._arriving[stream]
            self._frames.append(HEAD.pack(REPLY, stream))

    async def call(self, body: bytes) -> bytes:
        stream = self._next
        self._next += 2
        future = self._waiting[stream] = self._loop.create_future()
        if len(body) > CHUNK:
            self._frames.append(HEAD.pack(4 << 8 | CALL, stream) + TOTAL.pack(len(body)))
            self._bodies.append((stream, memoryview(body)))
        else:
            self._frames.append(HEAD.pack(len(body) + 4 << 8 | CALL, stream) + TOTAL.pack(len(body)) + body)
        self._flush_soon()
        answer: bytes = await future
        return answer

    async def send(self, body: bytes) -> None:
        self._frames.append(HEAD.pack(len(body) << 8 | SEND, 0) + body)
        self._flush_soon()
        if len(self._frames) > 8000:  # about the same as a link lets wait
            await asyncio.sleep(0)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        while not self._paused and (self._frames or self._bodies):
            frames, self._frames = self._frames, []
            room = SIZE - sum(map(len, frames))
            while self._bodies and room > 0:
                stream, body = self._bodies.popleft()
                chunk = body[:CHUNK]
                frames += (HEAD.pack(len(chunk) << 8 | DATA, stream), chunk)
                room -= len(chunk)
                if len(body) > CHUNK:
                    self._bodies.append((stream, body[CHUNK:]))
            self._tls.write(b"".join(frames))
            self._transport.write(self._out.read())

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def close(self) -> None:
        self._transport.close()
