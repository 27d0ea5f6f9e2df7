"""SLIP-39's combining of one group, written from its text. Slow and obvious, to check the library's by."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from shamir_mnemonic.wordlist import WORDLIST

SECRET, DIGEST = 255, 254


def multiply(a: int, b: int) -> int:
    """In the field of AES."""
    result = 0
    while b:
        if b & 1:
            result ^= a
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return result


def invert(a: int) -> int:
    return next(b for b in range(1, 256) if multiply(a, b) == 1)


def interpolate(points: dict[int, bytes], at: int) -> bytes:
    result = bytes(32)
    for x, value in points.items():
        weight = 1
        for other in points:
            if other != x:
                weight = multiply(weight, multiply(other ^ at, invert(other ^ x)))
        result = bytes(sum_ ^ multiply(byte, weight) for sum_, byte in zip(result, value, strict=True))
    return result


def read(text: str) -> tuple[int, bytes]:
    """Index and value of a share of 33 words; its checksum is not looked at."""
    number = 0
    for word in text.split()[:-3]:
        number = number << 10 | WORDLIST.index(word)
    value = number & (1 << 260) - 1
    return number >> 264 & 15, value.to_bytes(33)[1:]


def combine(texts: Sequence[str]) -> bytes:
    """The seed of exactly as many shares as are needed."""
    points = dict(read(text) for text in texts)
    encrypted, digest = interpolate(points, SECRET), interpolate(points, DIGEST)
    assert hmac.digest(digest[4:], encrypted, "sha256")[:4] == digest[:4]
    left, right = encrypted[:16], encrypted[16:]
    for number in (3, 2, 1, 0):
        mask = hashlib.pbkdf2_hmac("sha256", bytes([number]), right, 2500, dklen=16)
        left, right = right, bytes(a ^ b for a, b in zip(left, mask, strict=True))
    return right + left
