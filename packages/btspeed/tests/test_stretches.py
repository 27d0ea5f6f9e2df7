"""Sectors that are opened where they lie in a file: the bytes that `open_joined` gives, or nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import btspeed
import pytest
from btlib.block import HOLE, SEAL_SIZE, leaf_hash
from btlib.labels import Label
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .stored_file import BLOCK, KEY, RECORD, SECTOR, SKIPPED, Owner, StoredFile

BOUND = Label.SECTOR.value + BLOCK + (7).to_bytes(4, "little")
LEAF = Label.LEAF.value
COUNT = 300
HUGE = (2**63 - 1, 2**63, 2**64 - 1)
RUN_LIMIT = 256

Run = tuple[int, int, int, int, int, int]  # first, length, descriptor, offset, size, last


@pytest.fixture(scope="module")
def owner(stored: StoredFile) -> Owner:
    return Owner(stored.path)


@pytest.fixture
def copy(stored: StoredFile, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A file of its own to damage, and its descriptor."""
    path = tmp_path / "copy"
    shutil.copy(stored.path, path)
    descriptor = os.open(path, os.O_RDONLY)
    yield path, descriptor
    os.close(descriptor)


def opened(stored: StoredFile, runs: tuple[Run, ...], first: int = 0, end: int = COUNT, size: int = SECTOR) -> Any:
    return btspeed.open_stretches(KEY, BOUND, LEAF, first, b"".join(stored.hashes[first:end]), runs, size)


def expected(stored: StoredFile, first: int = 0, end: int = COUNT, size: int = SECTOR) -> bytes:
    """What `open_joined` makes of the records."""
    indexes = list(range(first, end))
    joined = btspeed.open_joined(KEY, BOUND, LEAF, indexes, stored.records[first:end], stored.hashes[first:end], size)
    assert joined is not None
    assert joined == b"".join(plain.ljust(size, b"\0") for plain in stored.plains[first:end])
    return joined


def cut(stored: StoredFile, descriptor: int, *bounds: int) -> tuple[Run, ...]:
    """The runs between these numbers."""
    return tuple(stored.stretch(descriptor, a, b) for a, b in itertools.pairwise(bounds))


@pytest.mark.parametrize(("first", "end"), [(0, 256), (0, COUNT), (5, 6), (31, 64), (256, COUNT), (299, COUNT)])
def test_a_run_that_holds_them_gives_what_joining_the_records_gives(
    stored: StoredFile, owner: Owner, first: int, end: int
) -> None:
    whole = stored.stretch(owner.descriptor)
    assert opened(stored, (whole,), first, end) == expected(stored, first, end)
    assert opened(stored, (stored.stretch(owner.descriptor, first, end),), first, end) == expected(stored, first, end)


