from collections.abc import Sequence

Buffer = bytes | bytearray | memoryview

def hash_sectors(label: bytes, indexes: list[int], records: Sequence[Buffer]) -> list[bytes]: ...
def open_sectors(
    key: bytes,
    bound: bytes,
    label: bytes,
    indexes: list[int],
    records: Sequence[Buffer | None],
    expected: list[bytes],
    size: int,
) -> list[bytes] | None: ...
def open_joined(
    key: bytes,
    bound: bytes,
    label: bytes,
    indexes: list[int],
    records: Sequence[Buffer | None],
    expected: list[bytes],
    size: int,
) -> bytes | None: ...
def open_stretches(
    key: bytes,
    bound: bytes,
    label: bytes,
    first: int,
    hashes: bytes,
    runs: tuple[tuple[int, int, int, int, int, int], ...],
    size: int,
) -> bytes | None: ...
def seal_sectors(
    key: bytes, bound: bytes, label: bytes, indexes: list[int], plains: Sequence[Buffer], nonces: bytes
) -> tuple[list[bytes], list[bytes]]: ...
def open_at(
    key: bytes,
    bound: bytes,
    label: bytes,
    descriptor: int,
    offset: int,
    length: int,
    index: int,
    expected: bytes,
    size: int,
) -> bytes | None: ...
