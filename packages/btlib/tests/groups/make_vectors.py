"""Makes the test vectors of `docs/spec/groups.md`, one scenario a file.

    python packages/btlib/tests/groups/make_vectors.py            write those of tests/vectors/groups/ that are missing
    python packages/btlib/tests/groups/make_vectors.py --check    fail if one is missing

Keys come from fixed seeds; seals are random, so what is there is kept. `test_groups` shows that it holds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from btlib import KeyPair, Label, Suite
from btlib.groups import Membership, NewMember, create_membership, open_as_manager, with_members, without
from btlib.testing import make_keys
from btserde import encode

DIRECTORY = Path(__file__).resolve().parents[1] / "vectors" / "groups"
GROUP, SEED, NEXT = b"the group's id..", bytes(range(32)), bytes(range(32, 64))
NOW, DAY = 1_800_000_000, 86_400

Vector = dict[str, Any]


def group(suite: Suite) -> tuple[Membership, Membership, Membership]:
    """A group without members, with alice and bob, and after bob was removed."""
    boss = make_keys("boss", suite)
    first = create_membership(KeyPair.from_seed(suite, SEED), SEED, "family", GROUP, [boss.public])
    added = [
        NewMember(keys=make_keys(who, suite).public, since=NOW, until=NOW + DAY, by=boss.public.principal)
        for who in ("alice", "bob")
    ]
    both = with_members(open_as_manager(boss, first), added)
    gone = {make_keys("bob", suite).public.principal}
    return first, both, without(open_as_manager(boss, both), gone, NEXT, NOW + 1, boss.public.principal)


def vectors() -> Iterator[tuple[str, Vector]]:
    for suite in Suite:
        for state, membership in zip(("created", "members", "rotated"), group(suite), strict=True):
            yield f"{state}-{suite.text}", vector(f"a group, {state}", membership, suite=suite.text)
    _, both, rotated = group(Suite.ED25519_X25519)
    terms, own = both.terms, KeyPair.from_seed(Suite.ED25519_X25519, SEED)
    longer = msgspec.structs.replace(terms, version=terms.version + 1)
    yield "forged", refused("the membership signature is not by", msgspec.structs.replace(both, terms=longer))
    other = own.sign(Label.WRITECAP, terms.encoded)
    yield "other-label", refused("the membership signature is not by", msgspec.structs.replace(both, signature=other))
    stolen = msgspec.structs.replace(rotated, succession=own.sign(Label.MEMBERSHIP, GROUP))
    yield "succession", refused("the group_succession signature is not by", stolen)
    encoded = encode(both)
    yield "trailing", {"comment": "bytes after the record", "expect": "refuse", "membership": (encoded + b"\0").hex()}
    yield "truncated", {"comment": "a byte is missing", "expect": "refuse", "membership": encoded[:-1].hex()}


def vector(comment: str, membership: Membership, *, suite: str) -> Vector:
    return {"comment": comment, "expect": "accept", "suite": suite, "membership": encode(membership).hex()}


def refused(reason: str, membership: Membership) -> Vector:
    return {"comment": reason, "expect": "refuse", "membership": encode(membership).hex()}


def main() -> int:
    missing = [(name, made) for name, made in vectors() if not (DIRECTORY / f"{name}.json").exists()]
    if "--check" in sys.argv:
        print("\n".join(f"{name} is missing" for name, _ in missing), file=sys.stderr)
        return bool(missing)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, made in missing:
        (DIRECTORY / f"{name}.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
