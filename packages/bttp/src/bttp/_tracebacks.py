"""What a handler's defect may tell its caller, where the router says so: the last lines of its traceback. Pure.

    text of an ERROR or RESET = sentence [‖ U+000A ‖ lines of a traceback]

It is text for a person and nothing else: whoever gets it executes and imports nothing. It shows names of files and
functions, and values that stand in messages; so it is for callers that one trusts.
"""

from __future__ import annotations

import traceback

from ._frames import MAX_TEXT, Buffer, parse_lines, printable
from .errors import RemoteError

SENTENCE = "the handler failed"


def told_with_traceback(error: BaseException) -> str:
    """The sentence and as many of the last lines as fit an ERROR frame."""
    room = MAX_TEXT - len(SENTENCE.encode())
    kept: list[str] = []
    for line in reversed("".join(traceback.format_exception(error)).splitlines()):
        room -= 1 + len(line.encode(errors="replace"))
        if room < 0:
            break
        kept.append(line)
    return "\n".join((SENTENCE, *reversed(kept)))


def remote_error(payload: Buffer) -> RemoteError:
    """What an ERROR or RESET says, fit for logs and terminals. Raises RemoteProtocolError."""
    kind, text = parse_lines(payload)
    sentence, found, rest = text.partition("\n")
    lines = "\n".join(map(printable, rest.split("\n"))) if found else None
    return RemoteError(printable(sentence), kind=kind, traceback=lines)
