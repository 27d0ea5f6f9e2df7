"""Makes the test vectors of `docs/spec/endpoints.md`, one scenario a file.

python packages/btfproto/tests/endpoints/make_vectors.py            write vectors/*.json beside this file
python packages/btfproto/tests/endpoints/make_vectors.py --check    compare instead, and fail on any difference
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from btfproto.endpoints import EndpointRecord, SignedRecord, endpoints_block, read_record, sign_record
from btfproto.endpoints.discovery import service_name
from btfproto.testing.domains import DAY, NOW, World, person
from btlib.identity import Identity
from btlib.labels import Label
from btlib.paths import BlockPath
from btlib.testing.vectors import write_or_check
from btlib.writecaps import SERVE, Rights
from btserde import encode

HERE = Path(__file__).resolve().parent

Vector = dict[str, Any]

WORLD = World.make()
SERVER = WORLD.path("hosts", "nas", "btfsd")
ENDPOINTS = ("nas.example:7464", "[2001:db8::1]:7464")


def good(path: BlockPath = SERVER, now: int = NOW, endpoints: tuple[str, ...] = ENDPOINTS) -> SignedRecord:
    return sign_record(WORLD.machine, path=path, server=SERVER, endpoints=endpoints, now=now, lifetime=7 * DAY)


def signed(record: EndpointRecord) -> SignedRecord:
    """Signed by the machine, whatever it says."""
    body = encode(record)
    signature = WORLD.machine.signer.sign(Label.ENDPOINT, body)
    return msgspec.structs.replace(good(), record=body, signature=signature)


def other(**changes: object) -> SignedRecord:
    return signed(msgspec.structs.replace(read_record(good()), **changes))


def member(*names: str, rights: Rights = SERVE) -> Identity:
    someone = person(9)
    return someone.with_chains(WORLD.chain(someone, *names, rights=rights))


def by(identity: Identity) -> SignedRecord:
    body = good().record
    return SignedRecord(
        record=body,
        signer=identity.public,
        chain=identity.chains[0],
        signature=identity.signer.sign(Label.ENDPOINT, body),
    )


def vector(
    comment: str,
    claim: SignedRecord,
    expect: str = "accept",
    *,
    path: BlockPath = SERVER,
    now: int = NOW,
    newest: SignedRecord | None = None,
) -> Vector:
    return {
        "comment": comment,
        "expect": expect,
        "root": str(WORLD.root.principal),
        "path": str(path),
        "block": endpoints_block(path).hex(),
        "now": now,
        "newest": None if newest is None else encode(newest).hex(),
        "bytes": encode(claim).hex(),
    }


def vectors() -> Iterator[tuple[str, Vector]]:
    flipped = bytearray(good().signature)
    flipped[0] ^= 1
    yield "good", vector("a server's record for its own path", good())
    yield "root", vector("the same server for the whole domain", good(WORLD.path()), path=WORLD.path())
    yield "last-second", vector("it holds until its last second", good(), now=NOW + 7 * DAY)
    yield "newer", vector("it follows from one seen before", good(now=NOW + 1), now=NOW + 1, newest=good())
    yield "expired", vector("a second after its end", good(), "expired", now=NOW + 7 * DAY + 1)
    yield "future", vector("made 86701 s from now", good(now=NOW + 86_701), "made 86701 s from now")
    yield (
        "rolled-back",
        vector("older than one seen before", good(), "older than one seen before", newest=good(now=NOW + 1)),
    )
    yield (
        "two-of-one-moment",
        vector("another one of the same moment", good(endpoints=("b:1",)), "of the same moment", newest=good()),
    )
    yield "another-path", vector("it stands at another path", good(), "stands at", path=WORLD.path())
    yield (
        "flipped",
        vector(
            "one bit of the signature", msgspec.structs.replace(good(), signature=bytes(flipped)), "is not signed by"
        ),
    )
    yield (
        "stranger",
        vector(
            "signed by somebody with the machine's chain",
            msgspec.structs.replace(by(member()), chain=good().chain),
            "may not serve",
        ),
    )
    yield (
        "write-only",
        vector("the signer may write there, and not execute", by(member(rights=Rights.WRITE)), "may not serve"),
    )
    yield (
        "elsewhere",
        vector("the signer may serve at another path", by(member("hosts", "b")), "may not serve"),
    )
    yield (
        "execute-only",
        vector("the signer may send there, and not write", by(member("hosts", rights=Rights.EXECUTE)), "may not serve"),
    )
    yield "no-endpoint", vector("no endpoints", other(endpoints=()), "0 endpoints")
    yield "twice", vector("an endpoint twice", other(endpoints=("a:1", "a:1")), "twice")
    yield (
        "wildcard",
        vector("an address at which one only listens", other(endpoints=("0.0.0.0:1",)), "where one listens"),
    )
    yield "unix", vector("a socket of one machine", other(endpoints=("unix:/run/x",)), "socket of one machine")
    yield "spelling", vector("a port with a zero in front", other(endpoints=("a:080",)), "not written as")
    yield "too-long", vector("it lasts more than 30 days", other(expires=NOW + 31 * DAY), "it lasts")
    yield "ends-before", vector("it ends before it begins", other(expires=NOW - 1), "it lasts")
    yield "format", vector("another format", other(format=2), "format 2")
    yield (
        "trailing",
        vector("a byte behind the record", msgspec.structs.replace(good(), record=good().record + b"\0"), "malformed"),
    )
    yield (
        "service-name",
        {
            "comment": "what the root's servers are called in multicast DNS",
            "expect": "accept",
            "root": str(WORLD.root.principal),
            "name": service_name(WORLD.root.principal),
        },
    )


def contents() -> dict[Path, str]:
    return {HERE / "vectors" / f"{name}.json": json.dumps(made, indent=1) + "\n" for name, made in vectors()}


if __name__ == "__main__":
    sys.exit(write_or_check(HERE / "vectors", contents(), sys.argv[1:]))
