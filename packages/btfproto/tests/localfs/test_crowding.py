"""What is committed in large pieces is not cached, and nothing that was cached of it before is read again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from btfproto.localfs import FsOptions, LocalFs
from btfproto.localfs._blocks import _runs
from btfproto.localfs._cache import WeightedCache, new_base
from btfproto.localfs._group import CROWDING
from btfproto.provider import Handle, OpenFlags, Owner
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from .conftest import OpenFs

ME = Owner(1, 1)
SECTOR = 4096
STEP = 128 * 1024
CACHE = 8 * 2**20  #: the least with which there are chunks
CROWD = CACHE >> CROWDING
SIZE = 5 * 2**20  #: of the file: five chunks
QUICKLY = (Phase.explicit, Phase.reuse, Phase.generate)  # to look for the least failing example takes minutes here
OPTIONS = FsOptions(commit_interval=None, cache_bytes=CACHE)


def content(seed: int, size: int) -> bytes:
    return b"".join((seed * 10_007 + sector).to_bytes(4, "little") * 1024 for sector in range(size // SECTOR))


def read_in_sequence(fs: LocalFs, handle: Handle) -> bytes:
    return b"".join(fs.read(handle, at, STEP) for at in range(0, SIZE, STEP))


#: What is done to the file: where, how many sectors, whether it is read in sequence before, and committed.
CHANGES = st.lists(
    st.tuples(
        st.integers(0, SIZE // SECTOR - 1),
        st.sampled_from((1, 2, 100, CROWD // SECTOR - 1, CROWD // SECTOR + 1, SIZE // SECTOR)),
        st.booleans(),
        st.booleans(),
        st.lists(st.integers(0, SIZE - 1), max_size=4),
    ),
    min_size=1,
    max_size=5,
)


@given(CHANGES)
@example([(0, SIZE // SECTOR, True, True, [5 * SECTOR])])
@settings(max_examples=25, phases=QUICKLY, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_reads_after_a_large_commit_reads_what_was_written_last(
    open_fs: OpenFs, changes: list[tuple[int, int, bool, bool, list[int]]]
) -> None:
    fs = open_fs(options=OPTIONS)
    handle = fs.create(fs.root, "f", 0o600, ME, OpenFlags.READ | OpenFlags.WRITE)[1]
    model = bytearray(content(0, SIZE))
    fs.write(handle, 0, bytes(model))
    fs.sync()
    for seed, (first, count, in_sequence, committed, places) in enumerate(changes, 1):
        if in_sequence:
            assert read_in_sequence(fs, handle) == model
        for place in places:
            assert fs.read(handle, place, 100) == model[place : place + 100]
        piece = content(seed, min(count * SECTOR, SIZE - first * SECTOR))
        fs.write(handle, first * SECTOR, piece)
        model[first * SECTOR : first * SECTOR + len(piece)] = piece
        if committed:
            fs.sync()
        for place in places:
            assert fs.read(handle, place, 100) == model[place : place + 100]
    fs.sync()
    assert read_in_sequence(fs, handle) == model
    fs.close(handle)
    fs.unlink(fs.root, "f")  # for the next example
    fs.shutdown()


def test_a_large_commit_leaves_the_cache_to_others_and_a_small_one_stays_in_it(open_fs: OpenFs) -> None:
    fs = open_fs(options=OPTIONS)
    for name, size, cached in (("small", CROWD, CROWD // SECTOR), ("large", CROWD + SECTOR, CROWD // SECTOR)):
        handle = fs.create(fs.root, name, 0o600, ME, OpenFlags.READ | OpenFlags.WRITE)[1]
        fs.write(handle, 0, content(1, size))
        fs.sync()
        assert len(fs.sectors) == cached


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 9)), st.sets(st.integers(0, 60)), st.integers(20, 200))
def test_dropping_many_is_dropping_each(items: dict[int, int], keys: Iterable[int], limit: int) -> None:
    base, other = new_base(), new_base()
    together: WeightedCache[int] = WeightedCache(limit)
    singly: WeightedCache[int] = WeightedCache(limit)
    for key, weight in items.items():
        for cache in (together, singly):
            cache.put(base + key, key, weight)
            cache.put(other + key, -key, 1)
    together.drop_all(base, keys)
    for key in keys:
        singly.drop(base + key)
    every = [where + key for where in (base, other) for key in range(61)]
    assert together.weight == singly.weight
    assert [key in together for key in every] == [key in singly for key in every]


@given(
    st.one_of(
        st.dictionaries(st.integers(0, 60), st.binary(max_size=3)),
        st.integers(0, 9).map(lambda n: {n + at: b"x%d" % at for at in reversed(range(20))}),
    )
)
def test_runs_hold_every_record_once_in_order_and_are_as_long_as_can_be(records: dict[int, bytes]) -> None:
    runs = list(_runs(3, records))
    found = [(run.first + at, record) for run in runs for at, record in enumerate(run.records)]
    assert found == sorted(records.items())
    assert all(run.level == 3 and run.records for run in runs)
    assert all(a.first + len(a.records) < b.first for a, b in itertools.pairwise(runs))
