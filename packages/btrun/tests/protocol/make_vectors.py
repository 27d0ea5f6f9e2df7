"""Makes the vectors of docs/spec/protocol.md: one scenario a file, written to `vectors/`.

    python packages/btrun/tests/protocol/make_vectors.py            write all files anew
    python packages/btrun/tests/protocol/make_vectors.py --check    only say which files differ; exit status 1 if any

A `protocol-*` vector has the description of a protocol and its fingerprint; a `packet-*` vector the bytes of a packet
and its content, or the reason for which it must be refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from btlib import Kind, Principal
from btrun.protocol import Protocol
from btrun.protocol._fingerprint import description
from btrun.protocol._joining import Joining, Player
from btrun.protocol._versions import Versions
from btrun.protocol._wire import pack, pack_close
from btrun.protocol.examples.chat import Chat
from btrun.protocol.examples.files import Files, Quit, Write
from btrun.protocol.examples.news import News
from btrun.protocol.examples.transfer import Transfer
from btrun.protocol.examples.two_phase import TwoPhase
from msgspec import Struct

VECTORS = Path(__file__).parent / "vectors"

PROTOCOLS: tuple[type[Protocol], ...] = (Chat, Files, News, Transfer, TwoPhase)

MESSAGES: dict[str, tuple[str, Struct]] = {
    "write": ("a message with content", Write(offset=70_000, content=b"abc")),
    "quit": ("a message without fields has an empty body", Quit()),
    "versions": ("the first message of each side", Versions(fingerprints=(Files.fingerprint, 7))),
    "joining": (
        "the first message of each side, among more than two",
        Joining(
            fingerprint=TwoPhase.fingerprint,
            session=bytes(range(16)),
            sender="coordinator",
            receiver="first",
            players=(
                Player(role="first", principal=Principal(b"\x01" * 32)),
                Player(role="second", principal=Principal(b"\x02" * 32)),
            ),
        ),
    ),
}

ENDS: dict[str, tuple[str, Kind | None, str]] = {
    "done": ("the last packet of a side that came to the end", None, ""),
    "violation": ("the last packet of a side that refuses a message", Kind.PROTOCOL, "that is not allowed"),
}

REFUSED: dict[str, tuple[str, str]] = {
    "empty": ("no tag", ""),
    "tag": ("an unknown tag", "02"),
    "cut": ("a body shorter than it says", "000551756974ff"),
    "trailing": ("a byte after the packet", "00045175697400ff"),
    "body": ("a body with a byte too many for its class", "00045175697401ff"),
    "label": ("a label that is not allowed in this state", "00044e6f706500"),
    "label-utf8": ("a label that is not UTF-8", "0004ff75697400"),
    "done-2": ("a truth value that is neither 0 nor 1", "011e0200"),
}


def vectors() -> dict[str, bytes]:
    """All files by name."""
    return {f"{name}.json": _text(vector) for name, vector in (*_protocols(), *_packets(), *_refusals())}


def _text(vector: dict[str, object]) -> bytes:
    return (json.dumps(vector, indent=1, ensure_ascii=False) + "\n").encode()


def _protocols() -> list[tuple[str, dict[str, object]]]:
    return [
        (
            f"protocol-{protocol.__name__.lower()}",
            {
                "comment": protocol.graph.meaning,
                "description": description(protocol.graph).splitlines(),
                "fingerprint": f"{protocol.fingerprint:016x}",
            },
        )
        for protocol in PROTOCOLS
    ]


def _packets() -> list[tuple[str, dict[str, object]]]:
    said: list[tuple[str, dict[str, object]]] = [
        (
            f"packet-{name}",
            {"comment": comment, "expect": "message", "packet": pack(message).hex(), "label": type(message).__name__},
        )
        for name, (comment, message) in MESSAGES.items()
    ]
    closed: list[tuple[str, dict[str, object]]] = [
        (f"packet-{name}", {"comment": comment, "expect": "end", "packet": pack_close(kind, reason).hex()})
        for name, (comment, kind, reason) in ENDS.items()
    ]
    return [*said, *closed]


def _refusals() -> list[tuple[str, dict[str, object]]]:
    return [
        (f"packet-refused-{name}", {"comment": comment, "expect": "refusal", "packet": packet})
        for name, (comment, packet) in REFUSED.items()
    ]


def main(arguments: list[str]) -> int:
    """Write or check the files; returns the exit status."""
    made = vectors()
    kept = {path.name: path.read_bytes() for path in VECTORS.glob("*.json")}
    if "--check" in arguments:
        wrong = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
        print("\n".join(f"differs: {name}" for name in wrong) or f"{len(made)} vectors are as they should be")
        return 1 if wrong else 0
    for name in kept.keys() - made.keys():
        (VECTORS / name).unlink()
    for name, content in made.items():
        (VECTORS / name).write_bytes(content)
    print(f"{len(made)} vectors written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
