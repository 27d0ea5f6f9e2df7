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
from bttp._frames import CHUNK, MAX_PAYLOAD, FrameKind, Hello, frame
from bttp._preface import preface, refusal
from bttp._streams import NO_STREAM
from bttp._topics import WhenSlow, Wish, encode_losses, encode_message, encode_wish
from bttp._trace import TraceParent

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
        "hello": _accept("HELLO with the default limits", wire.hello_frame(HELLO)),
        "route": _accept("number 1 stands for a path", frame(FrameKind.ROUTE, 1, str(PATH).encode())),
        "call": _accept("stream 1 calls route 1, 30 s", wire.call_frame(1, 1, 30_000, 5, b"hello")),
        "extended-call": _accept(
            "the same with an idempotency key that was sent before, and a trace context",
            extended(wire.call_frame(1, 1, 30_000, 5, b"hello"), encode_fields(b"order 66", TRACE, REPEAT)),
        ),
        "extended-open": _accept(
            "stream 1 is opened on route 1 with a trace context",
            extended(wire.open_frame(1, 1, 0, b"hello"), encode_fields(None, TRACE)),
        ),
        "send": _accept("a message without answer", wire.send_frame(0, 1, 5, b"hello")),
        "reply": _accept("the answer to stream 1", wire.reply_frame(1, 5, b"world")),
        "error": _accept("no such thing", wire.text_frame(FrameKind.ERROR, 1, Kind.NOT_FOUND, "nothing listens")),
        "large-reply": _accept(
            "announced and begun", wire.reply_frame(1, CHUNK + 2, b"") + wire.data_head(1, 2) + b"ab"
        ),
        "cancel": _accept("stream 1 is not waited for", frame(FrameKind.CANCEL, 1)),
        "credit": _accept("256 KiB more", wire.credit_frame(256 * 1024)),
        "open": _accept("stream 1 is opened on route 1, 30 s", wire.open_frame(1, 1, 30_000, b"hello")),
        "item": _accept("an item of stream 1", wire.item_frame(1, 5, b"hello")),
        "large-item": _accept("announced and begun", wire.item_frame(1, CHUNK + 2, b"") + wire.data_head(1, 2) + b"ab"),
        "end": _accept("no more items from this side of stream 1", frame(FrameKind.END, 1)),
        "reset": _accept("stream 1 is over", wire.text_frame(FrameKind.RESET, 1, Kind.CANCELLED, "enough")),
        "stream-credit": _accept("256 KiB more for stream 1", wire.credit_frame(256 * 1024, 1)),
        "link-credit": _accept("256 KiB more for all streams together", wire.credit_frame(256 * 1024, NO_STREAM)),
        "subscription": _accept(
            "first words of a subscription to a topic and below, drop oldest, 256 messages", encode_wish(WISH)
        ),
        "message": _accept("an item of a broker", encode_message(PATH, b"hello")),
        "losses": _accept("an item of a broker: three messages were lost here", encode_losses(3)),
        "ping": _accept("a sign of life, please", frame(FrameKind.PING, 0, (1).to_bytes(8, "little"))),
        "too-long": {
            "comment": "a head whose length is beyond the limit: refused before any payload",
            "expect": "violation",
            "bytes": frame(FrameKind.DATA, 1, bytes(MAX_PAYLOAD + 1))[:8].hex(),
        },
    }


def _accept(comment: str, data: bytes) -> dict[str, object]:
    return {"comment": comment, "expect": "accept", "bytes": data.hex()}


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
