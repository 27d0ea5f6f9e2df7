"""Makes the test vectors of domain.md, revocation.md and rotation.md (section 5) in `docs/spec`, one scenario a file.

python packages/btfproto/tests/domain/make_vectors.py            write vectors/*.json beside this file
python packages/btfproto/tests/domain/make_vectors.py --check    compare instead, and fail on any difference
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from btfproto.domain import (
    DomainReader,
    DomainRecord,
    Grants,
    ScopeRecord,
    domain_block,
    grants_block,
    public_content,
    renew_memberships,
    renewed_serial,
    revocations_block,
    scope_block,
)
from btfproto.testing.domains import NOW, World, person
from btlib import BlockPath, Chain, Identity, Principal, Readcap, Rights, issue_writecap
from btlib.revocations import NO_LIST, RevocationList, Revocations, Revoked
from btlib.testing.vectors import write_or_check
from btserde import encode

HERE = Path(__file__).resolve().parent

Vector = dict[str, Any]

ROOT, ALICE = person(1), person(2)
SCOPE, INNER, DIRECTORY, SERIAL = b"root scope......", b"inner scope.....", b"root directory..", b"serial.........."
CHAIN = issue_writecap(
    ROOT.signer,
    Chain(),
    subject=ALICE.principal,
    path=BlockPath(ROOT.principal),
    scope=SCOPE,
    rights=Rights.WRITE,
    not_before=NOW,
    not_after=NOW + 86_400,
    may_delegate=False,
    serial=SERIAL,
)
READCAP = Readcap(subject=ALICE.principal, block=DIRECTORY, key_epoch=0, sealed=b"sealed; any bytes do here")

OWNER, MEMBER, BOB = person(3), person(4), person(5)


def owner_chain(holder: Identity, *names: str, delegable: bool = True) -> Chain:
    return issue_writecap(
        ROOT.signer,
        Chain(),
        subject=holder.principal,
        path=BlockPath(ROOT.principal, names),
        scope=SCOPE,
        rights=Rights.WRITE,
        not_before=NOW,
        not_after=NOW + 86_400,
        may_delegate=delegable,
        serial=holder.principal.digest[:16],
    )


def vectors() -> Iterator[tuple[str, Vector]]:
    domain = DomainRecord(root=ROOT.public, directory=DIRECTORY, scope=SCOPE)
    yield "domain", record("the record of a domain", domain, domain_block(ROOT.principal))
    top = ScopeRecord(scope=SCOPE, parent=None, directory=DIRECTORY)
    yield "scope-root", record("the record of the root scope", top, scope_block(SCOPE))
    inner = ScopeRecord(scope=INNER, parent=SCOPE, directory=b"inner directory.")
    yield "scope-inner", record("the record of a scope in the root scope", inner, scope_block(INNER))
    nothing = Grants(principal=ALICE.principal)
    yield "grants-empty", record("grants of nothing", nothing, grants_block(SCOPE, ALICE.principal))
    grants = Grants(principal=ALICE.principal, readcaps=(READCAP,), chains=(CHAIN,))
    yield "grants", record("a readcap and a chain", grants, grants_block(SCOPE, ALICE.principal))
    yield "revoked-empty", record("a list of nothing", RevocationList(version=1), revocations_block(ROOT.principal))
    yield "revoked", record("a principal and a serial", two(), revocations_block(ROOT.principal))
    yield from lists()
    yield from renewals()
    for size in (0, 1, 16_384, 16_385, 40_000):
        yield f"content-{size}", content(size)


def entry(by: Identity = OWNER, since: int = NOW + 10) -> Revoked:
    return Revoked(since=since, recorded=NOW + 10, by=by.principal)


def two() -> RevocationList:
    return RevocationList(version=2, principals={ALICE.principal: entry()}, serials={SERIAL: entry(since=NOW)})


def lists() -> Iterator[tuple[str, Vector]]:
    """Lists as a reader meets them, perhaps after another one."""
    owner, alice = owner_chain(OWNER), ALICE.principal
    known = NO_LIST.extended({alice: entry()}, {})
    both = known.extended({BOB.principal: entry()}, {})
    yield "list-by-an-owner", a_list("an owner's first list", known, OWNER, owner)
    yield "list-by-the-root", a_list("the root's, after an owner's", both, ROOT, Chain(), seen=known)
    yield "list-same", a_list("the one seen before", known, OWNER, owner, seen=known)
    reject: list[tuple[str, str, RevocationList, Identity, Chain, dict[str, Any]]] = [
        ("by-a-writer-below", "is not below", known, MEMBER, owner_chain(MEMBER, "a"), {}),
        ("by-who-may-not-delegate", "cannot give", known, MEMBER, owner_chain(MEMBER, delegable=False), {}),
        ("by-a-stranger", "is not the root", known, MEMBER, Chain(), {}),
        ("by-whom-it-names", "it names", revoking(OWNER.principal), OWNER, owner, {}),
        ("names-the-root", "cannot be revoked", revoking(ROOT.principal), OWNER, owner, {}),
        ("version-of-the-header", "stands under version", known, OWNER, owner, {"version": 2}),
        ("in-another-scope", "root scope", known, OWNER, owner, {"scope": INNER}),
        ("after-its-chain", "expired on", known, OWNER, owner, {"written": NOW + 86_401}),
        ("rolled-back", "was seen before", known, OWNER, owner, {"seen": both}),
        ("two-of-one-version", "there are two", revoking(BOB.principal), OWNER, owner, {"seen": known}),
        ("takes-back", "takes back", RevocationList(version=2), OWNER, owner, {"seen": known}),
        ("takes-back-by-the-root", "takes back", RevocationList(version=2), ROOT, Chain(), {"seen": known}),
        ("postpones", "later", postponing(alice), OWNER, owner, {"seen": known}),
        ("of-an-earlier-time", "older than version", both, OWNER, owner, {"seen": known, "written": NOW + 9}),
    ]
    for name, words, fresh, writer, chain, changes in reject:
        yield f"list-{name}", a_list(name.replace("-", " "), fresh, writer, chain, expect=words, **changes)


def revoking(who: Principal) -> RevocationList:
    return NO_LIST.extended({who: entry()}, {})


def postponing(who: Principal) -> RevocationList:
    return RevocationList(version=2, principals={who: entry(since=NOW + 11)})


def a_list(
    comment: str,
    fresh: RevocationList,
    writer: Identity,
    chain: Chain,
    *,
    expect: str = "accept",
    version: int | None = None,
    scope: bytes = SCOPE,
    written: int = NOW + 10,
    seen: RevocationList | None = None,
) -> Vector:
    return {
        "kind": "list",
        "comment": comment,
        "expect": expect,
        "root": str(ROOT.principal),
        "root_scope": SCOPE.hex(),
        "writer": encode(writer.public).hex(),
        "chain": encode(chain).hex(),
        "header": {"version": fresh.version if version is None else version, "scope": scope.hex(), "written": written},
        "bytes": encode(fresh).hex(),
        "seen": None if seen is None else {"bytes": encode(seen).hex(), "written": NOW + 10},
    }


DAY = 86_400
ROOT_SCOPE = World.make().created.scope  #: of the domain in which is renewed; the same in every run


def membership(*names: str, days: int = 365, parent: Chain | None = None) -> Chain:
    """Bob's, from NOW on, from the root; or from an owner who holds `parent`."""
    return issue_writecap(
        (ROOT if parent is None else OWNER).signer,
        parent or Chain(),
        subject=BOB.principal,
        path=BlockPath(ROOT.principal, names or ("hosts", "laptop")),
        scope=ROOT_SCOPE,
        rights=Rights.WRITE | Rights.EXECUTE,
        not_before=NOW,
        not_after=NOW + days * DAY,
        may_delegate=True,
        serial=SERIAL,
    )


