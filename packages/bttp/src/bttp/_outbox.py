"""What a link has yet to send: whole small frames in order, and large bodies that take turns, a chunk at a time.

    take(limit):  all small frames, then a chunk of each body or stream in turn, until `limit` bytes

So a large body holds a small message up by what one `take` gives at most. The frame that announces a body (CALL, SEND,
REPLY) is a small frame and thus leaves before its chunks. What waits of a stream
keeps its order, and takes one turn. Pure; it knows nothing of TLS.
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
        self.parts = deque(filter(len, parts))
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
                view = memoryview(part)
                pieces.append(view[:want])
                self.parts[0] = view[want:]
                want = 0
        self.left -= size
        return size


class _Lane:
    """The frames and bodies of one stream, in order."""

    __slots__ = ("left", "queue", "stream")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.queue: deque[tuple[bytes, int] | _Body] = deque()
        self.left = 0

    def chunk(self, pieces: list[Buffer]) -> int:
        """Append frames up to about a chunk; how many bytes of those that waited they hold."""
        size = 0
        while self.queue and size < CHUNK:
            first = self.queue[0]
            if isinstance(first, _Body):
                size += first.chunk(pieces)
                if not first.left:
                    self.queue.popleft()
            else:
                pieces.append(first[0])
                size += len(first[0])
                self.queue.popleft()
        self.left -= size
        return size


class Outbox:
    """Frames and bodies in the order in which they leave."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []  #: small frames; append to it
        self.bulk = 0  #: bytes of bodies that wait
        self.streaming = 0  #: bytes of streams that wait
        self.lined_up: deque[_Body | _Lane] = (
            deque()
        )  #: bodies and streams that take turns; to look whether there are any
        self._lanes: dict[int, _Lane] = {}

    def __bool__(self) -> bool:
        return bool(self.frames) or bool(self.lined_up)

    @property
    def messages(self) -> int:
        """Frames and bodies that wait."""
        return len(self.frames) + len(self.lined_up)

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return self.bulk + sum(map(len, self.frames)) if self.frames else self.bulk

    def put_body(self, stream: int, parts: Sequence[Buffer], size: int) -> None:
        """Queue the DATA frames of a body of more than CHUNK bytes, already announced."""
        self.lined_up.append(_Body(stream, parts, size))
        self.bulk += size

    def put_item(self, stream: int, frame: bytes, cost: int, body: bytes = b"") -> None:
        """Queue a frame of a stream, and the body that it announces, behind what waits of that stream."""
        lane = self._lanes.get(stream)
        if lane is None:
            lane = self._lanes[stream] = _Lane(stream)
            self.lined_up.append(lane)
        lane.queue.append((frame, cost))
        if body:
            lane.queue.append(_Body(stream, (body,), len(body)))
        lane.left += len(frame) + len(body)
        self.streaming += len(frame) + len(body)

    def waits_of(self, stream: int) -> int:
        """Bytes of this stream that wait."""
        lane = self._lanes.get(stream)
        return 0 if lane is None else lane.left

    def drop_items(self, stream: int) -> int:
        """Forget what waits of a stream; the cost of the items of which nothing left."""
        lane = self._lanes.pop(stream, None)
        if lane is None:
            return 0
        self.lined_up.remove(lane)
        self.streaming -= lane.left
        return sum(entry[1] for entry in lane.queue if not isinstance(entry, _Body))

    def drop_body(self, stream: int) -> bool:
        """Stop sending a body; the peer is told by other means. Whether it was under way."""
        for body in self.lined_up:
            if body.stream == stream and isinstance(body, _Body):
                self.lined_up.remove(body)
                self.bulk -= body.left
                return True
        return False

    def take(self, limit: int) -> bytes:
        """The next plaintext to send; empty if nothing waits.

        All small frames that wait, however many: whoever queues them sees to their bound. Then chunks, up to `limit`
        bytes in all, but at least one: a flood of small frames does not starve the bodies.
        """
        plain = b"".join(self.frames)
        self.frames.clear()
        if not self.lined_up:
            return plain
        pieces: list[Buffer] = [plain]
        room = max(1, limit - len(plain))
        while self.lined_up and room > 0:
            body = self.lined_up.popleft()
            sent = body.chunk(pieces)
            room -= sent
            if isinstance(body, _Lane):
                self.streaming -= sent
                if not body.left:
                    del self._lanes[body.stream]
            else:
                self.bulk -= sent
            if body.left:
                self.lined_up.append(body)
        return b"".join(pieces)
