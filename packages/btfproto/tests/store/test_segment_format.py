"""The bytes of segments: vectors, round trips, and that nothing damaged is taken for a header."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from btfproto.store._segment_format import (
    RUN_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    RunHeader,
    decode_run_header,
    encode_run_header,
    encode_segment_header,
    segment_header_fault,
    stretches,
)
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))

SMALL, LARGE = st.integers(1, 2**32 - 1), st.integers(0, 2**63)
HEADERS = st.builds(
    RunHeader, st.integers(0, 255), st.binary(min_size=16, max_size=16), LARGE, LARGE, SMALL, SMALL, SMALL
)


@given(HEADERS)
def test_a_run_header_survives_encoding(run: RunHeader) -> None:
    assert decode_run_header(encode_run_header(run)) == run


@given(HEADERS, st.integers(5, 7), st.integers(1, 255))
def test_an_unused_byte_of_a_run_header_is_zero(run: RunHeader, at: int, value: int) -> None:
    data = bytearray(encode_run_header(run)[:-4])
    data[at] = value
    assert decode_run_header(bytes(data) + zlib.crc32(data).to_bytes(4, "little")) is None


@given(HEADERS, st.integers(0, RUN_HEADER_SIZE - 1), st.integers(1, 255))
def test_a_damaged_run_header_is_none(run: RunHeader, at: int, mask: int) -> None:
    data = encode_run_header(run)
    assert decode_run_header(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]) is None
    assert decode_run_header(data[:at]) is None


def test_a_damaged_segment_header_is_none() -> None:
    data = encode_segment_header(3, bytes(16))
    assert segment_header_fault(data, 3, bytes(16)) is None
    for at in range(SEGMENT_HEADER_SIZE):
        assert segment_header_fault(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], 3, bytes(16))
        assert segment_header_fault(data[:at], 3, bytes(16))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_records_are_cut_into_runs_whose_records_but_the_last_have_one_size(sizes: list[int]) -> None:
    runs = list(stretches(sizes))
    assert [i for start, end in runs for i in range(start, end)] == list(range(len(sizes)))
    assert all(len(set(sizes[start : end - 1])) <= 1 for start, end in runs)
    if len(set(sizes[:-1])) <= 1:
        assert len(runs) == 1


def check_segment(vector: dict[str, Any]) -> None:
    """Walk it by hand, from the specification alone."""
    data, at = bytes.fromhex(vector["encoding"]), 40
    assert segment_header_fault(data[:40], 1, bytes.fromhex(vector["store_id"])) is None
    records = {}
    while at < len(data):
        run = decode_run_header(data[at : at + 56])
        assert run is not None
        assert run.block.hex() == vector["block"]
        at += 56
        for i in range(run.length):
            size = run.last if i == run.length - 1 else run.size
            records[str(run.first + i)] = data[at : at + size].hex()
            at += size
    assert records == vector["records"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_vector(file: Path) -> None:
    vector = json.loads(file.read_text())
    data, accept = bytes.fromhex(vector["encoding"]), vector["expect"] == "accept"
    match vector["kind"]:
        case "segment header":
            fault = segment_header_fault(data, vector["number"], bytes.fromhex(vector["store_id"]))
            assert (fault is None) is accept
        case "run header":
            fields = {name: vector[name] for name in RunHeader._fields} | {"block": bytes.fromhex(vector["block"])}
            assert decode_run_header(data) == (RunHeader(**fields) if accept else None)
        case _:
            check_segment(vector)


def test_the_program_makes_these_very_vectors() -> None:
    command = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