def renewals() -> Iterator[tuple[str, Vector]]:
    """What a server with a right of twenty years makes of a membership that is shown to it."""
    year, due = membership(), NOW + 365 * DAY - 365 * DAY // 3
    by_owner = membership(parent=server_chain(OWNER))
    once, twice = renewed_serial(SERIAL), renewed_serial(renewed_serial(SERIAL))
    told: list[tuple[str, Chain, int, dict[str, Any]]] = [
        ("in its last third", year, due, {}),
        ("in its last second", year, NOW + 365 * DAY, {}),
        ("after its end", year, NOW + 730 * DAY, {}),
        ("at the last moment", year, NOW + (365 + 730) * DAY, {}),
        ("longer than who renews", year, due, {"until": NOW + 400 * DAY}),
        ("for all hosts", membership("hosts"), due, {}),
        ("of just long enough", membership(days=180), NOW + 120 * DAY, {}),
        ("from an owner", by_owner, due, {}),
        ("before its last third", year, due - 1, {}),
        ("too long after its end", year, NOW + (365 + 730) * DAY + 1, {}),
        ("too short", membership(days=179), NOW + 178 * DAY, {}),
        ("no membership", membership("photos"), due, {}),
        ("below a machine", membership("hosts", "laptop", "secrets"), due, {}),
        ("of somebody else", year, due, {"subject": ALICE.principal}),
        ("by a right as short", year, due, {"until": NOW + 365 * DAY}),
        ("revoked", year, due, {"serials": {SERIAL: due}}),
        ("revoked after its end", year, NOW + 730 * DAY, {"serials": {SERIAL: NOW + 366 * DAY}}),
        ("to be revoked", year, due, {"serials": {SERIAL: due + 1}}),
        ("a revoked member", year, due, {"principals": {BOB.principal: NOW}}),
        ("from a revoked owner", by_owner, due, {"principals": {OWNER.principal: due}}),
        ("of which the next was revoked", year, due, {"serials": {once: due}}),
        ("of which the one after the next was revoked", year, due, {"serials": {twice: due}}),
    ]
    for comment, chain, now, changes in told:
        yield f"renewal-{comment.replace(' ', '-')}", renewal(comment, chain, now, **changes)


