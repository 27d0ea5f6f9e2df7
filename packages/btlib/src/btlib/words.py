"""Recovery words: a seed as 24 English words (BIP-39's list and checksum), to be kept on paper.

The words hold the seed alone, not its suite. Their checksum has eight bits: it catches 255 of 256 mistakes, so whoever
makes keys again from words should compare the principal they give with the one that is expected.
BIP-39's stretching and passphrase are not used; the words are the seed itself.
"""

from __future__ import annotations

from functools import cache

from mnemonic import Mnemonic

from .errors import CredentialError
from .key_pairs import SEED_SIZE

WORD_COUNT = 24


def seed_to_words(seed: bytes) -> tuple[str, ...]:
    """The words of a seed. Secret, as the seed is. Raises CredentialError unless it has 32 bytes."""
    if len(seed) != SEED_SIZE:
        raise CredentialError(f"a seed has {SEED_SIZE} bytes, not {len(seed)}")
    return tuple(_dictionary().to_mnemonic(seed).split())


def words_to_seed(text: str) -> bytes:
    """The seed of words parted by white space, in any case; their first four letters suffice.

    Raises CredentialError that names the place of a wrong word, never the word.
    """
    words = [_dictionary().expand_word(word) for word in text.lower().split()]
    if len(words) != WORD_COUNT:
        raise CredentialError(f"there are {WORD_COUNT} recovery words, not {len(words)}")
    known = set(_dictionary().wordlist)
    for place, word in enumerate(words, 1):
        if word not in known:
            raise CredentialError(f"word {place} is not in the list of recovery words", hint="check its spelling")
    try:
        return bytes(_dictionary().to_entropy(words))
    except ValueError:
        raise CredentialError(
            "the recovery words do not belong together", hint="check that each is right and in its place"
        ) from None


def is_word(text: str) -> bool:
    """Whether this is a recovery word, in any case; its first four letters suffice."""
    dictionary = _dictionary()
    return dictionary.expand_word(text.lower()) in dictionary.wordlist


def word_at(number: int) -> str:
    """The word of eleven bits. Raises IndexError for others."""
    return str(_dictionary().wordlist[number])


def find_word(text: str) -> str | None:
    """The word of the list that is meant, in any case; its first four letters suffice."""
    word = _dictionary().expand_word(text.lower())
    return word if word in _dictionary().wordlist else None


def number_of(word: str) -> int:
    """The eleven bits of a word. Raises ValueError for what is none."""
    return int(_dictionary().wordlist.index(word))


@cache
def _dictionary() -> Mnemonic:
    return Mnemonic("english")
