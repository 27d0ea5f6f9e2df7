"""Recovery words, shown and taken back in: from a person who types, or from a private file; never from arguments.

What is typed is not shown. Each word is checked against the list at once, so that a slip costs one word and not 24.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from btlib.credentials import Credentials
from btlib.home import read_passphrase_file
from btlib.kinds import Kind
from btlib.public_keys import Suite
from btlib.words import WORD_COUNT, is_word, words_to_seed

from .asking import TRIES, at_terminal
from .errors import CommandError
from .output import remark

WORDS_A_LINE = 4


def take_words(file: Path | None) -> bytes:
    """The seed of 24 words: from the first line of `file` where one is given, else typed.

    Raises CommandError, HomeError, and CredentialError where the words are no recovery words.
    """
    if file is not None:
        return words_to_seed(read_passphrase_file(file))
    if not at_terminal():
        raise CommandError(
            "the recovery words are needed, and there is no terminal to type them at",
            kind=Kind.UNAUTHENTICATED,
            hint="use --words-file FILE",
        )
    remark(f"Type the {WORD_COUNT} recovery words, one or several at a time; they are not shown.")
    return words_to_seed(" ".join(_typed()))


def roots_of(seed: bytes) -> list[Credentials]:
    """What a seed can be the root of: the words do not say the suite."""
    return [Credentials(suite=suite, seed=seed) for suite in Suite]


def numbered_lines(words: Sequence[str]) -> Iterator[str]:
    """Words as they are shown for writing down. Secret, as they are."""
    for start in range(0, len(words), WORDS_A_LINE):
        line = enumerate(words[start : start + WORDS_A_LINE], start + 1)
        yield "  ".join(f"{number:3}. {word:<9}" for number, word in line)


def _typed() -> list[str]:
    words: list[str] = []
    failures = 0
    while len(words) < WORD_COUNT:
        typed = _hidden(f"Recovery word {len(words) + 1} of {WORD_COUNT}: ").split()
        for place, word in enumerate(typed, len(words) + 1):
            if not is_word(word):
                failures += 1
                remark(f"Word {place} is not in the list of recovery words; go on with it.")
                break
            words.append(word)
            failures = 0
        if failures == TRIES:
            raise CommandError(f"no word of the list after {TRIES} tries; nothing was changed", kind=Kind.CANCELLED)
    return words


def _hidden(prompt: str) -> str:
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError:
        raise CommandError("the input ended where an answer was needed") from None
