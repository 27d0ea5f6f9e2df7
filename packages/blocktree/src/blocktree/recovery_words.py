"""Secret words, shown and taken back in: from a person who types, or from a private file; never from arguments.

What is typed is not shown. Each word is checked against its list at once, so that a slip costs one word and not 24.
"""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from btlib.credentials import Credentials
from btlib.home import read_passphrase_file
from btlib.kinds import Kind
from btlib.public_keys import Suite
from btlib.words import WORD_COUNT, is_word, words_to_seed

from .asking import ANSWER, TRIES, ask, at_terminal
from .errors import CommandError
from .output import remark

WORDS_A_LINE = 4
CHECKED_WORDS = 3  #: words typed back: enough to see that they were written down, few enough to be done


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
    return words_to_seed(" ".join(typed_words("Recovery word", WORD_COUNT, is_word)))


def roots_of(seed: bytes) -> list[Credentials]:
    """What a seed can be the root of: the words do not say the suite."""
    return [Credentials(suite=suite, seed=seed) for suite in Suite]


def numbered_lines(words: Sequence[str]) -> Iterator[str]:
    """Words as they are shown for writing down. Secret, as they are."""
    for start in range(0, len(words), WORDS_A_LINE):
        line = enumerate(words[start : start + WORDS_A_LINE], start + 1)
        yield "  ".join(f"{number:3}. {word:<9}" for number, word in line)


def ask_back(words: Sequence[str], *, hint: str) -> None:
    """Have some of the words just shown typed back. Raises CommandError after several wrong answers to one."""
    remark("\nTyped back, so that you know you can read them:")
    for number in sorted(secrets.SystemRandom().sample(range(1, len(words) + 1), CHECKED_WORDS)):
        _ask_word(number, words[number - 1], hint)


def _ask_word(number: int, word: str, hint: str) -> None:
    for _ in range(TRIES):
        if ask(f"word {number}:").lower() == word:
            return
        remark("That is not it; look again.")
    raise CommandError(f"word {number} was wrong {TRIES} times; nothing was made", kind=Kind.CANCELLED, hint=hint)


def typed_words(what: str, count: int, known: Callable[[str], bool]) -> list[str]:
    """So many words of a list, typed without being shown, one or several at a time."""
    words: list[str] = []
    failures = 0
    while len(words) < count:
        typed = _hidden(f"{what} {len(words) + 1} of {count}: ").split()
        for place, word in enumerate(typed, len(words) + 1):
            if not known(word):
                failures += 1
                remark(f"Word {place} is not in the list of {what.lower()}s; go on with it.")
                break
            words.append(word)
            failures = 0
        if failures == TRIES:
            raise CommandError(
                f"no word of the list after {TRIES} tries; nothing was changed",
                kind=Kind.CANCELLED,
                hint="run it again",
            )
    return words


def _hidden(prompt: str) -> str:
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError:
        raise CommandError("the input ended where an answer was needed", hint=ANSWER) from None
