"""Pins: what was seen is remembered, and only grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from btfproto.errors import FsError
from btfproto.localfs import FilePins, MemoryPins, Pins
from btfproto.localfs._pins import BATCH
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
