"""Makes the test vectors of `docs/spec/files.md`, one message a file.

python packages/btfproto/tests/messages/make_vectors.py            write vectors/*.json beside this file
python packages/btfproto/tests/messages/make_vectors.py --check    compare instead, and fail on any difference
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from btlib.testing.vectors import write_or_check

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3]))

from btfproto.messages import (  # noqa: E402
    encode_fs_call,
    encode_fs_reply,
    encode_store_reply,
    encode_store_request,
    files,
)

from packages.btfproto.tests.messages import samples  # noqa: E402

Vector = dict[str, str]


def vectors() -> Iterator[tuple[str, Vector]]:
    for number, request in enumerate(samples.FS_REQUESTS, 1):
        session = files.NO_SESSION if isinstance(request, files.Attach) else samples.SESSION
        call = files.FsCall(session=session, number=number, request=request)
        yield f"fs request {slug(request)}", vector("a call of the file service", call, encode_fs_call(call))
    for reply in samples.FS_REPLIES:
        yield f"fs reply {slug(reply)}", vector("a reply of the file service", reply, encode_fs_reply(reply))
    for store_request in samples.STORE_REQUESTS:
        name = f"store request {slug(store_request)}"
        yield name, vector("a request to the store", store_request, encode_store_request(store_request))
    for store_reply in samples.STORE_REPLIES:
        name = f"store reply {slug(store_reply)}"
        yield name, vector("a reply of the store", store_reply, encode_store_reply(store_reply))


def vector(comment: str, value: object, parts: list[bytes | memoryview]) -> Vector:
    return {"comment": comment, "expect": "accept", "value": repr(value), "bytes": b"".join(parts).hex()}


def slug(value: object) -> str:
    """`DoCommit` → `do commit`; with what it answers or asks for, where one message has several forms."""
    inner = getattr(value, "answer", getattr(value, "request", None))
    names = [type(value).__name__, *([type(inner).__name__] if inner is not None else [])]
    return " ".join(re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower() for name in names)


def contents() -> dict[Path, str]:
    made = {}
    for name, content in vectors():
        path = HERE / "vectors" / f"{name.replace(' ', '-')}.json"
        assert path not in made, path
        made[path] = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return made


if __name__ == "__main__":
    sys.exit(write_or_check(HERE / "vectors", contents(), sys.argv[1:]))
