"""Makes the test vectors of `docs/spec/{principal,capabilities,recovery}.md`, one scenario a file.

    python packages/btlib/tests/make_vectors.py            write tests/vectors/{principal,capabilities,recovery}/*.json
    python packages/btlib/tests/make_vectors.py --check    compare instead, and fail on any difference

Everything is made from fixed seeds. Seals are made by the second implementation, whose ephemeral key can be chosen.
What the hybrid suite makes is random all the same, and so are shares; what is there and holds, by the second
implementation, is kept.
The chains are those of `test_verification`, so every reason to refuse is a vector too.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

import msgspec  # noqa: E402
from btlib import (  # noqa: E402
    BlockPath,
    BlocktreeError,
    Chain,
    KeyPair,
    Label,
    Principal,
    PublicKeys,
    Readcap,
    Rights,
    Suite,
    issue_writecap,
)
from btlib._bech32 import encode_bech32m  # noqa: E402
from btlib._p256 import ORDER as P256_ORDER  # noqa: E402
from btlib.credentials import Credentials, _format  # noqa: E402
from btlib.shares import split_seed  # noqa: E402
from btlib.testing import QUICK_COST, make_domain_identities, make_keys, serial_of  # noqa: E402
from btlib.words import seed_to_words  # noqa: E402
from btserde import encode  # noqa: E402
from cryptography.exceptions import InvalidSignature, InvalidTag  # noqa: E402

from packages.btlib.tests import (  # noqa: E402
    slow_curve,
    slow_hpke,
    slow_hybrid,
    slow_shares,
    test_hpke,
    test_verification,
)

Vector = dict[str, Any]

SEED = bytes(range(32))
EPHEMERAL = bytes(range(1, 33))
MESSAGE = b"message"


def principal_vectors() -> Iterator[tuple[str, Vector]]:
    for suite in Suite:
        yield f"keys {suite.text}", keys_vector(suite)
        yield from signature_vectors(suite)
        yield from seal_vectors(suite)
    yield from bad_key_sets()
    yield from texts()
    yield from credential_files()
    yield (
        "words",
        {"kind": "words", "comment": "a seed as recovery words", "expect": "accept", "seed": SEED.hex()}
        | {"words": " ".join(seed_to_words(SEED))},
    )


def keys_vector(suite: Suite) -> Vector:
    public = KeyPair.from_seed(suite, SEED).public
    return {
        "kind": "keys",
        "comment": "the public keys of a seed, their encoding and their principal",
        "expect": "accept",
        "suite": suite.text,
        "seed": SEED.hex(),
        "signing": public.signing.hex(),
        "sealing": public.sealing.hex(),
        "encoding": encode(public).hex(),
        "digest": public.principal.digest.hex(),
        "principal": str(public.principal),
    }


def kept(folder: str, name: str, field: str, holds: Callable[[bytes], bool], make: Callable[[], bytes]) -> bytes:
    """The value of a field as it stands in the vector, if it is there and holds; else a new one."""
    file = place(folder, name)
    if file.exists():
        found = bytes.fromhex(json.loads(file.read_text(encoding="utf-8"))[field])
        if holds(found):
            return found
    return make()


def hybrid_signature(keys: KeyPair, name: str) -> bytes:
    def holds(signature: bytes) -> bool:
        try:
            slow_hybrid.composite_verify(keys.public.signing, Label.COMMIT.value + MESSAGE, signature)
        except InvalidSignature:
            return False
        return True

    return kept("principal", name, "signature", holds, lambda: keys.sign(Label.COMMIT, MESSAGE))


def signature_vectors(suite: Suite) -> Iterator[tuple[str, Vector]]:
    keys = KeyPair.from_seed(suite, SEED)
    name = f"signature {suite.text}"
    hybrid = suite is Suite.HYBRID_PQ
    good = hybrid_signature(keys, name) if hybrid else keys.sign(Label.COMMIT, MESSAGE)

    def vector(signature: bytes, expect: str, comment: str, label: Label = Label.COMMIT) -> Vector:
        return {
            "kind": "signature",
            "comment": comment,
            "expect": expect,
            "public": encode(keys.public).hex(),
            "label": label.value.decode(),
            "message": MESSAGE.hex(),
            "signature": signature.hex(),
        }

    yield name, vector(good, "accept", f"made by these keys, {'one of many' if hybrid else 'deterministically'}")
    yield f"{name} other label", vector(good, "refuse", "made for another purpose", Label.WRITECAP)
    yield f"{name} flipped", vector(bytes([good[0] ^ 1, *good[1:]]), "refuse", "one bit changed")
    yield f"{name} twin", vector(twin(suite, good), "refuse", "the second form of the same signature")
    if hybrid:
        yield f"{name} without its classic half", vector(good[:3309], "refuse", "both halves are needed")
        yield f"{name} with a classic half of zeros", vector(good[:3309] + bytes(64), "refuse", "both must verify")
        yield f"{name} with a lattice half of zeros", vector(bytes(3309) + good[3309:], "refuse", "both must verify")
        yield f"{name} with its halves swapped", vector(good[3309:] + good[:3309], "refuse", "ML-DSA comes first")


def twin(suite: Suite, signature: bytes) -> bytes:
    """What a verifier that tolerates malleable signatures would accept."""
    rest, scalar = signature[:-32], signature[-32:]
    if suite is Suite.P256:
        return rest + (P256_ORDER - int.from_bytes(scalar)).to_bytes(32)
    return rest + (int.from_bytes(scalar, "little") + slow_curve.ORDER).to_bytes(32, "little")


def slow_seal(public: PublicKeys, label: Label, info: bytes, plain: bytes) -> bytes:
    full = label.value + info
    if public.suite is Suite.HYBRID_PQ:
        return slow_hybrid.SlowHybridHpke().seal(public.sealing, EPHEMERAL, full, b"", plain)
    if public.suite is Suite.P256:
        slow, key = slow_hpke.SlowHpke(slow_hpke.P256, slow_hpke.AES_256_GCM), slow_hpke.uncompressed(public.sealing)
    else:
        slow, key = slow_hpke.SlowHpke(slow_hpke.X25519, slow_hpke.AES_256_GCM), public.sealing
    return slow.seal(key, EPHEMERAL, full, b"", plain)


def opens(info: bytes, plain: bytes) -> Callable[[bytes], bool]:
    """Whether a seal for the hybrid keys of SEED opens to this, by the second implementation."""

    def holds(sealed: bytes) -> bool:
        private = test_hpke.private_sealing_key(Suite.HYBRID_PQ, SEED)
        try:
            return slow_hybrid.SlowHybridHpke().open(private, Label.READCAP.value + info, b"", sealed) == plain
        except (InvalidTag, ValueError):
            return False

    return holds


def seal_vectors(suite: Suite) -> Iterator[tuple[str, Vector]]:
    public = KeyPair.from_seed(suite, SEED).public
    name = f"seal {suite.text}"
    hybrid = suite is Suite.HYBRID_PQ

    def make() -> bytes:
        return slow_seal(public, Label.READCAP, b"info", MESSAGE)

    sealed = kept("principal", name, "sealed", opens(b"info", MESSAGE), make) if hybrid else make()

    def vector(expect: str, comment: str, sealed: bytes = sealed, info: bytes = b"info") -> Vector:
        return {
            "kind": "seal",
            "comment": comment,
            "expect": expect,
            "suite": suite.text,
            "seed": SEED.hex(),
            "label": Label.READCAP.value.decode(),
            "info": info.hex(),
            "sealed": sealed.hex(),
            "plaintext": MESSAGE.hex(),
        }

    how = "one of many seals" if hybrid else f"sealed with the ephemeral private key {EPHEMERAL.hex()}"
    yield name, vector("accept", how)
    yield f"{name} other info", vector("refuse", "opened under another info", info=b"other")
    yield f"{name} cut", vector("refuse", "the last byte is missing", sealed[:-1])


def bad_key_sets() -> Iterator[tuple[str, Vector]]:
    good = encode(KeyPair.from_seed(Suite.ED25519_X25519, SEED).public)
    p256 = encode(KeyPair.from_seed(Suite.P256, SEED).public)
    pq = encode(KeyPair.from_seed(Suite.HYBRID_PQ, SEED).public)
    small = (1).to_bytes(32, "little")
    field = slow_curve.FIELD
    cases = {
        "unknown suite": (b"\x07" + good[1:], "suite 7 does not exist"),
        "suites confused": (b"\x02" + good[1:], "32-byte keys under the number of p256"),
        "cut": (good[:-1], "the last byte is missing"),
        "trailing byte": (good + b"\0", "a byte follows"),
        "length in a longer form": (good[:1] + b"\xfd\x20\x00" + good[2:], "a length that is not in its shortest form"),
        "signing key of small order": (good[:2] + small + good[34:], "the neutral point verifies everything"),
        "signing key not canonical": (good[:2] + (field + 3).to_bytes(32, "little") + good[34:], "y is not below p"),
        "sealing key of low order": (good[:35] + bytes(32), "u = 0 gives everybody the same secret"),
        "sealing key not canonical": (good[:35] + (field + 9).to_bytes(32, "little"), "u is not below p"),
        "p256 key off the curve": (p256[:2] + b"\x02" + b"\xff" * 32 + p256[35:], "x is not below p"),
        "hybrid-pq key without its classic half": (
            b"\x03" + encode(pq[4:1956]) + pq[1988:],
            "1952 bytes of signing key",
        ),
        "hybrid-pq coefficient above the modulus": (
            pq[:1991] + b"\xff\xff" + pq[1993:],
            "second form of a coefficient",
        ),
        "hybrid-pq signing half of small order": (pq[:1956] + small + pq[1988:], "the classic half counts as well"),
        "p256 key with another prefix": (p256[:2] + b"\x04" + p256[3:], "only compressed points"),
    }
    for name, (encoding, comment) in cases.items():
        yield f"key set {name}", {"kind": "key set", "comment": comment, "expect": "refuse", "encoding": encoding.hex()}


def texts() -> Iterator[tuple[str, Vector]]:
    principal = KeyPair.from_seed(Suite.ED25519_X25519, SEED).public.principal
    text, root = str(principal), f"/{principal}"
    bad = {
        "typing error": (text[:-1] + ("q" if text[-1] != "q" else "p"), "one character is wrong"),
        "upper case": (text.upper(), "one principal has one text"),
        "older checksum": ("bt1qqqqqq", "not Bech32m"),
        "another prefix": (encode_bech32m("bc", principal.digest), "not ours"),
        "31 bytes": (encode_bech32m("bt", principal.digest[:31]), "too short"),
        "space": (f" {text}", "no white space"),
    }
    for name, (wrong, comment) in bad.items():
        yield f"principal {name}", {"kind": "principal", "comment": comment, "expect": "refuse", "text": wrong}
    paths = {
        "root": (root, "accept", "the root itself"),
        "names": (f"{root}/home/über uns", "accept", "any UTF-8 is a name"),
        "trailing slash": (f"{root}/a/", "refuse", "one path has one text"),
        "empty name": (f"{root}//a", "refuse", "one path has one text"),
        "dots": (f"{root}/a/../b", "refuse", "no relative names"),
        "dot": (f"{root}/./b", "refuse", "no relative names"),
        "nul": (f"{root}/a\0b", "refuse", "no NUL in a name"),
        "long name": (f"{root}/{'a' * 256}", "refuse", "a name has at most 255 bytes"),
        "long path": (root + f"/{'a' * 200}" * 21, "refuse", "a path has at most 4096 bytes"),
        "many names": (root + "/a" * 257, "refuse", "a path has at most 256 names"),
        "relative": (f"{text}/a", "refuse", "begins with a slash"),
        "petname": ("home:/photos", "refuse", "petnames are not paths"),
    }
    for name, (path, expect, comment) in paths.items():
        yield f"path {name}", {"kind": "path", "comment": comment, "expect": expect, "text": path}


def credential_files() -> Iterator[tuple[str, Vector]]:
    credentials = Credentials(suite=Suite.ED25519_X25519, seed=SEED)
    content = _format.seal_credentials(credentials, "passphrase", QUICK_COST, salt=bytes(16), nonce=bytes(12))

    def vector(expect: str, comment: str, content: bytes = content, passphrase: str = "passphrase") -> Vector:
        return {
            "kind": "credentials",
            "comment": comment,
            "expect": expect,
            "passphrase": passphrase,
            "suite": credentials.suite.text,
            "seed": SEED.hex(),
            "file": content.hex(),
        }

    yield "credentials", vector("accept", "salt and nonce are zeros, the cost is the least there is")
    yield "credentials wrong passphrase", vector("refuse", "kind UNAUTHENTICATED", passphrase="Passphrase")
    yield "credentials cut", vector("refuse", "kind INTEGRITY", content[:-1])
    yield "credentials flipped", vector("refuse", "kind INTEGRITY", content[:-40] + b"\0" + content[-39:])


def capability_vectors() -> Iterator[tuple[str, Vector]]:
    question = test_verification.QUESTION
    yield "chain good", chain_vector(test_verification.GOOD, question, "ALLOWED", None, "every stage passes")
    for name, (chain, changes, stage, kind, reason) in test_verification.CASES.items():
        yield f"chain {name}", chain_vector(chain, question | changes, stage.name, kind.name, reason)
    yield from hybrid_chains()
    yield from bad_chains()
    yield from readcap_vectors()


def hybrid_chains() -> Iterator[tuple[str, Vector]]:
    """A root and a member of the hybrid suite, and a machine of the default one."""
    root, alice = (make_keys(name, Suite.HYBRID_PQ) for name in ("root", "alice"))
    laptop = make_keys("laptop")
    path = BlockPath(root.public.principal)

    def make() -> bytes:
        chain = Chain()
        for issuer, subject in ((root, alice), (alice, laptop)):
            chain = issue_writecap(
                issuer,
                chain,
                subject=subject.public.principal,
                path=path,
                scope=bytes(16),
                rights=Rights.WRITE,
                not_before=0,
                not_after=2**40,
                may_delegate=True,
                serial=serial_of(str(subject.public.principal)),
            )
        return encode(chain)

    def holds(encoded: bytes) -> bool:
        try:
            chain = Chain.decode(encoded)
            for cap, before in zip(chain.caps, chain.ids, strict=False):
                message = Label.WRITECAP.value + before + cap.terms
                slow_hybrid.composite_verify(cap.issuer.signing, message, cap.signature)
        except (InvalidSignature, BlocktreeError):
            return False
        return [cap.terms for cap in chain.caps] == [cap.terms for cap in Chain.decode(make()).caps]

    name = "chain hybrid-pq"
    chain = Chain.decode(kept("capabilities", name, "chain", holds, make))
    question = {
        "root": root.public.principal,
        "subject": laptop.public.principal,
        "right": Rights.WRITE,
        "now": 1_000_000,
        "path": path.child("photos"),
        "lineage": [bytes(16)],
    }
    yield name, chain_vector(chain, question, "ALLOWED", None, "two hybrid issuers, a classic holder")
    (first, second) = chain.caps
    half = first.signature[:-64] + second.signature[-64:]
    mixed = Chain((msgspec.structs.replace(first, signature=half), second))
    reason = "writecap 1 is not signed by its issuer"
    yield f"{name} half of a signature", chain_vector(mixed, question, "SIGNATURE", "INTEGRITY", reason)


def chain_vector(chain: Any, question: dict[str, Any], stage: str, kind: str | None, comment: str) -> Vector:
    lineage, revocations = question.get("lineage"), question.get("revocations")
    return {
        "kind": "chain",
        "comment": comment,
        "expect": {"stage": stage, "kind": kind},
        "chain": encode(chain).hex(),
        "id": chain.id.hex(),
        "root": str(question["root"]),
        "subject": str(question["subject"]),
        "right": int(question["right"]),
        "now": question["now"],
        "path": None if question["path"] is None else str(question["path"]),
        "lineage": None if lineage is None else [scope.hex() for scope in lineage],
        "revocations": None if revocations is None else encode(revocations).hex(),
    }


def bad_chains() -> Iterator[tuple[str, Vector]]:
    chain = test_verification.GOOD
    good = encode(chain)
    (cap,) = make_domain_identities("alice")["alice"].chains[0].caps
    single = encode(make_domain_identities("alice")["alice"].chains[0])
    place = single.index(cap.scope) + 16
    cases = {
        "cut": (good[:-1], "the last byte is missing"),
        "trailing byte": (good + b"\0", "a byte follows"),
        "of nine": (b"\x09" + good[1:], "at most eight writecaps"),
        "no rights": (single[:place] + b"\0" + single[place + 1 :], "rights are 1 to 3"),
        "unknown right": (single[:place] + b"\4" + single[place + 1 :], "rights are 1 to 3"),
        "begins after its end": (
            single[: place + 1] + (2**41).to_bytes(8, "little") + single[place + 9 :],
            "not_before is beyond not_after",
        ),
        "path with another form": (single.replace(cap.path.encode(), cap.path.upper().encode()), "canonical text only"),
    }
    for name, (encoding, comment) in cases.items():
        vector = {"kind": "chain encoding", "comment": comment, "expect": "refuse", "encoding": encoding.hex()}
        yield f"chain encoding {name}", vector


def readcap_vectors() -> Iterator[tuple[str, Vector]]:
    path = BlockPath(make_keys("root").public.principal, ("photos",))
    block, key, epoch = bytes(range(16)), bytes(range(100, 132)), 7

    def vector(suite: Suite, expect: str, comment: str, plain: bytes, **changes: object) -> Vector:
        keys = KeyPair.from_seed(suite, SEED)
        info = keys.public.principal.digest + block + epoch.to_bytes(4, "little")
        sealed = slow_seal(keys.public, Label.READCAP, info, plain)
        if suite is Suite.HYBRID_PQ:

            def holds(encoded: bytes) -> bool:
                return opens(info, plain)(Readcap.decode(encoded).sealed)

            def make() -> bytes:
                return encode(Readcap(subject=keys.public.principal, block=block, key_epoch=epoch, sealed=sealed))

            sealed = Readcap.decode(kept("capabilities", f"readcap {suite.text}", "readcap", holds, make)).sealed
        readcap = Readcap(subject=keys.public.principal, block=block, key_epoch=epoch, sealed=sealed)
        return {
            "kind": "readcap",
            "comment": comment,
            "expect": expect,
            "suite": suite.text,
            "seed": SEED.hex(),
            "readcap": encode(msgspec.structs.replace(readcap, **changes)).hex(),
            "key": key.hex(),
            "path": str(path),
        }

    plain = (key + encode(str(path))).ljust(256, b"\0")
    for suite in Suite:
        yield f"readcap {suite.text}", vector(suite, "accept", "opens with the keys of the seed", plain)
    suite = Suite.ED25519_X25519
    other = Principal(bytes(32))
    yield "readcap other block", vector(suite, "refuse", "the block is bound", plain, block=bytes(16))
    yield "readcap other epoch", vector(suite, "refuse", "the epoch is bound", plain, key_epoch=8)
    yield "readcap other subject", vector(suite, "refuse", "not for these keys", plain, subject=other)
    yield "readcap unpadded", vector(suite, "refuse", "not a multiple of 256", plain.rstrip(b"\0"))
    yield "readcap padding not zero", vector(suite, "refuse", "the padding is zeros", plain[:-1] + b"\1")
    yield "readcap too much padding", vector(suite, "refuse", "less than 256 bytes of padding", plain + bytes(256))
    yield "readcap without a path", vector(suite, "refuse", "the path is canonical", (key + b"\1/").ljust(256, b"\0"))


def place(folder: str, name: str) -> Path:
    """The file of a vector."""
    return HERE / "vectors" / folder / (re.sub(r"[^a-z0-9]+", "-", name.lower()) + ".json")


def recovery_vectors() -> Iterator[tuple[str, Vector]]:
    first, second = (share_set(name) for name in ("shares 2 of 3", "shares of another set"))

    def vector(expect: str, comment: str, *shares: str) -> Vector:
        return {"kind": "shares", "comment": comment, "expect": expect, "seed": SEED.hex(), "shares": list(shares)}

    words = first[0].split()
    swapped = " ".join([words[1], words[0], *words[2:]])
    yield "shares 2 of 3", vector("accept", "three shares, of which any two suffice", *first)
    yield "shares of another set", vector("accept", "the same seed, split once more", *second)
    yield "shares the last two", vector("accept", "any two, in any order", first[2], first[1])
    yield "shares too few", vector("refuse", "one of two", first[0])
    yield "shares twice the same", vector("refuse", "two different ones are needed", first[0], first[0])
    yield "shares of two sets", vector("refuse", "not made together", first[0], second[1])
    yield "shares words swapped", vector("refuse", "the checksum is wrong", swapped, first[1])
    yield "shares a word missing", vector("refuse", "33 words", " ".join(words[:-1]), first[1])
    yield "shares one of a word", vector("refuse", "not in the list", " ".join(["abandon", *words[1:]]), first[1])


def share_set(name: str) -> list[str]:
    """Three shares of SEED, any two of which give it; those of the vector, while any two do."""
    file = place("recovery", name)
    if file.exists():
        found: list[str] = json.loads(file.read_text(encoding="utf-8"))["shares"]
        if all(slow_shares.combine(pair) == SEED for pair in itertools.combinations(found, 2)):
            return found
    return [" ".join(share.words) for share in split_seed(SEED, 2, 3)]


FOLDERS = {"principal": principal_vectors, "capabilities": capability_vectors, "recovery": recovery_vectors}


def files() -> dict[Path, str]:
    """What should be on disk."""
    return {place(folder, name): dump(vector) for folder, make in FOLDERS.items() for name, vector in make()}


def dump(vector: Vector) -> str:
    return json.dumps(vector, indent=1, ensure_ascii=True) + "\n"


def main(arguments: list[str]) -> int:
    expected = files()
    present = {path for folder in FOLDERS for path in (HERE / "vectors" / folder).glob("*")}
    if arguments == ["--check"]:
        wrong = sorted(present ^ set(expected)) + [
            path for path in sorted(present & set(expected)) if path.read_text(encoding="utf-8") != expected[path]
        ]
        for path in wrong:
            print(f"{path} is not what this program makes", file=sys.stderr)
        return 1 if wrong else 0
    for path in present - set(expected):
        path.unlink()
    for path, text in expected.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
