"""Attacks on forms: second encodings, second signatures, foreign labels, impossible names, lengths that lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from btserde import encode

from .._ed25519 import SIGNATURE_SIZE
from .._p256 import ORDER as P256_ORDER
from ..labels import Label
from ..paths import BlockPath
from ..public_keys import Suite
from ..readcaps import seal_readcap
from ..writecaps import MAX_CAPS, Chain
from ._attack import Judge, attack, refuse
from ._attacks_chains import CAROL, GOOD, QUESTION, ROOT
from ._identities import make_keys

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
MESSAGE = b"message"
_LENGTHS = (b"\xff", b"\xfe\xff\xff\xff\xff", b"\xfe\0\0\0\x80", b"\xfd\xff\xff", b"\xfc")


@attack("cross-protocol-signature", "a signature made for one purpose counts for another: every pair of labels")
def cross_protocol(judge: Judge) -> None:
    keys = make_keys("alice")
    public = encode(keys.public)
    for made in Label:
        signature = keys.sign(made, MESSAGE)
        judge.verify(public, made, MESSAGE, signature)
        for other in set(Label) - {made}:
            refuse(_verifying(judge, public, other, MESSAGE, signature), f"{made.name} as {other.name}")
            shifted = made.value + MESSAGE
            refuse(_verifying(judge, public, other, shifted, signature), f"{made.name} as {other.name}")


@attack("malleable-signature", "a second signature is made of one without its keys")
def malleable(judge: Judge) -> None:
    for suite in Suite:
        keys = make_keys("alice", suite)
        public, signature = encode(keys.public), keys.sign(Label.COMMIT, MESSAGE)
        judge.verify(public, Label.COMMIT, MESSAGE, signature)
        for twin in (*_twins(suite, signature), signature + b"\0", signature[:-1], b""):
            refuse(_verifying(judge, public, Label.COMMIT, MESSAGE, twin), f"a second signature of {suite.text}")


def _twins(suite: Suite, signature: bytes) -> list[bytes]:
    if suite is Suite.P256:
        scalar = int.from_bytes(signature[-32:])
        return [signature[:-32] + (P256_ORDER - scalar).to_bytes(32)]
    sizes = (0, len(signature) - SIGNATURE_SIZE) if suite is Suite.HYBRID_PQ else (0,)
    twins = []
    for start in sizes:
        scalar = int.from_bytes(signature[start + 32 : start + 64], "little") + ED25519_ORDER
        if scalar < 2**256:
            twins.append(signature[: start + 32] + scalar.to_bytes(32, "little") + signature[start + 64 :])
    return twins


@attack("signature-of-another-message", "a signature is shown for a longer, shorter or other message, or other keys")
def other_message(judge: Judge) -> None:
    for suite in Suite:
        alice, eve = make_keys("alice", suite), make_keys("eve", suite)
        public, signature = encode(alice.public), alice.sign(Label.COMMIT, MESSAGE)
        judge.verify(public, Label.COMMIT, MESSAGE, signature)
        for message in (b"", MESSAGE[:-1], MESSAGE + b"\0", b"Message"):
            refuse(_verifying(judge, public, Label.COMMIT, message, signature), "another message")
        refuse(_verifying(judge, encode(eve.public), Label.COMMIT, MESSAGE, signature), "another's keys")


def _verifying(judge: Judge, public: bytes, label: Label, message: bytes, signature: bytes) -> Callable[[], object]:
    return partial(judge.verify, public, label, message, signature)


@attack("small-order-keys", "keys under which one signature fits nearly every message, or seals are no secret")
def small_order(judge: Judge) -> None:
    keys = make_keys("alice")
    good = encode(keys.public)
    judge.verify(good, Label.COMMIT, MESSAGE, keys.sign(Label.COMMIT, MESSAGE))
    forged = (1).to_bytes(32, "little") + bytes(32)
    for y in (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18, 2**255 + 1):
        bad = y.to_bytes(32, "little")
        for public in (good[:2] + bad + good[34:], good[:35] + bad):
            for signature in (forged, keys.sign(Label.COMMIT, MESSAGE)):
                refuse(_verifying(judge, public, Label.COMMIT, MESSAGE, signature), f"a key {y:#x}")


@attack("confused-suites", "keys of one suite are shown as those of another")
def confused(judge: Judge) -> None:
    for suite in Suite:
        keys = make_keys("alice", suite)
        public, signature = encode(keys.public), keys.sign(Label.COMMIT, MESSAGE)
        judge.verify(public, Label.COMMIT, MESSAGE, signature)
        for number in {0, 1, 2, 3, 4, 255} - {public[0]}:
            other = bytes((number,)) + public[1:]
            refuse(_verifying(judge, other, Label.COMMIT, MESSAGE, signature), f"{suite.text} as suite {number}")


@attack("second-encoding", "a chain or readcap in a second form: bytes behind it, longer forms of lengths, cut off")
def second_encoding(judge: Judge) -> None:
    chain = encode(GOOD)
    assert judge.allows(chain, QUESTION)
    for other in (chain + b"\0", chain[:-1], b"\xfd\x03\0" + chain[1:], b"\xfe\x03\0\0\0" + chain[1:], b""):
        refuse(partial(judge.allows, other, QUESTION), "a second form of a chain")
    readcap = encode(seal_readcap(CAROL.public, block=bytes(16), key_epoch=1, key=bytes(32), path=_root()))
    assert judge.open_readcap(CAROL, readcap) == bytes(32)
    for other in (readcap + b"\0", readcap[:-1], b""):
        refuse(partial(judge.open_readcap, CAROL, other), "a second form of a readcap")


@attack("flipped-bit", "any bit of a chain is flipped")
def flipped(judge: Judge) -> None:
    chain = encode(GOOD)
    assert judge.allows(chain, QUESTION)
    for place in range(len(chain)):
        other = chain[:place] + bytes((chain[place] ^ 1 << place % 8,)) + chain[place + 1 :]
        refuse(partial(judge.allows, other, QUESTION), f"a chain with byte {place} flipped")


@attack("lying-lengths", "lengths and counts that are negative, huge, or larger than what follows")
def lying_lengths(judge: Judge) -> None:
    chain = encode(GOOD)
    assert judge.allows(chain, QUESTION)
    for length in _LENGTHS:
        for place in (0, 2, 35, 100):
            other = chain[:place] + length + chain[place + 1 :]
            refuse(partial(judge.allows, other, QUESTION), "a length that lies")
    nine = bytes((MAX_CAPS + 1,)) + encode(Chain(GOOD.caps[:1] * MAX_CAPS))[1:] + encode(GOOD.caps[0])
    refuse(lambda: judge.allows(nine, QUESTION), "a chain that is too long")


@attack("path-traversal", "names that leave their directory, or that no file system takes")
def traversal(judge: Judge) -> None:
    root = str(_root())
    assert judge.path(f"{root}/a/b") == f"{root}/a/b"
    names = ["..", ".", "", "a/../b", "a//b", "a\0b", "x" * 256, "ä" * 128, "\ud800", "a/", "./a", "a/."]
    for text in [*(f"{root}/{name}" for name in names), "", "/", "..", root[1:], root.upper(), f"/{root}", root + "\n"]:
        refuse(partial(judge.path, text), f"the path {text[:100]!a}")
    refuse(lambda: judge.path(root + "/a" * 257), "a path of too many names")
    refuse(lambda: judge.path(root + ("/" + "x" * 255) * 17), "a path that is too long")


def _root() -> BlockPath:
    return BlockPath(ROOT.public.principal)
