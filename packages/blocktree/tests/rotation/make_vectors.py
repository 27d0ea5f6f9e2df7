"""Makes the test vectors of `docs/spec/rotation.md`, section 3, one scenario a file.

    python packages/blocktree/tests/rotation/make_vectors.py            write vectors/*.json beside this file
    python packages/blocktree/tests/rotation/make_vectors.py --check    compare instead, and fail on any difference

Files are put together here from the specification's table, not by the code under test; only the request to join in
them is `blocktree.enrolment`'s.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from blocktree.enrolment import make_request
from btlib import BlockPath, Chain, KeyPair, Label, Principal, PublicKeys, Readcap, Rights, Suite, issue_writecap
from btlib.testing.vectors import write_or_check
from btserde import encode

HERE = Path(__file__).resolve().parent
NOW, DAY = 1_800_000_000, 86_400
TITLE = "blocktree rotation request 1"

Vector = dict[str, Any]


def keys(number: int) -> KeyPair:
    return KeyPair.from_seed(Suite.ED25519_X25519, bytes([number]) * 32)


ROOT, OLD, NEW, OTHER = keys(1), keys(2), keys(3), keys(4)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    root: Principal = ROOT.public.principal
    old: PublicKeys = OLD.public
    request: str
    chains: tuple[Chain, ...] = ()
    readcaps: tuple[Readcap, ...] = ()


def full() -> Terms:
    chain = issue_writecap(
        ROOT,
        Chain(),
        subject=OLD.public.principal,
        path=BlockPath(ROOT.public.principal, ("hosts", "laptop")),
        scope=b"root scope......",
        rights=Rights.EXECUTE,
        not_before=NOW,
        not_after=NOW + DAY,
        may_delegate=False,
        serial=b"serial..........",
    )
    readcap = Readcap(subject=NEW.public.principal, block=b"root directory..", key_epoch=3, sealed=b"any bytes do here")
    return Terms(request=joining(NEW), chains=(chain,), readcaps=(readcap,))


def joining(new: KeyPair) -> str:
    return make_request(new, "laptop", NOW)


def rotation(terms: Terms, signer: KeyPair = OLD, label: Label = Label.ROTATION, more: bytes = b"") -> str:
    """A file: its title, and lines of 76 characters of base64."""
    encoded = encode(terms)
    body = base64.b64encode(encoded + encode(signer.sign(label, encoded)) + more).decode()
    return "\n".join([TITLE, *(body[start : start + 76] for start in range(0, len(body), 76))]) + "\n"


def vectors() -> Iterator[tuple[str, Vector]]:
    plain = Terms(request=joining(NEW))
    good = rotation(full())
    yield "plain", vector("nothing to hand over", rotation(plain))
    yield "full", vector("a chain and a readcap", good, chains=1, readcaps=1)
    moved = encode(msgspec.structs.replace(plain, root=ROOT.public.principal, old=OTHER.public))
    signature = encode(OLD.sign(Label.ROTATION, encode(plain)))
    exchanged = "\n".join([TITLE, base64.b64encode(moved + signature).decode()]) + "\n"
    tampered = joining(NEW).replace("blocktree enroll request 1\n", "blocktree enroll response 1\n")
    refused = [
        ("root", "is for the domain of", rotation(msgspec.structs.replace(plain, root=OTHER.public.principal))),
        ("forged", "signature is not by", rotation(plain, OTHER)),
        ("by-the-new-keys", "signature is not by", rotation(plain, NEW)),
        ("other-label", "signature is not by", rotation(plain, OLD, Label.ENROLL_REQUEST)),
        ("exchanged-old-keys", "signature is not by", exchanged),
        ("same-keys", "names the old keys as the new ones", rotation(Terms(request=joining(OLD)))),
        ("no-request", "is no 'blocktree enroll request 1' file", rotation(Terms(request=tampered))),
        ("request-of-another", "signature is not by", rotation(Terms(request=stolen()))),
        ("trailing", "damaged", rotation(plain, more=b"\0")),
        ("title", "is no 'blocktree rotation request 1' file", good.replace("rotation", "enroll", 1)),
        ("no-base64", "damaged", good.replace("\n", "\n*", 1)),
    ]
    for name, words, text in refused:
        yield name, vector(name.replace("-", " "), text, expect=words)


def stolen() -> str:
    """A request to join that names new keys and is signed by others."""
    title, _, body = joining(NEW).partition("\n")
    whole = base64.b64decode("".join(body.split()))
    theirs = base64.b64decode("".join(joining(OTHER).partition("\n")[2].split()))
    size = len(encode(b"x" * 64))
    return f"{title}\n{base64.b64encode(whole[:-size] + theirs[-size:]).decode()}\n"


def vector(comment: str, text: str, *, expect: str = "accept", chains: int = 0, readcaps: int = 0) -> Vector:
    return {
        "comment": comment,
        "expect": expect,
        "root": str(ROOT.public.principal),
        "old": str(OLD.public.principal),
        "new": str(NEW.public.principal),
        "chains": chains,
        "readcaps": readcaps,
        "text": text,
    }


def contents() -> dict[Path, str]:
    return {HERE / "vectors" / f"{name}.json": json.dumps(made, indent=1) + "\n" for name, made in vectors()}


if __name__ == "__main__":
    sys.exit(write_or_check(HERE / "vectors", contents(), sys.argv[1:]))
