"""Pins: what was seen is remembered, and only grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from btfproto.errors import FsError
from btfproto.localfs import FilePins, MemoryPins, Pins, SeenStore
from btfproto.localfs._pins import BATCH, STORE_BATCH, WAITING
from btlib.kinds import Kind

BLOCK, OTHER = bytes(16), bytes(range(16))


@pytest.fixture(params=["memory", "file"])
def pins(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pins]:
    made: Pins = MemoryPins() if request.param == "memory" else FilePins(tmp_path / "pins")
    yield made
    made.close()


def test_a_block_never_seen_has_version_zero(pins: Pins) -> None:
    assert pins.seen(BLOCK) == 0


def test_versions_only_grow_unless_accepted(pins: Pins) -> None:
    pins.note({BLOCK: 5, OTHER: 1})
    pins.note({BLOCK: 3})
    assert (pins.seen(BLOCK), pins.seen(OTHER)) == (5, 1)
    pins.flush()
    pins.note({BLOCK: 4})
    pins.flush()
    assert pins.seen(BLOCK) == 5
    pins.accept({BLOCK: 2})
    assert pins.seen(BLOCK) == 2


def test_what_is_seen_later_is_not_what_was_seen_before(pins: Pins) -> None:
    pins.note({BLOCK: 5})
    with pins.as_of_now() as seen:
        pins.note({BLOCK: 6, OTHER: 1})
        pins.flush()
        assert (seen(BLOCK), seen(OTHER)) == (5, 0)
    assert (pins.seen(BLOCK), pins.seen(OTHER)) == (6, 1)


def test_what_another_process_sees_later_is_not_what_was_seen_before(tmp_path: Path) -> None:
    ours, theirs = FilePins(tmp_path / "pins"), FilePins(tmp_path / "pins")
    theirs.note({BLOCK: 5})
    theirs.flush()
    with ours.as_of_now() as seen:
        theirs.note({BLOCK: 6, OTHER: 1})
        theirs.flush()
        assert (ours.seen(BLOCK), seen(BLOCK), seen(OTHER)) == (6, 5, 0)
    ours.close()
    theirs.close()


def test_what_was_seen_of_stores_only_grows_unless_accepted(pins: Pins) -> None:
    assert pins.seen_stores() == {}
    pins.note_store(BLOCK, SeenStore(500, 500, b"a" * 16))
    pins.note_store(OTHER, SeenStore(1))
    pins.note_store(BLOCK, SeenStore(499, 499, b"b" * 16))
    pins.flush()
    pins.note_store(BLOCK, SeenStore(498))
    pins.flush()
    assert pins.seen_stores() == {BLOCK: SeenStore(500, 500, b"a" * 16), OTHER: SeenStore(1)}
    pins.note_store(BLOCK, SeenStore(600))
    assert pins.seen_stores()[BLOCK] == SeenStore(600, 500, b"a" * 16)
    pins.accept_store(BLOCK, SeenStore(400, 400, b"c" * 16))
    pins.note_store(BLOCK, SeenStore(399))
    pins.flush()
    assert pins.seen_stores()[BLOCK] == SeenStore(400, 400, b"c" * 16)
    assert pins.seen(BLOCK) == 0, "a store is no block"


def test_two_processes_note_into_one_file(tmp_path: Path) -> None:
    one, two = FilePins(tmp_path / "pins"), FilePins(tmp_path / "pins")
    one.note_store(BLOCK, SeenStore(10, 10, b"a" * 16))
    two.note_store(BLOCK, SeenStore(20, 20, b"b" * 16))
    one.note_store(BLOCK, SeenStore(15, 15, b"c" * 16))
    one.close()
    two.close()
    again = FilePins(tmp_path / "pins")
    assert again.seen_stores() == {BLOCK: SeenStore(20, 20, b"b" * 16)}
    again.close()


def test_a_number_that_no_file_can_keep_is_kept_as_the_highest(tmp_path: Path) -> None:
    pins = FilePins(tmp_path / "pins")
    pins.note({BLOCK: 2**64 - 1})
    pins.note_store(OTHER, SeenStore(2**64 - 1, 2**64 - 1, b"a" * 16))
    pins.close()
    pins = FilePins(tmp_path / "pins")
    assert pins.seen(BLOCK) == pins.seen_stores()[OTHER].cursor == 2**63 - 1
    pins.close()


def test_who_is_killed_forgets_few_commits_of_a_store(tmp_path: Path) -> None:
    killed = FilePins(tmp_path / "pins")
    for cursor in range(1, 1000):
        killed.note_store(BLOCK, SeenStore(cursor))
    other = FilePins(tmp_path / "pins")  # sees what the first one has written
    assert 999 - STORE_BATCH <= other.seen_stores()[BLOCK].cursor <= 999
    other.close()
    killed.close()


def test_a_full_disk_stops_nobody_and_what_was_seen_is_written_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pins = FilePins(tmp_path / "pins")
    pins._connection.execute("PRAGMA max_page_count = 4")
    many = {number.to_bytes(16, "big"): number + 1 for number in range(3 * BATCH)}
    for block, version in many.items():
        pins.note({block: version})
    pins.note_store(OTHER, SeenStore(7))
    pins.flush()
    assert [record.message for record in caplog.records if "not remembered" in record.message] != []
    assert len([record for record in caplog.records if "not remembered" in record.message]) == 1
    assert all(pins.seen(block) == version for block, version in many.items())
    pins._connection.execute("PRAGMA max_page_count = 100000")
    pins.close()
    again = FilePins(tmp_path / "pins")
    assert dict(again.all()) == many
    assert again.seen_stores()[OTHER] == SeenStore(7)
    again.close()


def test_what_waits_for_room_is_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    pins = FilePins(tmp_path / "pins")
    pins._connection.execute("PRAGMA max_page_count = 4")
    blocks = [number.to_bytes(16, "big") for number in range(WAITING + 3 * BATCH)]
    for block in blocks:
        pins.note({block: 5})
    assert len(pins._fresh) <= WAITING + BATCH
    assert pins.seen(blocks[-1]) == 5
    pins.close()


def test_pins_of_a_file_survive(tmp_path: Path) -> None:
    first = FilePins(tmp_path / "pins")
    first.note({number.to_bytes(16, "big"): number + 1 for number in range(BATCH + 10)})
    first.close()
    first.close()
    second = FilePins(tmp_path / "pins")
    assert second.seen((BATCH + 5).to_bytes(16, "big")) == BATCH + 6
    second.close()


def test_a_damaged_file_is_refused_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "pins").write_bytes(b"no database" * 1000)
    with pytest.raises(FsError, match="move it away") as error:
        FilePins(tmp_path / "pins")
    assert error.value.kind is Kind.IO


def test_all_pins_of_a_file_are_listed_also_those_just_noted(tmp_path: Path) -> None:
    pins = FilePins(tmp_path / "pins")
    pins.note({OTHER: 7})
    pins.flush()
    pins.note({BLOCK: 5, OTHER: 6})
    assert pins.all() == [(BLOCK, 5), (OTHER, 7)]
    pins.close()
