"""The vectors of `docs/spec/filesystem.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from btfproto.localfs._attributes import decode_attributes, encode_attributes
from btfproto.localfs._names import MAX_KEY, ORDINAL_BITS, NameHasher
from btfproto.localfs._nodes import Leaf, decode_node
from btlib.errors import IntegrityError

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.json"))


def run(vector: dict[str, Any]) -> None:
    if vector["kind"] == "names":
        hasher = NameHasher(bytes.fromhex(vector["key"]))
        assert {name: hasher(name.encode()) << ORDINAL_BITS for name in vector["keys"]} == vector["keys"]
    elif vector["kind"] == "node":
        data = bytes.fromhex(vector["node"])
        node = decode_node(data, vector["level"], 0, MAX_KEY + 1, NameHasher(bytes.fromhex(vector["key"])))
        assert node.encode() == data
        if isinstance(node, Leaf):
            assert node.names == vector["names"]
    else:
        data = bytes.fromhex(vector["attributes"])
        assert encode_attributes(decode_attributes(data, vector["sector_count"], 1 << 14)) == data


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_vector(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    if vector["expect"] == "accept":
        run(vector)
    else:
        with pytest.raises(IntegrityError):
            run(vector)


def test_there_are_vectors() -> None:
    assert len(VECTORS) > 15
