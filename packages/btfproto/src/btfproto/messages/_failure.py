"""A refusal or failure as it crosses the link: a kind and a sentence, never a foreign exception."""

from __future__ import annotations

import msgspec
from btlib.errors import BlocktreeError
from btlib.kinds import Kind

#: Longer texts of a peer are cut: an error message is for people, not a way to fill our log.
MAX_TEXT = 2000


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=255):
    """The reply in place of the expected one. `hint` is the next command or step, where there is one."""

    kind: Kind
    text: str
    hint: str | None = None


def failure_of(error: BlocktreeError) -> Failed:
    """What an error of ours looks like on the wire."""
    return Failed(kind=error.kind, text=error.message[:MAX_TEXT], hint=error.hint)


def printable(text: str) -> str:
    """A peer's text, fit for a terminal and a log line: one line, no control characters, of bounded length."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:MAX_TEXT])
