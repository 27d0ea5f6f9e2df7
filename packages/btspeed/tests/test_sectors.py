"""The compiled loops against the reference: the cipher and hash of `btlib.block`, one sector at a time."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import btspeed
import pytest
from btlib.block import NONCE_SIZE, SEAL_SIZE, SectorCipher, leaf_hash
from btlib.labels import Label
from hypothesis import given
from hypothesis import strategies as st

KEY, BLOCK = bytes(range(32)), bytes(range(16))
CIPHER = SectorCipher(KEY, BLOCK, 7)
BOUND = Label.SECTOR.value + BLOCK + (7).to_bytes(4, "little")
LEAF = Label.LEAF.value
SIZE = 4096
PACKAGE = Path(__file__).resolve().parent.parent

#: Sizes and counts around everything that the code treats on its own: empty, a batch, wide sectors, the unlocked bulk.
PLAINS = st.lists(st.sampled_from((0, 1, 15, 16, 100, SIZE - 1, SIZE, SIZE + 1, 16_384)), max_size=70)


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The extension built without Intel's multi-buffer library."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler here")
    place = tmp_path_factory.mktemp("narrow")
    shutil.copytree(PACKAGE / "src", place / "src", ignore=shutil.ignore_patterns("*.so"))
    shutil.copy(PACKAGE / "setup.py", place)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "out"]
    environment = {**os.environ, "BTSPEED_IPSEC_MB": "0"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (*(place / "out").rglob("_sectors*.so"),)
    spec = importlib.util.spec_from_file_location("_sectors", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["installed", "narrow"])
def sectors(request: pytest.FixtureRequest) -> ModuleType:
    return btspeed if request.param == "installed" else request.getfixturevalue("narrow")


def fresh(sizes: list[int]) -> tuple[list[int], list[bytes], bytes]:
    """Indexes, contents and nonces."""
    indexes = [5 + 3 * at for at in range(len(sizes))]
    plains = [bytes(((at + byte) * 7) % 256 for byte in range(16)) * (size // 16 + 1) for at, size in enumerate(sizes)]
    return (
        indexes,
        [plain[:size] for plain, size in zip(plains, sizes, strict=True)],
        os.urandom(NONCE_SIZE * len(sizes)),
    )


def sealed(sizes: list[int]) -> tuple[list[int], list[bytes], list[bytes], list[bytes]]:
    """Indexes, contents, stored forms and hashes, by the reference."""
    indexes, plains, nonces = fresh(sizes)
    cut = [nonces[at : at + NONCE_SIZE] for at in range(0, len(nonces), NONCE_SIZE)]
    stored = list(map(CIPHER.seal, indexes, plains, cut))
    return indexes, plains, stored, list(map(leaf_hash, indexes, stored))


def open_sectors(
    sectors: ModuleType, indexes: list[int], stored: list[bytes | None], hashes: list[bytes], size: int = 16_384
) -> list[bytes] | None:
    found: list[bytes] | None = sectors.open_sectors(KEY, BOUND, LEAF, indexes, stored, hashes, size)
    joined = sectors.open_joined(KEY, BOUND, LEAF, indexes, stored, hashes, size)
    assert joined == (None if found is None else b"".join(plain.ljust(size, b"\0") for plain in found))
    return found


@given(sizes=PLAINS)
def test_what_it_seals_is_what_the_reference_seals(sizes: list[int]) -> None:
    indexes, plains, nonces = fresh(sizes)
    stored, hashes = btspeed.seal_sectors(KEY, BOUND, LEAF, indexes, plains, nonces)
    cut = [nonces[at : at + NONCE_SIZE] for at in range(0, len(nonces), NONCE_SIZE)]
    assert stored == list(map(CIPHER.seal, indexes, plains, cut))
    assert hashes == list(map(leaf_hash, indexes, stored))


@given(st.lists(st.sampled_from((0, 1, SIZE, SIZE + SEAL_SIZE, 16_384)), max_size=70))
def test_what_it_hashes_is_what_the_reference_hashes(sizes: list[int]) -> None:
    indexes, records = [3 * number for number in range(len(sizes))], [os.urandom(size) for size in sizes]
    assert btspeed.hash_sectors(LEAF, indexes, records) == list(map(leaf_hash, indexes, records))


def test_many_views_are_hashed_as_what_they_show(sectors: ModuleType) -> None:
    record = os.urandom(SIZE)
    views = [memoryview(record)[number:] for number in range(100)]
    indexes = list(range(100))
    assert sectors.hash_sectors(LEAF, indexes, views) == list(map(leaf_hash, indexes, views))


@pytest.mark.parametrize(
    "arguments",
    [(LEAF, (1,), [b"a"]), (LEAF, [1], []), (LEAF, [1], [None]), (LEAF, [-1], [b"a"]), (bytes(129), [1], [b"a"])],
)
def test_what_cannot_be_hashed_raises(sectors: ModuleType, arguments: tuple[object, ...]) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        sectors.hash_sectors(*arguments)


@given(sizes=PLAINS)
def test_it_opens_what_the_reference_sealed(sizes: list[int]) -> None:
    indexes, plains, stored, hashes = sealed(sizes)
    assert open_sectors(btspeed, indexes, [*stored], hashes) == plains


@pytest.mark.parametrize("count", [1, 3, 4, 31, 32, 33, 256])
def test_both_builds_agree(sectors: ModuleType, count: int) -> None:
    indexes, plains, nonces = fresh([SIZE] * count)
    stored, hashes = sectors.seal_sectors(KEY, BOUND, LEAF, indexes, plains, nonces)
    assert (stored, hashes) == btspeed.seal_sectors(KEY, BOUND, LEAF, indexes, plains, nonces)
    assert open_sectors(sectors, indexes, stored, hashes) == plains


@given(sizes=st.lists(st.sampled_from((1, 100, SIZE)), min_size=1, max_size=40), data=st.data())
def test_any_flipped_bit_is_noticed(sizes: list[int], data: st.DataObject) -> None:
    indexes, _, stored, hashes = sealed(sizes)
    at = data.draw(st.integers(0, len(sizes) - 1))
    victim = bytearray(stored[at])
    bit = data.draw(st.integers(0, 8 * len(victim) - 1))
    victim[bit // 8] ^= 1 << bit % 8
    damaged: list[bytes | None] = [*stored]
    damaged[at] = bytes(victim)
    assert open_sectors(btspeed, indexes, damaged, hashes) is None
    hashes[at] = leaf_hash(indexes[at], bytes(victim))  # whoever has the hash right fails at the seal
    assert open_sectors(btspeed, indexes, damaged, hashes) is None


@pytest.mark.parametrize("count", [1, 40])
def test_what_cannot_be_a_sector_is_none(sectors: ModuleType, count: int) -> None:
    indexes, _, stored, hashes = sealed([SIZE] * count)
    for wrong in (None, b"", stored[0][: SEAL_SIZE - 1], stored[0][:-1], stored[0] + b"\0"):
        assert open_sectors(sectors, indexes, [*stored[:-1], wrong], hashes) is None
    assert open_sectors(sectors, indexes, [*stored], [*hashes[:-1], bytes(31)]) is None
    assert open_sectors(sectors, indexes, [*stored], hashes, SIZE - 1) is None
    moved = [index + 1 for index in indexes]
    assert open_sectors(sectors, moved, [*stored], list(map(leaf_hash, moved, stored))) is None


@pytest.mark.parametrize("size", [0, 1, 100, SIZE])
def test_one_is_read_from_a_file_and_opened(sectors: ModuleType, tmp_path: Path, size: int) -> None:
    stored = CIPHER.seal(2**40, bytes(size), os.urandom(NONCE_SIZE))
    file = tmp_path / "file"
    file.write_bytes(b"before" + stored + b"behind")
    found = leaf_hash(2**40, stored)
    with file.open("rb") as opened:

        def read(offset: int = 6, length: int = len(stored), index: int = 2**40, expected: bytes = found) -> object:
            place = opened.fileno(), offset, length, index, expected, SIZE
            return sectors.open_at(KEY, BOUND, LEAF, *place)

        assert read() == bytes(size)
        assert read(offset=5) is None
        assert read(offset=10**6) is None
        assert read(offset=-1) is None
        assert read(length=len(stored) + 1) is None
        assert read(length=SEAL_SIZE - 1) is None
        assert read(length=SIZE + SEAL_SIZE + 1) is None
        assert read(index=7) is None
        assert read(expected=bytes(32)) is None
        assert read(expected=found[:31]) is None
    with pytest.raises(ValueError, match="32 bytes"):
        sectors.open_at(KEY[:31], BOUND, LEAF, 0, 0, len(stored), 0, found, SIZE)
    assert sectors.open_at(KEY, BOUND, LEAF, 10**6, 0, len(stored), 2**40, found, SIZE) is None


def test_views_and_bytearrays_are_taken_too(sectors: ModuleType) -> None:
    indexes, plains, stored, hashes = sealed([SIZE] * 5)
    kinds = [memoryview(stored[0]), bytearray(stored[1]), memoryview(b"x" + stored[2])[1:], *stored[3:]]
    assert sectors.open_sectors(KEY, BOUND, LEAF, indexes, kinds, hashes, SIZE) == plains


@pytest.mark.parametrize(
    "arguments",
    [
        (KEY[:-1], BOUND, LEAF, [0], [b""], bytes(12)),
        (KEY, b"x" * 129, LEAF, [0], [b""], bytes(12)),
        (KEY, BOUND, b"x" * 129, [0], [b""], bytes(12)),
        (KEY, BOUND, LEAF, [0], [b""], bytes(11)),
        (KEY, BOUND, LEAF, [0], [], bytes(12)),
        (KEY, BOUND, LEAF, (0,), [b""], bytes(12)),
    ],
)
def test_wrong_arguments_raise(sectors: ModuleType, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match=r"must|has|need"):
        sectors.seal_sectors(*arguments)


@pytest.mark.parametrize(("index", "error"), [(-1, OverflowError), (2**64, OverflowError), ("0", TypeError)])
def test_an_index_is_64_bits(sectors: ModuleType, index: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        sectors.seal_sectors(KEY, BOUND, LEAF, [index], [b""], bytes(12))
    with pytest.raises(error):
        sectors.open_sectors(KEY, BOUND, LEAF, [index], [bytes(28)], [bytes(32)], SIZE)


def test_threads_do_not_disturb_each_other(sectors: ModuleType) -> None:
    indexes, plains, stored, hashes = sealed([SIZE] * 64)
    wrong: list[object] = []

    def work() -> None:
        for _ in range(50):
            if sectors.open_sectors(KEY, BOUND, LEAF, indexes, stored, hashes, SIZE) != plains:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_memory_is_lost(sectors: ModuleType) -> None:
    indexes, _, stored, hashes = sealed([SIZE] * 64)
    references = [sys.getrefcount(item) for item in (*stored, *hashes)]
    for _ in range(20):
        sectors.open_sectors(KEY, BOUND, LEAF, indexes, stored, hashes, SIZE)
        sectors.open_sectors(KEY, BOUND, LEAF, indexes, [*stored[:-1], None], hashes, SIZE)
    assert [sys.getrefcount(item) for item in (*stored, *hashes)] == references


class Trap:
    """Garbage that acts when it is collected."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.itself, self.act = self, act

    def __del__(self) -> None:
        self.act()