@given(
    first=st.integers(0, COUNT - 1),
    count=st.integers(1, COUNT),
    bounds=st.sets(st.integers(1, COUNT - 1), max_size=40),
    size=st.sampled_from((SECTOR, SECTOR + 1, 5000)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_no_matter_how_the_records_are_cut_into_runs(
    stored: StoredFile, owner: Owner, first: int, count: int, bounds: set[int], size: int
) -> None:
    end = min(first + count, COUNT)
    every = cut(stored, owner.descriptor, 0, *sorted(bounds), COUNT)
    found = opened(stored, every, first, end, size)
    assert found == expected(stored, first, end, size)
    needed = tuple(run for run in every if run[0] + run[1] > first and run[0] < end)
    assert opened(stored, needed, first, end, size) == found


def test_runs_may_lie_in_several_files_and_anywhere_in_them(
    stored: StoredFile, owner: Owner, copy: tuple[Path, int]
) -> None:
    path, descriptor = copy
    path.write_bytes(b"x" * 11 + b"".join(stored.records[200:]) + b"y" * 3 + b"".join(stored.records[100:200]))
    tail = (200, 100, descriptor, 11, RECORD, len(stored.records[-1]))
    middle = (100, 100, descriptor, 11 + sum(map(len, stored.records[200:])) + 3, RECORD, RECORD)
    head = stored.stretch(owner.descriptor, 0, 100)
    assert opened(stored, (head, middle, tail)) == expected(stored)


def test_records_of_other_sizes_are_opened_too(tmp_path: Path) -> None:
    small = StoredFile(tmp_path / "small", 40)
    plains = [bytes([number]) * 100 for number in range(39)] + [b""]
    records = [small.cipher.seal(2**40 + n, plain, os.urandom(12)) for n, plain in enumerate(plains)]
    hashes = b"".join(leaf_hash(2**40 + n, record) for n, record in enumerate(records))
    small.path.write_bytes(b"".join(records))
    owner = Owner(small.path)
    run = (2**40, 40, owner.descriptor, 0, 100 + SEAL_SIZE, SEAL_SIZE)
    found = btspeed.open_stretches(KEY, BOUND, LEAF, 2**40, hashes, (run,), 128)
    assert found == b"".join(plain.ljust(128, b"\0") for plain in plains)
    empty = btspeed.open_stretches(
        KEY,
        BOUND,
        LEAF,
        2**40 + 39,
        hashes[-32:],
        ((2**40 + 39, 1, owner.descriptor, run[3] + 39 * 128, SEAL_SIZE, SEAL_SIZE),),
        0,
    )
    assert empty == b""


def test_runs_that_do_not_hold_all_of_them_give_nothing(stored: StoredFile, owner: Owner) -> None:
    descriptor = owner.descriptor
    head, tail = cut(stored, descriptor, 0, 100, COUNT)
    assert opened(stored, (head, tail)) is not None
    assert opened(stored, ()) is None
    assert opened(stored, (head,)) is None
    assert opened(stored, (tail,)) is None
    assert opened(stored, (tail, head)) is None, "not in order"
    assert opened(stored, (head, head, tail)) is None, "overlapping"
    assert opened(stored, (*cut(stored, descriptor, 0, 99), tail)) is None, "a gap"
    assert opened(stored, (*cut(stored, descriptor, 0, 101), tail)) is None, "overlapping by one"


def test_a_wrong_hash_or_a_hole_anywhere_gives_nothing(stored: StoredFile, owner: Owner) -> None:
    run = (stored.stretch(owner.descriptor),)
    for victim in (0, 1, 31, 32, 255, 298, 299):
        for wrong in (HOLE, stored.hashes[victim - 1], stored.hashes[victim][:-1] + b"\0"):
            hashes = b"".join([*stored.hashes[:victim], wrong, *stored.hashes[victim + 1 :]])
            assert btspeed.open_stretches(KEY, BOUND, LEAF, 0, hashes, run, SECTOR) is None


def test_another_key_block_or_number_gives_nothing(stored: StoredFile, owner: Owner) -> None:
    run, hashes = (stored.stretch(owner.descriptor, 0, 5),), b"".join(stored.hashes[:5])
    assert btspeed.open_stretches(bytes(32), BOUND, LEAF, 0, hashes, run, SECTOR) is None
    assert btspeed.open_stretches(KEY, BOUND + b"x", LEAF, 0, hashes, run, SECTOR) is None
    assert btspeed.open_stretches(KEY, BOUND, LEAF + b"x", 0, hashes, run, SECTOR) is None
    moved = ((1, *run[0][1:]),)
    assert btspeed.open_stretches(KEY, BOUND, LEAF, 1, hashes, moved, SECTOR) is None


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_is_noticed(
    stored: StoredFile, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(stored.path.read_bytes())
    bit = data.draw(st.integers(8 * SKIPPED, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.mktemp("flipped") / "file"
    path.write_bytes(content)
    assert opened(stored, (stored.stretch(Owner(path).descriptor),)) is None


@pytest.mark.parametrize("missing", [1, 34, 35, RECORD, 200 * RECORD])
def test_a_file_that_was_cut_gives_what_is_left_of_it_and_no_more(
    stored: StoredFile, copy: tuple[Path, int], missing: int
) -> None:
    path, descriptor = copy
    os.truncate(path, path.stat().st_size - missing)
    run = (stored.stretch(descriptor),)
    assert opened(stored, run) is None
    assert opened(stored, run, 0, 90) == expected(stored, 0, 90)


def test_what_cannot_be_read_gives_nothing(stored: StoredFile, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    closed = os.open(tmp_path / "file", os.O_RDONLY)
    os.close(closed)
    directory, (pipe, other) = os.open(tmp_path, os.O_RDONLY), os.pipe()
    write_only = os.open(stored.path, os.O_WRONLY)
    try:
        for descriptor in (-1, closed, 10**6, directory, pipe, write_only):
            assert opened(stored, (stored.stretch(descriptor),)) is None
    finally:
        for descriptor in (directory, pipe, other, write_only):
            os.close(descriptor)


FIELDS = ("first", "length", "descriptor", "offset", "size", "last")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("first", value) for value in (1, *HUGE)),
        *(("length", value) for value in (-(2**63), -1, 0, 1, COUNT + 1, 2**32, 2**50, 2**63 - 1)),
        *(("offset", value) for value in (-(2**63), -1, 0, SKIPPED + 1, 2**40, 2**63 - 1)),
        *(("size", value) for value in (-(2**63), -1, 0, SEAL_SIZE - 1, SEAL_SIZE, RECORD - 1, RECORD + 1, 2**63 - 1)),
        *(("last", value) for value in (-(2**63), -1, 0, SEAL_SIZE - 1, SEAL_SIZE, 34, 36, RECORD + 1, 2**63 - 1)),
    ],
)
def test_a_run_that_cannot_be_right_gives_nothing(stored: StoredFile, owner: Owner, field: str, value: int) -> None:
    run: list[int] = [*stored.stretch(owner.descriptor)]
    run[FIELDS.index(field)] = value
    assert opened(stored, (tuple(run),)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("length", 2**63), ("offset", 2**63), ("size", 2**63), ("descriptor", 2**31)]
)
def test_what_is_no_number_of_that_kind_raises(stored: StoredFile, owner: Owner, field: str, value: int) -> None:
    run: list[int] = [*stored.stretch(owner.descriptor)]
    run[FIELDS.index(field)] = value
    with pytest.raises(OverflowError):
        opened(stored, (tuple(run),))  # type: ignore[arg-type]


def test_the_last_numbers_there_are_do_no_harm(stored: StoredFile, owner: Owner) -> None:
    run, one = stored.stretch(owner.descriptor), stored.hashes[0]
    for first, length in itertools.product((2**63 - 1, 2**63, 2**64 - 2), (1, 2, 2**40)):
        assert btspeed.open_stretches(KEY, BOUND, LEAF, first, one, ((first, length, *run[2:]),), SECTOR) is None
    with pytest.raises(ValueError, match="there are no 1 sectors"):
        btspeed.open_stretches(KEY, BOUND, LEAF, 2**64 - 1, one, (run,), SECTOR)


def test_so_many_runs_are_taken_and_no_more(tmp_path: Path) -> None:
    many = StoredFile(tmp_path / "many", RUN_LIMIT + 1)
    owner = Owner(many.path)
    runs = cut(many, owner.descriptor, *range(RUN_LIMIT + 2))
    assert opened(many, runs[:RUN_LIMIT], 0, RUN_LIMIT) == b"".join(many.plains[:RUN_LIMIT])
    assert opened(many, runs, 0, RUN_LIMIT) is None
    assert opened(many, runs * 100, 0, RUN_LIMIT) is None


RUN = (0, 1, 0, 0, RECORD, RECORD)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"key": KEY[:-1]}, ValueError),
        ({"key": KEY + b"x"}, ValueError),
        ({"bound": b"x" * 129}, ValueError),
        ({"label": b"x" * 129}, ValueError),
        ({"hashes": bytes(31)}, ValueError),
        ({"hashes": bytes(33)}, ValueError),
        ({"size": -1}, ValueError),
        ({"size": (1 << 24) + 1}, ValueError),
        ({"first": 2**64 - 1}, ValueError),
        ({"key": bytearray(KEY)}, TypeError),
        ({"hashes": [bytes(32)]}, TypeError),
        ({"hashes": bytearray(32)}, TypeError),
        ({"first": "0"}, TypeError),
        ({"first": 0.5}, TypeError),
        ({"size": None}, TypeError),
        ({"runs": [RUN]}, TypeError),
        ({"runs": ([*RUN],)}, TypeError),
        ({"runs": (RUN[:-1],)}, TypeError),
        ({"runs": ((*RUN, 0),)}, TypeError),
        ({"runs": (("0", *RUN[1:]),)}, TypeError),
        ({"runs": ((*RUN[:-1], None),)}, TypeError),
        ({"runs": None}, TypeError),
        ({"runs": (None,)}, TypeError),
    ],
)
def test_wrong_arguments_raise(changes: dict[str, Any], error: type[Exception]) -> None:
    right: dict[str, Any] = {
        "key": KEY,
        "bound": BOUND,
        "label": LEAF,
        "first": 0,
        "hashes": bytes(32),
        "runs": (RUN,),
        "size": SECTOR,
    }
    with pytest.raises(error):
        btspeed.open_stretches(*(right | changes).values())


