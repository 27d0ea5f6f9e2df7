"""`ReadTable` gives what the reference would give, or nothing."""

from __future__ import annotations

import gc
import itertools
import os
import threading
from pathlib import Path
from typing import Any

import btspeed
import pytest
from btlib.labels import Label
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .stored_file import BITS, KEY, PAGE, RECORD, SECTOR, SKIPPED, Owner, StoredFile

FILE = 2**63 + 9
COUNT = 300


@pytest.fixture(scope="module")
def table(stored: StoredFile) -> btspeed.ReadTable:
    return stored.table(FILE)


@given(offset=st.integers(0, (COUNT + 2) * SECTOR), size=st.integers(0, 2 * SECTOR))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_range_in_one_sector_is_given_and_no_other(
    table: btspeed.ReadTable, stored: StoredFile, offset: int, size: int
) -> None:
    table.serve(FILE, 40 * SECTOR, 1)  # whoever was last was elsewhere
    first, last = offset // SECTOR, (offset + size - 1) // SECTOR
    content = b"".join(plain.ljust(SECTOR, b"\0") for plain in stored.plains)
    wanted = size > 0 and first == last and offset + size <= stored.size and first not in (40, 41)
    assert table.serve(FILE, offset, size) == (content[offset : offset + size] if wanted else None)


@pytest.mark.parametrize("start", [0, 7])
def test_whoever_reads_in_sequence_is_declined_from_his_second_read_on(
    table: btspeed.ReadTable, stored: StoredFile, start: int
) -> None:
    table.serve(FILE, 100 * SECTOR, 1)
    found = [table.serve(FILE, index * SECTOR, SECTOR) for index in range(start, start + 4)]
    assert found == [stored.plains[start], None, None, None]
    assert table.serve(FILE, start * SECTOR, SECTOR) == stored.plains[start]


def test_a_large_read_counts_as_the_beginning_of_a_sequence(table: btspeed.ReadTable) -> None:
    assert table.serve(FILE, 0, 4 * SECTOR) is None
    assert table.serve(FILE, 4 * SECTOR, SECTOR) is None
    assert table.serve(FILE, 9 * SECTOR, SECTOR) is not None


@pytest.mark.parametrize(("file", "offset"), [(FILE + 1, 0), (FILE, PAGE * SECTOR), (FILE, 2**63), (FILE, 2**64 - 1)])
def test_what_was_not_put_is_not_given(stored: StoredFile, file: int, offset: int) -> None:
    table = btspeed.ReadTable(BITS, Label.LEAF.value)
    stored.put(table, FILE, 0, Owner(stored.path))
    assert table.serve(file, offset, 10) is None


def test_a_sector_without_a_stretch_or_a_hash_is_a_hole(stored: StoredFile) -> None:
    table, owner = btspeed.ReadTable(BITS, Label.LEAF.value), Owner(stored.path)
    stored.put(table, FILE, 0, owner, first=5)
    assert table.serve(FILE, 4 * SECTOR, 10) is None
    assert table.serve(FILE, 8 * SECTOR, 10) == stored.plains[8][:10]
    table.put(FILE, 0, b"".join(stored.hashes[:7]), (stored.stretch(owner.descriptor),), owner)
    assert table.serve(FILE, 3 * SECTOR, 10) == stored.plains[3][:10]
    assert table.serve(FILE, 9 * SECTOR, 10) is None


@pytest.mark.parametrize("byte", [0, 11, 12, 500, RECORD - 17, RECORD - 16, RECORD - 1])
def test_a_damaged_record_is_not_given(tmp_path: Path, byte: int) -> None:
    stored = StoredFile(tmp_path / "damaged", 20)
    table = stored.table(FILE)
    with stored.path.open("r+b") as file:
        file.seek(SKIPPED + 6 * RECORD + byte)
        file.write(bytes([stored.records[6][byte] ^ 1]))
    assert table.serve(FILE, 6 * SECTOR, SECTOR) is None
    assert table.serve(FILE, 8 * SECTOR, SECTOR) == stored.plains[8]


@pytest.mark.parametrize("left", [0, SKIPPED + 6 * RECORD, SKIPPED + 7 * RECORD - 1])
def test_a_record_that_is_cut_off_is_not_given(tmp_path: Path, left: int) -> None:
    stored = StoredFile(tmp_path / "cut", 20)
    table = stored.table(FILE)
    os.truncate(stored.path, left)
    assert table.serve(FILE, 6 * SECTOR, SECTOR) is None


def test_a_sector_that_was_hashed_but_sealed_elsewhere_is_not_given(stored: StoredFile) -> None:
    table, owner = btspeed.ReadTable(BITS, Label.LEAF.value), Owner(stored.path)
    table.open(FILE, KEY, b"bound to something else", stored.size)
    stored.put(table, FILE, 0, owner)  # which finds it open already
    assert table.serve(FILE, 3 * SECTOR, SECTOR) is None


