"""Keys and capabilities, for each suite: signing, verifying chains of three links, opening readcaps, groups.

The peer is the primitives alone: the suite's own code over `cryptography`, given the same bytes and loaded keys. Above
them are encoding, narrowing, scopes, time, and the sentence of the decision. The peer of a readcap through a group is
the same readcap, sealed to the member itself.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from btlib import (
    BlockPath,
    Chain,
    KeyPair,
    Label,
    Rights,
    Suite,
    issue_writecap,
    open_readcap,
    seal_readcap,
    verify_chain,
)
from btlib.groups import Membership, NewMember, create_membership, open_as_manager, open_as_member, with_members
from btlib.public_keys import suite_code
from btlib.testing import make_keys, serial_of
from btlib.verification import VerifiedLinks
from btserde import decode, encode

from tests.bench.harness import Measurement, Result, compare, timed

NAME = "keys"

NAMES_OF_HOLDERS = ("root", "alice", "laptop", "btfsd")
END = 2**40
NOON = 1_000_000
MEMBERS = 100  #: of a group


def run(rounds: int) -> list[Result]:
    results: list[Result] = []
    for suite in Suite:
        results += [
            *_signing(suite, rounds),
            *_chains(suite, rounds),
            *_readcaps(suite, rounds),
            *_groups(suite, rounds),
        ]
    return results


def _rate(operation: Callable[..., object], *arguments: object) -> Measurement:
    """Calls a second."""
    seconds = timed(operation, *arguments, scale=1.0)
    return lambda: 1 / seconds()


def _compare(suite: Suite, what: str, ours: Measurement, bare: Measurement, rounds: int) -> list[Result]:
    return compare(f"{suite.text}: {what}", "/s", ours, {"primitives": bare}, rounds, better="higher")


def _signing(suite: Suite, rounds: int) -> list[Result]:
    keys = make_keys("alice", suite)
    bare = keys._private.sign
    return _compare(suite, "sign", _rate(keys.sign, Label.COMMIT, b"m" * 36), _rate(bare, b"m" * 56), rounds)


def _chain(suite: Suite) -> Chain:
    """root → alice → laptop → btfsd, as an enrolled machine's daemon shows it."""
    chain = Chain()
    path = BlockPath(make_keys("root", suite).public.principal)
    for issuer, subject in pairwise(NAMES_OF_HOLDERS):
        chain = issue_writecap(
            make_keys(issuer, suite),
            chain,
            subject=make_keys(subject, suite).public.principal,
            path=path,
            scope=bytes(16),
            rights=Rights.WRITE | Rights.EXECUTE,
            not_before=0,
            not_after=END,
            may_delegate=True,
            serial=serial_of(subject),
        )
        path = path.child(subject)
    return chain


def _chains(suite: Suite, rounds: int) -> list[Result]:
    chain = _chain(suite)
    encoded = encode(chain)
    last = chain.caps[-1]
    question = {
        "root": make_keys("root", suite).public.principal,
        "subject": last.subject,
        "right": Rights.WRITE,
        "now": NOON,
        "path": last.block_path.child("fs"),
        "lineage": [bytes(16)],
    }
    signed = [
        (cap.issuer.signing, Label.WRITECAP.value + chain.ids[number] + cap.terms, cap.signature)
        for number, cap in enumerate(chain.caps)
    ]
    check = suite_code(suite).verify

    def bare() -> None:
        for signing, message, signature in signed:
            check(signing, message, signature)

    def verify() -> None:
        verify_chain(chain, **question).require()  # type: ignore[arg-type]

    def decode_and_verify() -> None:
        verify_chain(Chain.decode(encoded), **question).require()  # type: ignore[arg-type]

    known = VerifiedLinks()

    def verify_again() -> None:
        verify_chain(chain, **question, verified=known).require()  # type: ignore[arg-type]

    return [
        *_compare(suite, "chain of three", _rate(verify), _rate(bare), rounds),
        *_compare(suite, "chain of three, decoded", _rate(decode_and_verify), _rate(bare), rounds),
        *_compare(suite, "chain of three, seen before", _rate(verify_again), _rate(bare), rounds),
    ]


def _readcaps(suite: Suite, rounds: int) -> list[Result]:
    keys = make_keys("alice", suite)
    path = BlockPath(keys.public.principal, ("photos", "2026"))
    readcap = seal_readcap(keys.public, block=bytes(16), key_epoch=1, key=bytes(32), path=path)
    info = Label.READCAP.value + keys.public.principal.digest + bytes(16) + (1).to_bytes(4, "little")

    def seal() -> None:
        seal_readcap(keys.public, block=bytes(16), key_epoch=1, key=bytes(32), path=path)

    bare_open = _rate(keys._private.open, info, readcap.sealed)
    bare_seal = _rate(suite_code(suite).seal, keys.public.sealing, info, bytes(256))
    return [
        *_compare(suite, "readcap, open", _rate(open_readcap, keys, readcap), bare_open, rounds),
        *_compare(suite, "readcap, seal", _rate(seal), bare_seal, rounds),
    ]


def _membership(suite: Suite) -> Membership:
    """A group with its hundred members, each with keys of its own."""
    boss, seed = make_keys("boss", suite), bytes(32)
    empty = create_membership(KeyPair.from_seed(suite, seed), seed, "family", bytes(16), [boss.public])
    members = [
        NewMember(keys=make_keys(f"member {number}", suite).public, since=0, until=END, by=boss.public.principal)
        for number in range(MEMBERS)
    ]
    return with_members(open_as_manager(boss, empty), members)


def _groups(suite: Suite, rounds: int) -> list[Result]:
    membership = _membership(suite)
    encoded, terms = encode(membership), membership.terms
    message = Label.MEMBERSHIP.value + terms.encoded

    def verify() -> None:
        decode(encoded, Membership).check()

    bare = _rate(suite_code(suite).verify, terms.keys.signing, message, membership.signature)
    member = make_keys("member 50", suite)
    path = BlockPath(member.public.principal, ("photos", "2026"))
    ours, direct = (
        seal_readcap(keys, block=bytes(16), key_epoch=1, key=bytes(32), path=path)
        for keys in (terms.keys, member.public)
    )
    joined = open_as_member(member, membership).openers[0]

    def enter_and_open() -> None:
        open_readcap(open_as_member(member, membership).openers[0], ours)

    alone = {"direct": _rate(open_readcap, member, direct)}
    known, first = _rate(open_readcap, joined, ours), _rate(enter_and_open)
    return [
        *_compare(suite, f"membership of {MEMBERS}, decoded", _rate(verify), bare, rounds),
        *compare(f"{suite.text}: readcap of a group, open", "/s", known, alone, rounds, better="higher"),
        *compare(f"{suite.text}: group and readcap, open", "/s", first, alone, rounds, better="higher"),
    ]