NUMBERS = st.integers(0, 2 * COUNT) | st.sampled_from((RECORD, SEAL_SIZE, SKIPPED, -1, *HUGE, 2**62, 2**32, -(2**63)))


@given(
    first=st.integers(0, COUNT) | st.integers(0, 2**64 - 1),
    hashes=st.integers(0, 70),
    runs=st.lists(st.tuples(*[NUMBERS] * 6), max_size=5),
    true=st.booleans(),
    size=st.sampled_from((0, 1, SECTOR, SECTOR + 5)),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_runs_say_the_answer_is_right_or_none_or_a_refusal(
    stored: StoredFile, owner: Owner, first: int, hashes: int, runs: list[tuple[int, ...]], true: bool, size: int
) -> None:
    given: tuple[Any, ...] = tuple((a, b, owner.descriptor, *rest) for a, b, _, *rest in runs)
    if true:
        given = (*given[:1], stored.stretch(owner.descriptor), *given[1:])
    wanted = b"".join((stored.hashes[first:] + [HOLE] * 70)[:hashes])
    try:
        found = btspeed.open_stretches(KEY, BOUND, LEAF, first, wanted, given, size)
    except (OverflowError, ValueError):
        return
    if found is not None:
        assert found == expected(stored, first, first + hashes, size)


def test_no_descriptor_and_no_reference_is_lost(stored: StoredFile, owner: Owner) -> None:
    run = stored.stretch(owner.descriptor)
    before = len([*Path("/proc/self/fd").iterdir()]), sys.getrefcount(run)
    for _ in range(20):
        opened(stored, (run,))
        opened(stored, (run, run))
        with pytest.raises(TypeError):
            opened(stored, (run, None))  # type: ignore[arg-type]
    assert (len([*Path("/proc/self/fd").iterdir()]), sys.getrefcount(run)) == before