def server_chain(holder: Identity, until: int = NOW + 20 * 365 * DAY) -> Chain:
    return issue_writecap(
        ROOT.signer,
        Chain(),
        subject=holder.principal,
        path=BlockPath(ROOT.principal),
        scope=ROOT_SCOPE,
        rights=Rights.WRITE | Rights.EXECUTE,
        not_before=NOW,
        not_after=until,
        may_delegate=True,
        serial=holder.principal.digest[:16],
    )


@dataclass(frozen=True)
class Known:
    """What is known of revocations."""

    current: Revocations


def renewal(
    comment: str,
    chain: Chain,
    now: int,
    *,
    until: int = NOW + 20 * 365 * DAY,
    subject: Principal = BOB.principal,
    serials: dict[bytes, int] | None = None,
    principals: dict[Principal, int] | None = None,
) -> Vector:
    list_ = Revocations(version=1, serials=serials or {}, principals=principals or {})
    server = server_chain(MEMBER, until)
    world = World.make()
    made = renew_memberships(
        DomainReader(world.store, ROOT.principal, Known(list_)),
        MEMBER.with_chains(server),
        subject,
        [chain],
        now=now,
        random=world.random,
    )
    return {
        "kind": "renewal",
        "comment": comment,
        "expect": "accept" if made else "refuse",
        "root": str(ROOT.principal),
        "subject": str(subject),
        "server": encode(server).hex(),
        "chain": encode(chain).hex(),
        "now": now,
        "revoked_serials": {serial.hex(): since for serial, since in (serials or {}).items()},
        "revoked_principals": {str(who): since for who, since in (principals or {}).items()},
        "follows": encode(made[0]).hex() if made else None,
    }


def record(comment: str, value: msgspec.Struct, block: bytes) -> Vector:
    encoded = encode(value)
    made = public_content(encoded)
    return {
        "kind": "record",
        "type": type(value).__name__,
        "comment": comment,
        "expect": "accept",
        "block": block.hex(),
        "bytes": encoded.hex(),
        "root": made.root.hex(),
    }


def content(size: int) -> Vector:
    made = public_content(data(size))
    return {
        "kind": "content",
        "comment": f"the Merkle root of a public block of {size} bytes; byte i is i mod 251",
        "expect": "accept",
        "size": size,
        "sectors": made.sector_count,
        "records": [[run.level, run.first, len(run.records)] for run in made.runs],
        "root": made.root.hex(),
    }


def data(size: int) -> bytes:
    return bytes(index % 251 for index in range(size))


def contents() -> dict[Path, str]:
    return {HERE / "vectors" / f"{name}.json": json.dumps(made, indent=1) + "\n" for name, made in vectors()}


if __name__ == "__main__":
    sys.exit(write_or_check(HERE / "vectors", contents(), sys.argv[1:]))
