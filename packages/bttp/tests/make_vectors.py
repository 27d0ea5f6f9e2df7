"""Makes the vectors of docs/spec/bttp.md: `python make_vectors.py` writes them, `--check` compares instead.

One scenario a file: what it is (`comment`), what a reader must do with it (`expect`), and the bytes in hexadecimal. The
keys are those of the test kit, so that signatures (Ed25519) come out the same every time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from bttp import _frames as wire
from bttp._auth import Role, prove, transcript
from bttp._fields import Repeat, encode_fields, extended
from bttp._frames import CHUNK, FrameKind, Hello, frame
from bttp._preface import preface, refusal
from bttp._streams import NO_STREAM
from bttp._topics import WhenSlow, Wish, encode_losses, encode_message, encode_wish
from bttp._trace import TraceParent
from bttp.dissector import Dissector

FOLDER = Path(__file__).parent / "vectors"
DOMAIN = make_domain_identities("alice", root="root")
CERTIFICATES = (b"the client's certificate", b"the server's certificate")
HELLO = Hello(
    version=1,
    auths=1,
    max_calls=1024,
    max_body=64 * 1024 * 1024,
    send_window=1024 * 1024,
    stream_window=256 * 1024,
    link_window=16 * 1024 * 1024,
    instance=0x0123456789ABCDEF,
)
TRACE = TraceParent.parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
REPEAT = Repeat(instance=0x0123456789ABCDEF, elapsed=1500)
WISH = Wish(below=True, when_slow=WhenSlow.DROP_OLDEST, queue=256)
PATH = DOMAIN.path.child("hosts").child("nas")
ROUTE = frame(FrameKind.ROUTE, 1, str(PATH).encode())
OPEN = wire.open_frame(1, 1, 0, b"")
ITEM = wire.item_frame(1, 1, b"x")

#: Words of the reason, and what a client says on an open link: its server must refuse it, and nothing before its end.
VIOLATIONS: tuple[tuple[str, list[bytes]], ...] = (
    ("no place", [frame(FrameKind.HELLO, 0, bytes(16))]),
    ("was not sent", [frame(FrameKind.ACCEPT, 0)]),
    ("was not sent", [frame(FrameKind.REFUSE, 0, b"\0")]),
    ("malformed", [frame(FrameKind.AUTH, 0, b"\0")]),
    ("stream 0", [frame(FrameKind.AUTH, 1, b"\0")]),
    ("kind 28", [frame(28, 1)]),
    ("too short", [frame(FrameKind.EXTENDED, 1, bytes(3))]),
    ("kind 24", [frame(FrameKind.EXTENDED, 1, b"\x18\0\0\0" + bytes(4))]),
    ("kind 27", [frame(FrameKind.EXTENDED, 1, b"\x1b\0\0\0" + bytes(4))]),
    ("kind 17", [frame(FrameKind.EXTENDED, 1, b"\x11\1\0\0" + bytes(12))]),
    ("do not fit", [frame(FrameKind.EXTENDED, 1, b"\x11\0\2\0" + bytes(1))]),
    ("do not fit", [frame(FrameKind.EXTENDED, 1, b"\x11\0\1\2" + bytes(600))]),
    ("do not fit", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"")]),
    ("cut off", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\2k")]),
    ("ascending", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\7\0\7\0")]),
    ("64 bytes", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\0")]),
    ("64 bytes", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\x41" + bytes(65))]),
    ("beside a key", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\2\x0c" + bytes(12))]),
    ("12 bytes", [ROUTE, extended(wire.call_frame(1, 1, 0, 0, b""), b"\1\1k\2\1x")]),
    ("only a CALL", [ROUTE, extended(wire.send_frame(0, 1, 0, b""), b"\1\1k")]),
    ("too short", [ROUTE, extended(frame(FrameKind.CALL, 1, bytes(11)), b"\1\1k")]),
    ("kind 255", [frame(255, 0)]),
    ("stream 0", [frame(FrameKind.PING, 1, bytes(8))]),
    ("8 bytes", [frame(FrameKind.PING, 0, bytes(7))]),
    ("8 bytes", [frame(FrameKind.PONG, 0)]),
    ("no block path", [frame(FrameKind.ROUTE, 1, b"/nobody")]),
    ("no block path", [frame(FrameKind.ROUTE, 1, b"\xff")]),
    ("a number from 1", [frame(FrameKind.ROUTE, 0, str(PATH).encode())]),
    ("a number from 1", [frame(FrameKind.ROUTE, 257, str(PATH).encode())]),
    ("not announced", [wire.call_frame(1, 1, 0, 0, b"")]),
    ("not announced", [wire.send_frame(0, 9, 0, b"")]),
    ("too short", [frame(FrameKind.CALL, 1, bytes(11))]),
    ("too short", [frame(FrameKind.SEND, 0, bytes(7))]),
    ("too short", [frame(FrameKind.REPLY, 1, bytes(3))]),
    ("not free", [ROUTE, wire.call_frame(2, 1, 0, 0, b"")]),
    ("not free", [ROUTE, wire.call_frame(0, 1, 0, 0, b"")]),
    ("not free", [ROUTE, wire.call_frame(1, 1, 0, 0, b""), wire.call_frame(1, 1, 0, 0, b"")]),
    ("not free", [ROUTE, wire.send_frame(2, 1, CHUNK + 1, b"")]),
    ("does not hold", [ROUTE, wire.call_frame(1, 1, 0, 2, b"x")]),
    ("does not hold", [ROUTE, wire.call_frame(1, 1, 0, 0, b"x")]),
    ("does not hold", [ROUTE, wire.send_frame(0, 1, 0, b"x")]),
    ("does not hold", [ROUTE, wire.send_frame(1, 1, 1, b"x")]),
    ("DATA frames", [ROUTE, wire.call_frame(1, 1, 0, CHUNK + 1, b"x")]),
    ("max_body", [ROUTE, wire.call_frame(1, 1, 0, 2**32 - 1, b"")]),
    ("does not fit", [ROUTE, wire.call_frame(1, 1, 0, CHUNK + 1, b""), wire.data_head(1, 0)]),
    ("second body", [ROUTE, wire.send_frame(1, 1, CHUNK + 1, b""), wire.send_frame(1, 1, CHUNK + 1, b"")]),
    ("empty", [frame(FrameKind.CANCEL, 1, b"x")]),
    ("gives back more", [wire.credit_frame(1, 7)]),
    ("malformed", [frame(FrameKind.CREDIT, 0, bytes(3))]),
    ("malformed", [frame(FrameKind.ERROR, 1)]),
    ("malformed", [frame(FrameKind.GOAWAY, 0)]),
    ("exceeds the limit", [wire.HEAD.pack((wire.MAX_PAYLOAD + 1) << 8 | 1, 0)]),
    ("too short", [frame(FrameKind.OPEN, 1, bytes(7))]),
    ("not announced", [OPEN]),
    ("not free", [ROUTE, wire.open_frame(2, 1, 0, b"")]),
    ("not free", [ROUTE, wire.open_frame(0, 1, 0, b"")]),
    ("not free", [ROUTE, OPEN, OPEN]),
    ("not free", [ROUTE, OPEN, wire.call_frame(1, 1, 0, 0, b"")]),
    ("not free", [ROUTE, wire.send_frame(1, 1, CHUNK + 1, b""), OPEN]),
    ("RESET, not CANCEL", [ROUTE, OPEN, frame(FrameKind.CANCEL, 1)]),
    ("too short", [ROUTE, OPEN, frame(FrameKind.ITEM, 1, bytes(3))]),
    ("does not hold", [ROUTE, OPEN, wire.item_frame(1, 2, b"x")]),
    ("does not hold", [ROUTE, OPEN, wire.item_frame(1, CHUNK + 1, b"x")]),
    ("max_body", [ROUTE, OPEN, wire.item_frame(1, 2**32 - 1, b"")]),
    ("is empty", [ROUTE, OPEN, frame(FrameKind.END, 1, b"x")]),
    ("goes on after", [ROUTE, OPEN, frame(FrameKind.END, 1), ITEM]),
    ("cannot END", [ROUTE, OPEN, frame(FrameKind.END, 1), frame(FrameKind.END, 1)]),
    ("cannot END", [ROUTE, OPEN, wire.item_frame(1, CHUNK + 1, b""), frame(FrameKind.END, 1)]),
    ("before the last one is whole", [ROUTE, OPEN, wire.item_frame(1, CHUNK + 1, b""), ITEM]),
    ("malformed", [ROUTE, OPEN, frame(FrameKind.RESET, 1)]),
    ("gives back more", [ROUTE, OPEN, wire.credit_frame(1, 1)]),
)


def vectors() -> dict[str, dict[str, object]]:
    """By file name."""
    signed = transcript(*CERTIFICATES)
    return {
        "preface": _accept("the client's first bytes", preface(CERTIFICATES[0])),
        "refusal": _accept("a server that has no room, before TLS", refusal(Kind.LIMIT, "max_links")),
        "auth": {
            **_accept("alice proves herself as the client", prove(DOMAIN["alice"], Role.CLIENT, signed)),
            "client_certificate": CERTIFICATES[0].hex(),
            "server_certificate": CERTIFICATES[1].hex(),
            "principal": str(DOMAIN["alice"].principal),
        },
        "hello": _shown("HELLO with the default limits", wire.hello_frame(HELLO)),
        "route": _shown("number 1 stands for a path", frame(FrameKind.ROUTE, 1, str(PATH).encode())),
        "call": _shown("stream 1 calls route 1, 30 s", wire.call_frame(1, 1, 30_000, 5, b"hello")),
        "extended-call": _shown(
            "the same with an idempotency key that was sent before, and a trace context",
            extended(wire.call_frame(1, 1, 30_000, 5, b"hello"), encode_fields(b"order 66", TRACE, REPEAT)),
        ),
        "extended-open": _shown(
            "stream 1 is opened on route 1 with a trace context",
            extended(wire.open_frame(1, 1, 0, b"hello"), encode_fields(None, TRACE)),
        ),
        "send": _shown("a message without answer", wire.send_frame(0, 1, 5, b"hello")),
        "reply": _shown("the answer to stream 1", wire.reply_frame(1, 5, b"world")),
        "error": _shown("no such thing", wire.text_frame(FrameKind.ERROR, 1, Kind.NOT_FOUND, "nothing listens")),
        "large-reply": _shown(
            "announced and begun", wire.reply_frame(1, CHUNK + 2, b"") + wire.data_head(1, 2) + b"ab"
        ),
        "data": _shown("two bytes of the body of stream 1", wire.data_head(1, 2) + b"ab"),
        "accept": _shown("the other side is let in", frame(FrameKind.ACCEPT, 0)),
        "refuse": _shown("it is not", wire.text_frame(FrameKind.REFUSE, 0, Kind.FORBIDDEN, "no chain")),
        "violation": _shown("the last words of a link", wire.text_frame(FrameKind.VIOLATION, 0, Kind.INVALID, "why")),
        "goaway": _shown(
            "nothing new, please", wire.text_frame(FrameKind.GOAWAY, 0, Kind.UNREACHABLE, "the server ends")
        ),
        "pong": _shown("here it is", frame(FrameKind.PONG, 0, (1).to_bytes(8, "little"))),
        "cancel": _shown("stream 1 is not waited for", frame(FrameKind.CANCEL, 1)),
        "credit": _shown("256 KiB more", wire.credit_frame(256 * 1024)),
        "open": _shown("stream 1 is opened on route 1, 30 s", wire.open_frame(1, 1, 30_000, b"hello")),
        "item": _shown("an item of stream 1", wire.item_frame(1, 5, b"hello")),
        "large-item": _shown("announced and begun", wire.item_frame(1, CHUNK + 2, b"") + wire.data_head(1, 2) + b"ab"),
        "end": _shown("no more items from this side of stream 1", frame(FrameKind.END, 1)),
        "reset": _shown("stream 1 is over", wire.text_frame(FrameKind.RESET, 1, Kind.CANCELLED, "enough")),
        "stream-credit": _shown("256 KiB more for stream 1", wire.credit_frame(256 * 1024, 1)),
        "link-credit": _shown("256 KiB more for all streams together", wire.credit_frame(256 * 1024, NO_STREAM)),
        "subscription": _accept(
            "first words of a subscription to a topic and below, drop oldest, 256 messages", encode_wish(WISH)
        ),
        "message": _accept("an item of a broker", encode_message(PATH, b"hello")),
        "losses": _accept("an item of a broker: three messages were lost here", encode_losses(3)),
        "ping": _shown("a sign of life, please", frame(FrameKind.PING, 0, (1).to_bytes(8, "little"))),
        "violations": {
            "comment": "on an open link whose server has the default limits: each ends it",
            "expect": "violation",
            "cases": [{"reason": reason, "bytes": b"".join(frames).hex()} for reason, frames in VIOLATIONS],
        },
    }


def _accept(comment: str, data: bytes) -> dict[str, object]:
    return {"comment": comment, "expect": "accept", "bytes": data.hex()}


def _shown(comment: str, data: bytes) -> dict[str, object]:
    """Whole frames, and what the dissector says of them."""
    return {**_accept(comment, data), "shows": Dissector().feed(data)}


def main(check: bool) -> int:
    """Write or compare; the exit status."""
    wrong = []
    for name, vector in vectors().items():
        file, text = FOLDER / f"{name}.json", json.dumps(vector, indent=1) + "\n"
        if check and (not file.is_file() or file.read_text(encoding="utf-8") != text):
            wrong.append(file.name)
        elif not check:
            file.write_text(text, encoding="utf-8")
    if wrong:
        print("differ from what the code makes:", ", ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
