"""Shares: a seed as N sheets of 33 words of which any M make it again, and fewer say nothing about it (SLIP-39).

    seed → one group, M of N; no passphrase; iteration exponent 0; extendable         M from 2 to N, N up to 16

A share carries a checksum that finds any three wrong words, its number, M, and the number of its set; a digest of the
seed finds a share of another one. Any SLIP-39 tool gives the seed from them. A share says nothing of the domain it is
for; whoever writes one down notes that beside it. As with words: compare the principal that comes out.
"""

from __future__ import annotations

from collections.abc import Sequence

import shamir_mnemonic
from shamir_mnemonic.wordlist import WORDLIST

from .errors import CredentialError
from .key_pairs import SEED_SIZE
from .kinds import Kind

WORD_COUNT = 33
MAX_COUNT = 16  #: what four bits number
MIN_THRESHOLD = 2  #: one sheet that suffices is what the words are for

# The first four letters are one word's alone.
_BY_FOUR_LETTERS = {word[:4]: word for word in WORDLIST}
# With an empty passphrase stretching protects nothing; it would only cost time.
_ITERATION_EXPONENT = 0


class Share:
    """One share. Its words are secret, and do not show in its representation."""

    __slots__ = ("_raw",)

    def __init__(self, raw: shamir_mnemonic.Share) -> None:
        self._raw = raw

    @classmethod
    def parse(cls, text: str) -> Share:
        """From 33 words parted by white space, in any case; their first four letters suffice.

        Raises CredentialError that names the place of a wrong word, never the word.
        """
        words = text.split()
        if len(words) != WORD_COUNT:
            raise CredentialError(f"a share has {WORD_COUNT} words, not {len(words)}")
        for place, word in enumerate(words, 1):
            if not is_share_word(word):
                raise CredentialError(f"word {place} is not in the list of share words", hint="check its spelling")
        try:
            raw = shamir_mnemonic.Share.from_mnemonic(" ".join(_full(word) for word in words))
        except shamir_mnemonic.MnemonicError:
            # Its message would quote words.
            raise CredentialError(
                "the words of this share do not belong together", hint="check that each is right and in its place"
            ) from None
        if raw.group_count != 1 or raw.member_threshold < MIN_THRESHOLD or len(raw.value) != SEED_SIZE:
            raise CredentialError("this is a share of something else than a seed", kind=Kind.INVALID)
        return cls(raw)

    @property
    def words(self) -> tuple[str, ...]:
        """To write down. Secret."""
        return tuple(self._raw.words())

    @property
    def number(self) -> int:
        """Which of its set this is, from 1."""
        return int(self._raw.index) + 1

    @property
    def threshold(self) -> int:
        """How many of the set are needed."""
        return int(self._raw.member_threshold)

    @property
    def set_id(self) -> int:
        """The same in all shares that were made together, by chance that of no others. Not secret."""
        return int(self._raw.identifier)

    def __repr__(self) -> str:
        return f"Share({self.number}, any {self.threshold} of set {self.set_id})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Share is not copied or pickled")


def is_share_word(text: str) -> bool:
    """Whether this is a word of shares, in any case; its first four letters suffice."""
    return _full(text) in WORDLIST


def split_seed(seed: bytes, threshold: int, count: int) -> tuple[Share, ...]:
    """Shares of a seed, of which any `threshold` make it again; new ones at each call, from the system's randomness.

    Shares made before are not touched by it: they go on giving the seed. Raises CredentialError for numbers out of
    range.
    """
    if len(seed) != SEED_SIZE:
        raise CredentialError(f"a seed has {SEED_SIZE} bytes, not {len(seed)}")
    if not MIN_THRESHOLD <= threshold <= count <= MAX_COUNT:
        raise CredentialError(
            f"there are no shares of which {threshold} of {count} suffice",
            kind=Kind.INVALID,
            hint=f"take {MIN_THRESHOLD} to {MAX_COUNT} shares, of which at least {MIN_THRESHOLD} are needed",
        )
    (texts,) = shamir_mnemonic.generate_mnemonics(1, [(threshold, count)], seed, iteration_exponent=_ITERATION_EXPONENT)
    return tuple(Share.parse(text) for text in texts)


def combine_shares(shares: Sequence[Share]) -> bytes:
    """The seed of at least as many shares as are needed; more are checked as well, and the same one twice counts once.

    Raises CredentialError for too few, and for shares that were not made together.
    """
    if not shares:
        raise CredentialError("there are no shares")
    if len({(share.set_id, share.threshold) for share in shares}) > 1:
        raise CredentialError(
            "these shares were not made together", hint="look at what is noted beside them, and take those of one set"
        )
    distinct = {share.words: share for share in shares}
    threshold = shares[0].threshold
    if len(distinct) < threshold:
        raise CredentialError(
            f"{threshold} different shares are needed, and there are {len(distinct)}", hint="add more of the same set"
        )
    given = list(distinct.values())
    base, others = given[: threshold - 1], given[threshold - 1 :]
    seeds = {_combine([*base, other]) for other in others}
    if len(seeds) > 1:
        raise _do_not_fit()
    return seeds.pop()


def _combine(shares: Sequence[Share]) -> bytes:
    try:
        return bytes(shamir_mnemonic.combine_mnemonics([" ".join(share.words) for share in shares]))
    except shamir_mnemonic.MnemonicError:
        # Its message would quote words.
        raise _do_not_fit() from None


def _do_not_fit() -> CredentialError:
    return CredentialError("these shares give no seed together", hint="one of them is of another set; find out which")


def _full(word: str) -> str:
    lower = word.lower()
    return str(_BY_FOUR_LETTERS.get(lower, lower))
