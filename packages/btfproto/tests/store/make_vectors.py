"""Makes the test vectors of `docs/spec/store.md`, one scenario a file.

python packages/btfproto/tests/store/make_vectors.py            write tests/store/vectors/*.json
python packages/btfproto/tests/store/make_vectors.py --check    compare instead, and fail on any difference
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from btfproto.store import BlockChange, Commit, EmbeddedStore, RecordRun
from btfproto.store._index import Index
from btfproto.store._segment_format import RunHeader, encode_run_header, encode_segment_header

HERE = Path(__file__).resolve().parent
BLOCK, STORE_ID = bytes(range(16)), bytes(range(16, 32))

Vector = dict[str, Any]


def vectors() -> Iterator[tuple[str, Vector]]:
    good = encode_segment_header(7, STORE_ID)
    vector = {"kind": "segment header", "number": 7, "store_id": STORE_ID.hex()}
    yield "segment header", vector | {"comment": "segment 7", "expect": "accept", "encoding": good.hex()}
    for comment, at in (("another magic", 0), ("another format", 8), ("another number", 12), ("another store", 20)):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        yield f"segment header {comment}", vector | {"comment": comment, "expect": "refuse", "encoding": bad.hex()}
    run = RunHeader(1, BLOCK, 9, 2**40, 3, 8192, 64)
    good = encode_run_header(run)
    vector = {"kind": "run header", **run._asdict(), "block": BLOCK.hex()}
    yield "run header", vector | {"comment": "three nodes", "expect": "accept", "encoding": good.hex()}
    for comment, bad in (("a wrong CRC", good[:-1] + bytes([good[-1] ^ 1])), ("a byte too few", good[:-1])):
        yield f"run header with {comment}", vector | {"comment": comment, "expect": "refuse", "encoding": bad.hex()}
    for field in ("length", "size", "last"):
        fields: Vector = {field: 0}
        bad = encode_run_header(run._replace(**fields))
        yield f"run header of {field} 0", vector | {"comment": f"{field} 0", "expect": "refuse", "encoding": bad.hex()}
    yield "segment", whole_segment()


def whole_segment() -> Vector:
    """A segment as the store writes it: two runs, since the sizes differ in the middle."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        Index(directory, STORE_ID).close()
        store = EmbeddedStore(directory)
        records: list[bytes | memoryview] = [b"one", b"two", b"three", b"four"]
        change = BlockChange(block=BLOCK, expected=0, version=1, signed=b"head", runs=[RecordRun(0, 5, records)])
        store.commit(Commit(request=bytes(16), changes=[change]))
        store.close()
        data = (directory / "segments" / "00000001.seg").read_bytes()
    return {
        "kind": "segment",
        "comment": "records of 3, 3, 5 and 4 bytes make a run of three and one of one",
        "expect": "accept",
        "store_id": STORE_ID.hex(),
        "block": BLOCK.hex(),
        "records": {str(5 + i): bytes(record).hex() for i, record in enumerate(records)},
        "encoding": data.hex(),
    }


def main() -> int:
    target = HERE / "vectors"
    made = {name.replace(" ", "-") + ".json": json.dumps(vector, indent=1) + "\n" for name, vector in vectors()}
    if "--check" in sys.argv[1:]:
        found = {path.name: path.read_text() for path in target.glob("*.json")}
        different = sorted(name for name in made.keys() | found.keys() if made.get(name) != found.get(name))
        print("\n".join(f"{name} differs" for name in different))
        return 1 if different else 0
    target.mkdir(exist_ok=True)
    for name, text in made.items():
        (target / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
