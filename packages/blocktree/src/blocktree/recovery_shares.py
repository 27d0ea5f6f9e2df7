"""Shares of a domain's root, taken back in: typed one after the other, or each from a private file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from btlib.errors import CredentialError
from btlib.home import read_passphrase_file
from btlib.kinds import Kind
from btlib.shares import WORD_COUNT, Share, combine_shares, is_share_word

from .asking import TRIES, at_terminal
from .errors import CommandError
from .output import remark
from .recovery_words import take_words, typed_words


def take_backup(words_file: Path | None, *, shares: bool, share_files: Sequence[Path]) -> bytes:
    """The seed of the backup that the user has in hand: words unless shares are asked for.

    Raises CommandError, HomeError, and CredentialError where it is no backup.
    """
    if words_file is not None and (shares or share_files):
        raise CommandError("words or shares, not both", hint="leave out --words-file, or the shares")
    if share_files:
        return combine_shares([_read(file) for file in share_files])
    return combine_shares(_typed_shares()) if shares else take_words(words_file)


def _read(file: Path) -> Share:
    try:
        return Share.parse(read_passphrase_file(file))
    except CredentialError as error:
        raise CredentialError(f"{file}: {error.message}", kind=error.kind, hint=error.hint) from None


def _typed_shares() -> list[Share]:
    if not at_terminal():
        raise CommandError(
            "the shares are needed, and there is no terminal to type them at",
            kind=Kind.UNAUTHENTICATED,
            hint="use --share-file FILE once for each",
        )
    remark(f"Type the {WORD_COUNT} words of each share, one or several at a time; they are not shown.")
    shares = [_typed_share([])]
    while len(shares) < shares[0].threshold:
        shares.append(_typed_share(shares))
    return shares


def _typed_share(before: Sequence[Share]) -> Share:
    for _ in range(TRIES):
        words = typed_words("Share word", WORD_COUNT, is_share_word)
        try:
            share = Share.parse(" ".join(words))
        except CredentialError as error:
            remark(f"{error.message[0].upper()}{error.message[1:]}; this share again.")
            continue
        if complaint := _unfit(share, before):
            remark(complaint)
            continue
        missing = share.threshold - len(before) - 1
        remark(f"This is share {share.number}; {f'{missing} more to go' if missing else 'that is enough'}.")
        return share
    raise CommandError(f"no share after {TRIES} tries; nothing was changed", kind=Kind.CANCELLED, hint="run it again")


def _unfit(share: Share, before: Sequence[Share]) -> str | None:
    if any(share.set_id != other.set_id for other in before):
        return "This share was not made together with those before; another one."
    if any(share.number == other.number for other in before):
        return "This share was typed already; another one."
    return None
