from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

Part = tuple[str | None, type | None, int]
Row = tuple[str, int, bool, bytes, tuple[object, ...], tuple[Part, ...]]

def make_encoder(
    rows: tuple[Row, ...], max_depth: int, max_size: int, max_count: int, reference: Callable[[T], bytes]
) -> Callable[[T], bytes]: ...
