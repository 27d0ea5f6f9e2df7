Head = tuple[int, int, int, int, int, int, int, int, int]

def exchange(
    descriptor: int,
    buffer: memoryview,
    unique: int,
    body: bytes | memoryview | None,
    patience: int,
    score: memoryview,
    full: int,
    step: int,
    reads: ReadTable | None,
) -> Head | None: ...

class ReadTable:
    def __init__(self, sector_bits: int, label: bytes, /) -> None: ...
    def open(self, file: int, key: bytes, bound: bytes, size: int, /) -> None: ...
    def put(
        self,
        file: int,
        page: int,
        hashes: bytes,
        stretches: tuple[tuple[int, int, int, int, int, int], ...],
        owners: object,
        /,
    ) -> None: ...
    def drop(self, file: int, /) -> None: ...
    def clear(self) -> None: ...
    def serve(self, file: int, offset: int, size: int, /) -> bytes | None: ...
    def served(self) -> int: ...
