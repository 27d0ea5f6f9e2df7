"""SPAKE2 once more, from the text of the specification alone: slow, obvious, and only for tests."""

from __future__ import annotations

import hashlib
import hmac

Q = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, Q) % Q
Point = tuple[int, int]
ZERO: Point = (0, 1)


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    out, block, number = b"", b"", 1
    while len(out) < size:
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        out, number = out + block, number + 1
    return out[:size]


def add(left: Point, right: Point) -> Point:
    (x1, y1), (x2, y2) = left, right
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, Q)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, Q)
    return x % Q, y % Q


def multiply(point: Point, number: int) -> Point:
    total = ZERO
    for bit in bin(number)[2:]:
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def even_x(y: int) -> int | None:
    """The even one of the two x that belong to y; None where y is on no curve."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, Q) % Q
    root = pow(square, (Q + 3) // 8, Q)
    for x in (root, root * pow(2, (Q - 1) // 4, Q) % Q):
        if x * x % Q == square:
            return x if x % 2 == 0 else Q - x
    return None


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    y = number & ((1 << 255) - 1)
    x = even_x(y)
    assert x is not None
    return (Q - x if number >> 255 else x), y


def fixed_point(seed: bytes) -> Point:
    """M and N: points of which nobody knows the logarithm."""
    y = int.from_bytes(hkdf(seed, b"", b"SPAKE2 arbitrary element", 48)) % Q
    while (x := even_x(y)) is None:
        y = (y + 1) % Q
    return multiply((x, y), 8)


BASE: Point = (even_x(4 * pow(5, -1, Q) % Q) or 0, 4 * pow(5, -1, Q) % Q)
M, N = fixed_point(b"M"), fixed_point(b"N")


def number_of_code(code: bytes) -> int:
    return int.from_bytes(hkdf(code, b"", b"SPAKE2 pw", 48)) % ORDER


def message(code: bytes, random: bytes, *, inviter: bool) -> bytes:
    blind = multiply(M if inviter else N, number_of_code(code))
    secret = multiply(BASE, int.from_bytes(random) % ORDER)
    return (b"A" if inviter else b"B") + encode(add(secret, blind))


def agreed(code: bytes, random: bytes, own: bytes, other: bytes, *, inviter: bool) -> bytes:
    unblind = multiply(N if inviter else M, -number_of_code(code) % ORDER)
    shared = multiply(add(decode(other[1:]), unblind), int.from_bytes(random) % ORDER)
    first, second = (own, other) if inviter else (other, own)
    parts = [hashlib.sha256(part).digest() for part in (code, b"blocktree inviter", b"blocktree joiner")]
    return hashlib.sha256(b"".join([*parts, first[1:], second[1:], encode(shared)])).digest()
