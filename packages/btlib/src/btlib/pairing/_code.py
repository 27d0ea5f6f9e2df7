"""The code of an invitation: four words, and where to meet.

    code   = meeting word "-" word "-" word "-" word [ "@" place ]

The meeting word is public: it tells invitations at one place apart. The other three are the secret, 33 bits; that is
enough because each code allows one guess. A mistyped word that is no word of the list is refused before anybody is
asked, and so costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ..errors import PairingError
from ..kinds import Kind
from ..words import find_word, number_of, word_at

WORDS = 4
WORD_BITS = 11
MAX_CODE = 512  #: characters: four words and a host name of 253
_PLACE = re.compile(r"[!-~]{1,300}")  #: printable ASCII; what it means is for the shell that dials


class InvitationCode(msgspec.Struct, frozen=True, kw_only=True):
    """Valid once made. Secret: `str()` gives it in full, `repr` only the meeting word."""

    words: tuple[str, ...]
    place: str | None = None  #: where the inviter waits, as an endpoint; None: to be found in the local network

    @classmethod
    def generate(cls, random: Callable[[int], bytes], place: str | None = None) -> InvitationCode:
        """A fresh code. `random` gives that many random bytes."""
        number = int.from_bytes(random(6)) & ((1 << WORDS * WORD_BITS) - 1)
        words = tuple(word_at(number >> WORD_BITS * index & 0x7FF) for index in range(WORDS))
        return cls(words=words, place=place)

    @classmethod
    def parse(cls, text: str) -> InvitationCode:
        """As printed, or with spaces, in any case, words cut to four letters. Raises PairingError, quoting no word."""
        if len(text) > MAX_CODE:
            raise _bad(f"a code has at most {MAX_CODE} characters")
        spoken, at, place = text.strip().partition("@")
        parts = [part for part in re.split(r"[\s-]+", spoken) if part]
        if len(parts) != WORDS:
            raise _bad(f"a code has {WORDS} words, not {len(parts)}")
        words = tuple(_word(part, number) for number, part in enumerate(parts, 1))
        if at and not _PLACE.fullmatch(place):
            raise _bad("after the @ of a code stands where to meet, as HOST:PORT")
        return cls(words=words, place=place if at else None)

    @property
    def meeting(self) -> int:
        """The number of the meeting word, which everybody may see."""
        return number_of(self.words[0])

    @property
    def secret(self) -> bytes:
        """What both ends prove to know: all four words, as printed, without the place."""
        return self.spoken.encode()

    @property
    def spoken(self) -> str:
        """The words, as printed; all that counts, and what somebody is told on the telephone."""
        return "-".join(self.words)

    def __str__(self) -> str:
        return self.spoken if self.place is None else f"{self.spoken}@{self.place}"

    def __repr__(self) -> str:
        return f"InvitationCode({self.words[0]}-…, place={self.place!r})"


def _word(text: str, number: int) -> str:
    found = find_word(text)
    if found is None:
        raise _bad(f"word {number} of the code is not in the list of words")
    return found


def _bad(why: str) -> PairingError:
    return PairingError(why, kind=Kind.INVALID, hint="check it with the other end; nothing was tried yet")
