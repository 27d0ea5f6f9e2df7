"""What a link has yet to send: whole small frames in order, and large bodies that take turns, a chunk at a time.

    take(limit):  all small frames first, then one chunk of each body round robin, until `limit` bytes

So a large body holds a small message up by what one `take` gives at most. The frame that announces a body (CALL, SEND,
REPLY) is a small frame and thus leaves before its chunks. Pure; it knows nothing of TLS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ._frames import CHUNK, Buffer, data_head


class _Body:
    """A body on its way: its remaining parts, not copied."""

    __slots__ = ("left", "parts", "stream")

    def __init__(self, stream: int, parts: Sequence[Buffer], size: int) -> None:
        self.stream = stream
        self.parts = deque(memoryview(part).cast("B") for part in parts if len(part))
        self.left = size

    def chunk(self, pieces: list[Buffer]) -> int:
        """Append the next DATA frame; how many bytes of the body it holds."""
        size = want = min(CHUNK, self.left)
        pieces.append(data_head(self.stream, size))
        while want:
            part = self.parts[0]
            if len(part) <= want:
                pieces.append(self.parts.popleft())
                want -= len(part)
            else:
                pieces.append(part[:want])
                self.parts[0] = part[want:]
                want = 0
        self.left -= size
        return size


class Outbox:
    """Frames and bodies in the order in which they leave."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._bodies: deque[_Body] = deque()
        self.queued = 0  #: bytes that wait

    def __bool__(self) -> bool:
        return bool(self._frames) or bool(self._bodies)

    @property
    def messages(self) -> int:
        """Frames and bodies that wait."""
        return len(self._frames) + len(self._bodies)

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self.queued += len(frame)

    def put_body(self, stream: int, parts: Sequence[Buffer], size: int) -> None:
        """Queue the DATA frames of a body of more than CHUNK bytes, already announced."""
        self._bodies.append(_Body(stream, parts, size))
        self.queued += size

    def drop_body(self, stream: int) -> bool:
        """Stop sending a body; the peer is told by other means. Whether it was under way."""
        for body in self._bodies:
            if body.stream == stream:
                self._bodies.remove(body)
                self.queued -= body.left
                return True
        return False

    def take(self, limit: int) -> bytes:
        """The next plaintext to send; empty if nothing waits. It passes `limit` by less than a chunk and a frame."""
        frames = self._frames
        if not self._bodies and self.queued <= limit:  # the usual case: small messages only
            self._frames = []
            self.queued = 0
            return frames[0] if len(frames) == 1 else b"".join(frames)
        pieces: list[Buffer] = []
        size = self._take_frames(pieces, limit)
        while self._bodies and size < limit:
            body = self._bodies.popleft()
            sent = body.chunk(pieces)
            size += sent
            self.queued -= sent
            if body.left:
                self._bodies.append(body)
        return b"".join(pieces)

    def _take_frames(self, pieces: list[Buffer], limit: int) -> int:
        """Whole small frames up to the limit; at least one, so that `take` always moves on."""
        size = count = 0
        for frame in self._frames:
            if size >= limit:
                break
            pieces.append(frame)
            size += len(frame)
            count += 1
        del self._frames[:count]
        self.queued -= size
        # A flood of small frames must not starve the bodies: one chunk always has its turn.
        return min(size, limit - 1)
