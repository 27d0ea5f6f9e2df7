"""The vectors: what other implementations must do too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from btserde import DecodeError, decode, encode, schema_hash

from . import make_vectors, reference
from .samples import TYPES

FILES = sorted(make_vectors.VECTORS.glob("*.json"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def files(expect: str) -> pytest.MarkDecorator:
    chosen = [path for path in FILES if path.name.startswith(expect)]
    return pytest.mark.parametrize("path", chosen, ids=[path.stem for path in chosen])


def test_the_files_are_what_their_program_makes() -> None:
    assert {path.name: path.read_bytes() for path in FILES} == make_vectors.vectors()


@files("accept")
def test_an_accepted_vector_decodes_to_its_value_and_back(path: Path) -> None:
    vector = read(path)
    tp, data = TYPES[vector["type"]], bytes.fromhex(vector["encoding"])
    value = decode(data, tp)
    assert make_vectors.plain(value) == vector["value"]
    assert encode(value, tp) == data
    assert reference.encode(tp, value) == data


@files("accept")
def test_the_hash_of_a_vector_is_that_of_its_type(path: Path) -> None:
    vector = read(path)
    assert f"{schema_hash(TYPES[vector['type']]):016x}" == vector["schema_hash"]


@files("accept")
def test_an_accepted_vector_with_a_bit_flipped_or_cut_off_is_no_second_encoding(path: Path) -> None:
    vector = read(path)
    tp, data = TYPES[vector["type"]], bytes.fromhex(vector["encoding"])
    flipped = [data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :] for i in range(len(data)) for bit in range(8)]
    for changed in [*flipped, *(data[:size] for size in range(len(data))), data + b"\0"]:
        try:
            value = decode(changed, tp)
        except DecodeError:
            continue
        assert encode(value, tp) == changed


@files("reject")
def test_a_rejected_vector_names_path_and_offset(path: Path) -> None:
    vector = read(path)
    with pytest.raises(DecodeError) as caught:
        decode(bytes.fromhex(vector["encoding"]), TYPES[vector["type"]])
    error = caught.value
    assert vector["error"] == {"reason": error.reason, "path": error.path, "offset": error.offset}
