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
) -> Head | None: ...