def call_with_trap(function: Callable[..., object], arguments: tuple[object, ...], act: Callable[[], object]) -> object:
    """Call a function, and act as soon as that allocates a list."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.disable()
    spare = [list[object]() for _ in range(200)]  # so that none is free that would be taken without a collection
    try:
        Trap(act)
        gc.set_threshold(1)
        gc.enable()
        return function(*arguments)
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()
        spare.clear()


in_a_call = pytest.mark.skipif(sys.version_info >= (3, 12), reason="garbage is collected between calls only")


@in_a_call
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_list_that_gets_shorter_while_it_is_read_raises(sectors: ModuleType, which: int) -> None:
    indexes, plains, stored, hashes = sealed([SIZE] * 5)
    lists: list[list[Any]] = [indexes, stored, hashes]
    with pytest.raises(IndexError):
        call_with_trap(sectors.open_sectors, (KEY, BOUND, LEAF, *lists, SIZE), lists[which].clear)
    if which < 2:
        lists = [list(range(5)), plains]
        with pytest.raises(IndexError):
            call_with_trap(sectors.seal_sectors, (KEY, BOUND, LEAF, *lists, bytes(60)), lists[which].clear)


@in_a_call
def test_lists_that_get_longer_while_they_are_read_count_as_they_were(sectors: ModuleType) -> None:
    indexes, plains, stored, hashes = sealed([SIZE] * 5)
    expected = list(plains)

    def lengthen() -> None:
        lists: tuple[list[Any], ...] = (indexes, plains, stored, hashes)
        for items in lists:
            items.extend(items[:1] * 10_000)

    assert call_with_trap(sectors.open_sectors, (KEY, BOUND, LEAF, indexes, stored, hashes, SIZE), lengthen) == expected
    indexes, plains, nonces = fresh([SIZE] * 5)
    made = call_with_trap(sectors.seal_sectors, (KEY, BOUND, LEAF, indexes, plains, nonces), lengthen)
    assert made == sectors.seal_sectors(KEY, BOUND, LEAF, indexes[:5], plains[:5], nonces)


def test_hashes_may_be_replaced_by_another_thread(sectors: ModuleType) -> None:
    indexes, plains, stored, hashes = sealed([SIZE] * 256)
    shared, done, interval = list(hashes), threading.Event(), sys.getswitchinterval()

    def replace() -> None:
        while not done.is_set():
            shared[:] = [bytes(bytearray(digest)) for digest in hashes]
            [bytes(bytearray(32)) for _ in range(600)]  # where the old ones were

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        sys.setswitchinterval(1e-5)
        for _ in range(30):
            assert sectors.open_sectors(KEY, BOUND, LEAF, indexes, stored, shared, SIZE) == plains
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
