"""Makes the test vectors of `docs/spec/views.md`, one scenario a file.

    python packages/btfproto/tests/views/make_vectors.py            write vectors/*.json beside this file
    python packages/btfproto/tests/views/make_vectors.py --check    compare instead, and fail on any difference

Views are put together here from the tables of the specification, not by the code under test.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from btfproto.testing.domains import DAY, NOW, person
from btlib import BlockPath, Chain, Identity, Label, Principal, PublicKeys, Rights, issue_writecap
from btlib.testing.vectors import write_or_check
from btserde import I64, U8, U64, Fixed, encode

HERE = Path(__file__).resolve().parent
LABEL = b"blocktree/1 view\0"
ROOT, AUTHOR, OTHER = person(1), person(2), person(3)
SCOPE = b"root scope......"

Vector = dict[str, Any]


class Head(msgspec.Struct, frozen=True):
    version: U64
    removed: bool
    digest: Annotated[bytes, Fixed[32]]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    format: U8 = 1
    root: Principal = ROOT.principal
    author: PublicKeys = AUTHOR.public
    chain: Chain
    taken: I64 = NOW
    list_version: U64 = 2
    list_digest: Annotated[bytes, Fixed[32]] = bytes([7]) * 32
    heads: dict[Annotated[bytes, Fixed[16]], Head]


def chain(holder: Identity = AUTHOR, end: int = NOW + DAY) -> Chain:
    return issue_writecap(
        ROOT.signer,
        Chain(),
        subject=holder.principal,
        path=BlockPath(ROOT.principal),
        scope=SCOPE,
        rights=Rights.WRITE,
        not_before=NOW - DAY,
        not_after=end,
        may_delegate=False,
        serial=b"serial..........",
    )


def head(number: int, version: int = 1, *, removed: bool = False) -> Head:
    """Of a header that reads `header N`."""
    return Head(version, removed, hashlib.sha256(LABEL + f"header {number}".encode()).digest())


def block(number: int) -> bytes:
    return bytes([number]) * 16


HEADS = {block(1): head(1), block(2): head(2, 5), block(3): head(3, 9, removed=True)}
TERMS = Terms(chain=chain(), heads=HEADS)


def view(terms: Terms = TERMS, signer: Identity = AUTHOR, label: Label = Label.VIEW) -> bytes:
    encoded = encode(terms)
    return encoded + encode(signer.signer.sign(label, encoded))


def vectors() -> Iterator[tuple[str, Vector]]:
    good = view()
    yield "view", read("three blocks, one of them removed", good)
    yield "view-empty", read("no blocks, no list", view(changed(heads={}, list_version=0, list_digest=bytes(32))))
    ended, stranger = chain(end=NOW - 1), chain(OTHER)
    refused: list[tuple[str, str, bytes]] = [
        ("format", "newer version", view(changed(format=2))),
        ("root", "domain of", view(changed(root=OTHER.principal))),
        ("forged", "signature is not by", view(signer=OTHER)),
        ("other-label", "signature is not by", view(label=Label.WRITECAP)),
        ("changed", "signature is not by", encode(changed(taken=NOW + 1)) + good[len(encode(TERMS)) :]),
        ("expired", "not a member's", view(changed(chain=ended))),
        ("chain-of-another", "not a member's", view(changed(chain=stranger))),
        ("no-chain", "not a member's", view(changed(chain=Chain()))),
        ("trailing", "no view", good + b"\0"),
        ("truncated", "no view", good[:-1]),
    ]
    for name, words, data in refused:
        yield f"view-{name}", read(name.replace("-", " "), data, expect=words)
    revoked = read("its author was revoked", good, expect="not a member's")
    yield "view-revoked", revoked | {"revoked": str(AUTHOR.principal)}
    yield from comparisons()


def changed(**fields: Any) -> Terms:
    return msgspec.structs.replace(TERMS, **fields)


def read(comment: str, data: bytes, *, expect: str = "accept") -> Vector:
    return {
        "kind": "view",
        "comment": comment,
        "expect": expect,
        "root": str(ROOT.principal),
        "now": NOW,
        "revoked": None,
        "bytes": data.hex(),
    }


def comparisons() -> Iterator[tuple[str, Vector]]:
    newer = HEADS | {block(1): head(11, 2), block(4): head(4)}
    yield "compare-same", compared("the same", HEADS)
    yield "compare-newer", compared("one was written since, one is new", newer)
    yield "compare-forked", compared("two headers of one version", HEADS | {block(2): head(22, 5)}, forked=[2])
    yield "compare-removed", compared("removed there, not here", HEADS | {block(3): head(3, 9)}, forked=[3])
    yield "compare-behind", compared("an older version", HEADS | {block(2): head(2, 4)}, behind=[2])
    yield "compare-gone", compared("one is not shown here", {block(2): HEADS[block(2)]}, gone=2)
    yield "compare-list-withheld", compared("an older list", HEADS, here_list=(1, 7), fault="withheld")
    yield "compare-two-lists", compared("another list", HEADS, here_list=(2, 8), fault="two revocation lists")
    yield "compare-list-newer", compared("a newer list", HEADS, here_list=(3, 8))


def compared(
    comment: str,
    here: dict[bytes, Head],
    *,
    forked: list[int] | None = None,
    behind: list[int] | None = None,
    gone: int = 0,
    here_list: tuple[int, int] = (2, 7),
    fault: str | None = None,
) -> Vector:
    """What `view` and a store that shows `here` give."""
    version, digest = here_list
    return {
        "kind": "comparison",
        "comment": comment,
        "expect": "accept",
        "root": str(ROOT.principal),
        "now": NOW,
        "bytes": view().hex(),
        "here": {key.hex(): [one.version, one.removed, one.digest.hex()] for key, one in here.items()},
        "list": [version, (bytes([digest]) * 32).hex()],
        "forked": [block(number).hex() for number in forked or []],
        "behind": [block(number).hex() for number in behind or []],
        "gone": gone,
        "list_fault": fault,
    }


def contents() -> dict[Path, str]:
    return {HERE / "vectors" / f"{name}.json": json.dumps(made, indent=1) + "\n" for name, made in vectors()}


if __name__ == "__main__":
    sys.exit(write_or_check(HERE / "vectors", contents(), sys.argv[1:]))
