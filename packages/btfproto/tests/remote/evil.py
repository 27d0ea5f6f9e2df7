"""A server that says whatever a test wants, behind a dialer without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from btfproto._dial import Buffer, Dialer
from btfproto.messages import (
    decode_fs_call,
    decode_store_request,
    encode_fs_reply,
    encode_store_reply,
    files,
    stores,
)
from btfproto.provider import Attributes, FileKind
from btlib import BlockPath, Identity
from btlib.principals import Principal

ROOT = Principal(bytes(32))
SERVICE = BlockPath(ROOT, ("hosts", "nas", "btfsd", "fs"))
SESSION = b"s" * 16

Answer = Callable[[files.FsRequest], files.FsReply | bytes]
StoreAnswer = Callable[[stores.StoreRequest], stores.StoreReply | bytes]


def attributes(inode: int = 1, kind: FileKind = FileKind.DIRECTORY, **changes: int) -> Attributes:
    fields = {"mode": 0o755, "links": 1, "uid": 0, "gid": 0, "size": 0, "blocks": 0}
    fields |= {"accessed": 0, "modified": 0, "changed": 0, **changes}
    return Attributes(inode=inode, kind=kind, **fields)


class FakeLink:
    """A link to nobody. `fail` is raised by the next calls, one after the other, before anything is answered."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self.closed = False
        self.rechecked = 0
        self.fail: list[Exception] = []
        self.bodies: list[bytes] = []
        self.proved: list[Identity] = []

    def prove(self, identity: Identity) -> None:
        self.proved.append(identity)

    def recheck(self) -> None:
        self.rechecked += 1

    def call(self, path: BlockPath, body: Buffer | Sequence[Buffer], *, timeout: float | None) -> memoryview:
        whole = bytes(body) if isinstance(body, bytes | bytearray | memoryview) else b"".join(body)
        self.bodies.append(whole)
        if self.fail:
            raise self.fail.pop(0)
        return memoryview(self._answer(whole))

    def close(self) -> None:
        self.closed = True


def fs_link(answer: Answer) -> FakeLink:
    """Attaches properly, detaches politely, and answers everything else by `answer`."""

    def respond(body: bytes) -> bytes:
        request = decode_fs_call(body).request
        if isinstance(request, files.Attach):
            reply: files.FsReply | bytes = files.Attached(session=SESSION, root=attributes(), writable=True)
        elif isinstance(request, files.Detach):
            reply = files.Done()
        else:
            reply = answer(request)
        return reply if isinstance(reply, bytes) else b"".join(encode_fs_reply(reply))

    return FakeLink(respond)


def store_link(answer: StoreAnswer) -> FakeLink:
    def respond(body: bytes) -> bytes:
        reply = answer(decode_store_request(body))
        return reply if isinstance(reply, bytes) else b"".join(encode_store_reply(reply))

    return FakeLink(respond)


def dialer_to(*links: FakeLink, patience: float = 10.0) -> Dialer:
    """A dialer that gets these links, one after the other, and the last one for ever. Its clock stands still."""
    waiting = list(links)

    def connect(timeout: float) -> FakeLink:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return Dialer(connect, "evil:1", patience=patience, jitter=lambda: 0.0)
