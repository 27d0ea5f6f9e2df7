"""edwards25519 by the book (RFC 8032, section 5.1), to check what the suite's tables claim. Slow and obvious."""

from __future__ import annotations

FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, FIELD) % FIELD

Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def add(p: Point, q: Point) -> Point:
    """The complete addition law."""
    product = D * p[0] * q[0] * p[1] * q[1]
    x = (p[0] * q[1] + q[0] * p[1]) * pow(1 + product, -1, FIELD)
    y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - product, -1, FIELD)
    return x % FIELD, y % FIELD


def multiply(n: int, p: Point) -> Point:
    result = NEUTRAL
    while n:
        if n & 1:
            result = add(result, p)
        p, n = add(p, p), n >> 1
    return result


def point_of(y: int) -> Point | None:
    """A point with this y, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if (x * x - square) % FIELD:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    return (x, y) if (x * x - square) % FIELD == 0 else None


def small_order_points() -> set[Point]:
    """All points whose order divides eight: what is left of a few points times the order of the large subgroup."""
    points = {NEUTRAL}
    for y in range(2, 40):
        point = point_of(y)
        if point is not None:
            small = multiply(ORDER, point)
            points |= {multiply(n, small) for n in range(8)}
    return points


def montgomery_u(p: Point) -> int:
    """The same point's coordinate on curve25519."""
    return 0 if p[1] == 1 else (1 + p[1]) * pow(1 - p[1], -1, FIELD) % FIELD