def test_a_file_that_was_dropped_is_not_given_any_more_and_others_are(stored: StoredFile) -> None:
    table = stored.table(FILE)
    stored.put(table, 5, 0, Owner(stored.path))
    table.drop(FILE)
    table.drop(77)
    assert table.serve(FILE, 3 * SECTOR, SECTOR) is None
    assert table.serve(5, 3 * SECTOR, SECTOR) == stored.plains[3]
    table.clear()
    assert table.serve(5, 6 * SECTOR, SECTOR) is None


def test_a_page_takes_the_slot_of_another(stored: StoredFile) -> None:
    table, owner = btspeed.ReadTable(BITS, Label.LEAF.value), Owner(stored.path)
    stored.put(table, 7, 0, owner)
    stored.put(table, 7 + 1024, 0, owner)
    assert table.serve(7, 3 * SECTOR, SECTOR) is None
    assert table.serve(7 + 1024, 3 * SECTOR, SECTOR) == stored.plains[3]


@pytest.mark.parametrize("end", ["drop", "clear", "replace", "delete"])
def test_descriptors_are_closed_when_no_page_needs_them(stored: StoredFile, end: str) -> None:
    table, owner = stored.table(FILE), Owner(stored.path)
    stored.put(table, FILE, 0, owner)
    descriptor = owner.descriptor
    del owner
    assert os.fstat(descriptor)
    if end == "drop":
        table.drop(FILE)
    elif end == "clear":
        table.clear()
    elif end == "replace":
        stored.put(table, FILE, 0, Owner(stored.path))
    else:
        del table
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    "changed",
    [
        {1: 2**45},
        {2: bytes(31)},
        {2: bytes(257 * 32)},
        {3: [(0, 1, 0, 0, 100, 100)]},
        {3: ((0, 0, 0, 0, 100, 100),)},
        {3: ((0, 1, 0, -1, 100, 100),)},
        {3: ((0, 1, 0, 0, -1, 100),)},
        {3: ((0, 1, 0, 0, 100, -1),)},
        {3: ((2**53, 1, 0, 0, 100, 100),)},
        {3: ((0, 2**41, 0, 0, 100, 100),)},
        {3: ((0, 1, 0, 2**61, 100, 100),)},
    ],
)
def test_what_cannot_be_is_refused(changed: dict[int, Any]) -> None:
    given: list[Any] = [FILE, 0, bytes(32), ((0, 1, 0, 0, 100, 100),), None]
    table = btspeed.ReadTable(BITS, b"")
    table.open(FILE, KEY, b"bound", SECTOR)
    table.put(*given)
    for position, value in changed.items():
        given[position] = value
    with pytest.raises(ValueError):  # noqa: PT011 - the sentence differs
        table.put(*given)


@pytest.mark.parametrize(("key", "bound"), [(b"short", b""), (KEY + b"x", b""), (KEY, bytes(129))])
def test_a_file_with_an_impossible_key_is_refused(key: bytes, bound: bytes) -> None:
    with pytest.raises(ValueError, match="a key has 32 bytes"):
        btspeed.ReadTable(BITS, b"").open(FILE, key, bound, SECTOR)


def test_a_file_that_was_dropped_meanwhile_gets_no_page(stored: StoredFile) -> None:
    table, owner = btspeed.ReadTable(BITS, Label.LEAF.value), Owner(stored.path)
    table.put(FILE, 0, b"".join(stored.hashes[:PAGE]), (stored.stretch(owner.descriptor),), owner)
    table.open(FILE, KEY, b"", stored.size)
    assert table.serve(FILE, 3 * SECTOR, SECTOR) is None


def test_a_stretch_of_another_form_is_refused() -> None:
    table = btspeed.ReadTable(BITS, b"")
    for runs in (((0, 1),), (5,), (("a",) * 6,)):
        with pytest.raises(TypeError):
            table.put(FILE, 0, bytes(32), runs, None)  # type: ignore[arg-type]


def test_records_longer_than_a_sector_are_not_taken() -> None:
    table = btspeed.ReadTable(BITS, b"")
    table.open(FILE, KEY, b"", SECTOR)
    table.put(FILE, 0, bytes(32), ((0, 1, 0, 0, 1 << 20, 1 << 20),), None)
    assert table.serve(FILE, 0, 10) is None


@pytest.mark.parametrize(("bits", "label"), [(8, b""), (15, b""), (-1, b""), (12, bytes(129))])
def test_a_table_of_impossible_sectors_is_refused(bits: int, label: bytes) -> None:
    with pytest.raises(ValueError, match="sectors have"):
        btspeed.ReadTable(bits, label)


def test_a_table_may_be_changed_while_it_is_read(stored: StoredFile) -> None:
    table, owner = stored.table(FILE), Owner(stored.path)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            table.drop(FILE)
            for page in (0, 1):
                stored.put(table, FILE, page, owner)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for number in itertools.count():
            if number >= 20_000 and table.served():  # on a busy machine the other thread may have long turns
                break
            index = number * 7 % (COUNT - 1)
            assert table.serve(FILE, index * SECTOR, SECTOR) in (None, stored.plains[index])
    finally:
        over.set()
        changing.join(10)
