"""Makes the test vectors of `docs/spec/enrolment.md`, one scenario a file.

    python packages/btlib/tests/pairing/make_vectors.py            write tests/vectors/pairing/*.json
    python packages/btlib/tests/pairing/make_vectors.py --check    compare instead, and fail on any difference

The frames are made by the second implementation of SPAKE2 and by this file, not by the code under test.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3]))

from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402

from packages.btlib.tests.pairing import slow_spake2  # noqa: E402

FOLDER = HERE.parent / "vectors" / "pairing"
Vector = dict[str, object]

CODE = "lemon-rocket-absorb-winter"
MEETING = 1022
INVITER_RANDOM, JOINER_RANDOM = bytes(range(64)), bytes(range(64, 128))
REQUEST, RESPONSE, REPORT = b"a request", b"a response", b"a report"
KINDS = {"HELLO": 1, "ANSWER": 2, "REQUEST": 3, "RESPONSE": 4, "JOINED": 5, "REPORT": 6}


def frame(name: str, body: bytes) -> bytes:
    return bytes([KINDS[name]]) + len(body).to_bytes(4, "big") + body


def seal(key: bytes, number: int, name: str, plain: bytes) -> bytes:
    associated = b"blocktree/1 pairing message\0" + bytes([KINDS[name]])
    return AESGCM(key).encrypt(number.to_bytes(12, "big"), plain, associated)


def talk(joiner_code: str = CODE) -> dict[str, bytes]:
    """The frames of a whole talk, as the joiner's code makes them."""
    code = joiner_code.encode()
    own = slow_spake2.message(code, JOINER_RANDOM, inviter=False)
    hello = b"btjoin/1" + MEETING.to_bytes(2, "big") + own
    answer = slow_spake2.message(CODE.encode(), INVITER_RANDOM, inviter=True)
    agreed = slow_spake2.agreed(code, JOINER_RANDOM, own, answer, inviter=False)
    transcript = hello + answer
    keys = slow_spake2.hkdf(agreed, hashlib.sha256(transcript).digest(), b"blocktree/1 pairing keys\0", 128)
    proofs = [
        hmac.digest(keys[start : start + 32], b"blocktree/1 pairing proof\0" + transcript, "sha256")
        for start in (0, 32)
    ]
    joiner, inviter = keys[64:96], keys[96:]
    return {
        "HELLO": frame("HELLO", hello),
        "ANSWER": frame("ANSWER", answer),
        "REQUEST": frame("REQUEST", proofs[0] + seal(joiner, 0, "REQUEST", REQUEST)),
        "RESPONSE": frame("RESPONSE", proofs[1] + seal(inviter, 0, "RESPONSE", RESPONSE)),
        "JOINED": frame("JOINED", seal(joiner, 1, "JOINED", b"")),
        "REPORT": frame("REPORT", seal(inviter, 1, "REPORT", REPORT)),
    }


def vector(comment: str, expect: str, frames: dict[str, bytes]) -> Vector:
    return {
        "kind": "talk",
        "comment": comment,
        "expect": expect,
        "code": CODE,
        "inviter_random": INVITER_RANDOM.hex(),
        "joiner_random": JOINER_RANDOM.hex(),
        "request": REQUEST.hex(),
        "response": RESPONSE.hex(),
        "report": REPORT.hex(),
        "frames": {name: data.hex() for name, data in frames.items()},
    }


def vectors() -> Iterator[tuple[str, Vector]]:
    good = talk()
    yield "talk", vector("a whole talk", "accept", good)
    yield "wrong code", vector("the joiner guessed zebra", "WRONG_CODE", talk("lemon-rocket-absorb-zebra"))
    proof = bytearray(good["REQUEST"])
    proof[5] ^= 1
    yield (
        "wrong proof",
        vector("a bit of the joiner's proof is another", "WRONG_CODE", good | {"REQUEST": bytes(proof)}),
    )
    sealed = good["REQUEST"][:-1] + bytes([good["REQUEST"][-1] ^ 1])
    yield "changed request", vector("the proof holds, the request was changed", "DAMAGED", good | {"REQUEST": sealed})
    yield from (
        (name, vector(comment, expect, {"HELLO": good["HELLO"][: at + 5] + data + good["HELLO"][at + 5 + len(data) :]}))
        for name, comment, expect, at, data in [
            ("version", "another version", "VERSION", 0, b"btjoin/2"),
            ("meeting", "another first word", "NOBODY", 8, bytes(2)),
            ("no meeting", "there are 2048 meeting words", "DAMAGED", 8, b"\x08\x00"),
            ("side", "a message of the inviter's side", "DAMAGED", 10, b"A"),
            ("neutral", "the neutral element", "DAMAGED", 11, (1).to_bytes(32, "little")),
            ("small order", "a point of order 4", "DAMAGED", 11, bytes(32)),
            ("not canonical", "y is y + q", "DAMAGED", 11, (slow_spake2.Q + 4).to_bytes(32, "little")),
            ("no point", "y is on no curve", "DAMAGED", 11, (2).to_bytes(32, "little")),
        ]
    )


def files() -> dict[Path, str]:
    return {
        FOLDER / f"{name.replace(' ', '-')}.json": json.dumps(vector, indent=1, ensure_ascii=False) + "\n"
        for name, vector in vectors()
    }


def main(arguments: list[str]) -> int:
    made = files()
    if "--check" in arguments:
        there = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
        wrong = sorted(path.name for path in made.keys() | there.keys() if made.get(path) != there.get(path))
        print("\n".join(f"differs: {name}" for name in wrong) or f"{len(made)} vectors are as made")
        return 1 if wrong else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
