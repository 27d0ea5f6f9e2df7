"""The kept corpus through every target: what was found once stays mended. No atheris is needed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.seeds import CORPUS, MAX_SEED
from tests.fuzz.target import MAX_INPUT
from tests.fuzz.targets import TARGETS

NEEDS_A_LIBRARY = {"tpm-file"}  #: targets that are not there without the library of chips
FILES = sorted(CORPUS.glob("*/*"))
HERE = [file for file in FILES if file.parent.name in TARGETS]


def inputs(name: str) -> list[Path]:
    return [file for file in HERE if file.parent.name == name]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_or_refuses_its_corpus(name: str) -> None:
    verdicts = [TARGETS[name].accepts(file.read_bytes()) for file in inputs(name)]
    assert any(verdicts), "no seed is accepted: the fuzzer would never come past the first check"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_or_refuses_what_is_cut_off_or_changed(name: str) -> None:
    """A few thousandths of what the fuzzer does, always: each seed cut at eight places, and a bit flipped at eight."""
    for file in inputs(name)[:4]:
        data = file.read_bytes()
        for place in range(0, len(data), len(data) // 8 + 1):
            TARGETS[name].accepts(data[:place])
            TARGETS[name].accepts(data[:place] + bytes((data[place] ^ 1 << place % 8,)) + data[place + 1 :])
        TARGETS[name].accepts(data + b"\0")


def test_every_directory_of_the_corpus_belongs_to_a_target() -> None:
    assert {file.parent.name for file in FILES} - set(TARGETS) <= NEEDS_A_LIBRARY
    assert set(TARGETS) <= {file.parent.name for file in FILES}


def test_the_corpus_is_small() -> None:
    assert all(file.stat().st_size <= max(MAX_SEED, MAX_INPUT) for file in FILES)
    assert sum(file.stat().st_size for file in FILES) < 2 << 20
