"""Makes the vectors of docs/spec/topics.md: `python make_vectors.py` writes them, `--check` compares instead.

They come from the second implementation, not from the one that they test. Seals are random: those of a vector on disk
are kept as long as they open to what they should.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from btlib import Chain, Identity, Readcap, Rights, Suite, open_readcap, seal_readcap
from btlib.errors import BlocktreeError
from btlib.testing import DomainIdentities, make_domain_identities

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "vectors"

_SPEC = importlib.util.spec_from_file_location("slow_sealed", HERE / "slow_sealed.py")
assert _SPEC is not None
assert _SPEC.loader is not None
slow: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(slow)

DOMAIN = make_domain_identities("keeper", "sensor", "bob")
P256 = make_domain_identities("sensor", suite=Suite.P256)
READER = DOMAIN.issue("reader", rights=Rights.EXECUTE)
SHORT = DOMAIN.issue("short", time=(0, 999_999))
STRICT = DOMAIN.issue("strict", may_delegate=False)
KEY, EPOCH, SESSION, NOW = bytes(range(32)), 7, bytes(range(100, 116)), 1_000_000

Vector = dict[str, Any]


def topic_of(domain: DomainIdentities = DOMAIN, *names: str) -> str:
    return "/".join((str(domain.path), "topics", "warm", *names))


def message_vectors() -> Iterator[tuple[str, Vector]]:
    def make(who: Identity = DOMAIN["sensor"], domain: DomainIdentities = DOMAIN, **more: Any) -> bytes:
        terms = {"topic": topic_of(domain), "sequence": 3, "sent": NOW * 1000, "body": b"21.5", **more}
        data: bytes = slow.message(who, key=KEY, epoch=EPOCH, session=SESSION, **terms)
        return data

    def vector(expect: str, comment: str, data: bytes, body: bytes = b"", **more: Any) -> Vector:
        head = {"kind": "message", "comment": comment, "expect": expect, "group": topic_of(), "topic": topic_of()}
        keys = {"group_key": KEY.hex(), "epoch": EPOCH, "now": NOW}
        return {**head, **keys, **more, "bytes": data.hex(), "body": body.hex()}

    good, sensor = make(), DOMAIN["sensor"]
    steps = {
        "topic_id": slow.topic_id(topic_of()).hex(),
        "key_id": slow.key_id(topic_of(), EPOCH, KEY).hex(),
        "session_key": slow.session_key(topic_of(), EPOCH, KEY, sensor.principal.digest, SESSION).hex(),
    }
    yield "message", vector("accept", "a reading", good, b"21.5", **steps)
    yield "message empty", vector("accept", "an empty body, the first of its session", make(body=b"", sequence=0))
    yield "message root", vector("accept", "by the root", make(DOMAIN.root, chain=Chain()), b"21.5")
    below = topic_of(DOMAIN, "kitchen")
    yield (
        "message below",
        vector("accept", "to a topic below", make(topic=below, group=topic_of()), b"21.5", topic=below),
    )
    other = {"group": topic_of(P256), "topic": topic_of(P256)}
    yield "message p256", vector("accept", "by keys of a chip", make(P256["sensor"], P256), b"21.5", **other)
    last = make(sequence=2**64 - 1)
    yield "message last", vector("accept", "the last number of a session", last, b"21.5")
    yield "message moved", vector("refuse", "delivered as of another topic", good, topic=below)
    yield "message cut", vector("refuse", "the last byte is missing", good[:-1])
    yield "message trailing", vector("refuse", "a byte too many", good + b"\0")
    yield (
        "message flipped",
        vector("refuse", "another bit in the body", good[:-17] + bytes([good[-17] ^ 1]) + good[-16:]),
    )
    yield "message renumbered", vector("refuse", "another sequence", good[:53] + b"\4" + good[54:])
    yield "message format", vector("refuse", "there is no format 2", make(version=2))
    stolen = make(DOMAIN["bob"], key_of=sensor.principal.digest)
    yield "message stolen", vector("refuse", "bob signs what the sensor sealed", stolen)
    yield "message of a reader", vector("refuse", "its chain gives EXECUTE alone", make(READER))
    yield "message expired", vector("refuse", "its chain ended a second ago", make(SHORT))
    yield (
        "message with another s chain",
        vector("refuse", "bob shows the sensor's", make(DOMAIN["bob"], chain=sensor.chains[0])),
    )


def bundle_vectors() -> Iterator[tuple[str, Vector]]:
    everyone = sorted((DOMAIN["sensor"], DOMAIN["bob"]), key=lambda who: who.principal.digest)
    members = [(who.principal.digest, kept_seal(who)) for who in everyone]
    named = slow.key_id(topic_of(), EPOCH, KEY)
    terms = [topic_of(), EPOCH, named, NOW, NOW + 86_400, members]

    def vector(expect: str, comment: str, data: bytes, **more: Any) -> Vector:
        head = {"kind": "bundle", "comment": comment, "expect": expect, "topic": topic_of(), "now": NOW}
        return {**head, "member": "sensor", **more, "bytes": data.hex(), "group_key": KEY.hex(), "epoch": EPOCH}

    def bundle(*changed: Any, keeper: Identity = DOMAIN["keeper"], chain: Chain | None = None) -> bytes:
        merged = [new if new is not None else old for old, new in zip(terms, changed or [None] * 6, strict=True)]
        data: bytes = slow.bundle(keeper, slow.bundle_terms(*merged), chain)
        return data

    good = bundle()
    yield "bundle", vector("accept", "for two members", good)
    yield "bundle root", vector("accept", "by the root", bundle(keeper=DOMAIN.root, chain=Chain()))
    yield "bundle no member", vector("refuse", "not for who asks", good, member="keeper")
    yield "bundle ended", vector("refuse", "a second after its end", good, now=NOW + 86_401)
    yield "bundle early", vector("refuse", "301 s before its begin", good, now=NOW - 301)
    yield "bundle other topic", vector("refuse", "of the topic above", good, topic=topic_of().rpartition("/")[0])
    yield "bundle cut", vector("refuse", "the last byte is missing", good[:-1])
    yield "bundle trailing", vector("refuse", "a byte too many", good + b"\0")
    yield "bundle longer", vector("refuse", "its end was moved", good.replace(_end(NOW + 86_400), _end(NOW + 90_000)))
    swapped = bundle(None, None, None, None, None, members[::-1])
    yield "bundle swapped", vector("refuse", "members do not ascend", swapped)
    twice = bundle(None, None, None, None, None, [members[0], members[0]])
    yield "bundle twice", vector("refuse", "a member is there twice", twice)
    yield (
        "bundle other key",
        vector("refuse", "the key is not the named one", bundle(None, None, bytes(32), *[None] * 3)),
    )
    yield "bundle epoch", vector("refuse", "the seals are of epoch 7", bundle(None, 8, *[None] * 4))
    yield "bundle strict", vector("refuse", "its maker may not delegate", bundle(keeper=STRICT))
    yield "bundle reader", vector("refuse", "its maker may not WRITE", bundle(keeper=READER))


def _end(seconds: int) -> bytes:
    return seconds.to_bytes(8, "little")


def kept_seal(who: Identity) -> bytes:
    """The group key, sealed for a member: as in the vector on disk, while that opens."""
    file, block = place("bundle"), slow.topic_id(topic_of())[:16]
    known: list[bytes] = []
    if file.exists():
        data = bytes.fromhex(json.loads(file.read_text(encoding="utf-8"))["bytes"])
        lengths = b"\xfd" + (304).to_bytes(2, "little")
        start = data.find(2 * lengths) + 6  # garbage, if they are not there, opens as little
        known = [data[at : at + 304] for at in (start, start + 304)]
    for sealed in known:
        readcap = Readcap(subject=who.principal, block=block, key_epoch=EPOCH, sealed=sealed)
        try:
            if open_readcap(who.opener, readcap).key == KEY:
                return sealed
        except BlocktreeError:
            continue
    return seal_readcap(who.public, block=block, key_epoch=EPOCH, key=KEY, path=topic_of()).sealed


def place(name: str) -> Path:
    return FOLDER / (re.sub(r"[^a-z0-9]+", "-", name) + ".json")


def files() -> dict[Path, str]:
    """What should be on disk."""
    made = {**dict(message_vectors()), **dict(bundle_vectors())}
    return {place(name): json.dumps(vector, indent=1) + "\n" for name, vector in made.items()}


def main(check: bool) -> int:
    """Write or compare; the exit status."""
    expected, present = files(), set(FOLDER.glob("*"))
    if check:
        wrong = sorted(present ^ set(expected))
        wrong += [path for path in expected if path in present and path.read_text(encoding="utf-8") != expected[path]]
        for path in wrong:
            print(f"{path} is not what this program makes", file=sys.stderr)
        return 1 if wrong else 0
    FOLDER.mkdir(exist_ok=True)
    for path in present - set(expected):
        path.unlink()
    for path, text in expected.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
