"""What a person or a program gets to see: text or one JSON document as the result, everything else beside it.

- Results go to standard output, remarks, prompts, progress and errors to standard error.
- Names come from whoever may write in the tree; a terminal never gets their control characters, only escapes.
- With `--json` a command prints exactly one document when it ends; a failure prints one on standard error.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from btlib.errors import BlocktreeError

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def prepare_streams() -> None:
    """Let no character that the terminal's encoding lacks end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str = "") -> None:
    """A line of the result, for people."""
    print(text, flush=True)


def remark(text: str) -> None:
    """A line beside the result."""
    print(text, file=sys.stderr, flush=True)


def give(document: Json) -> None:
    """The result, for programs. In ASCII, which carries any name through any locale."""
    print(json.dumps(document, indent=2), flush=True)


def complain(error: BlocktreeError, *, as_json: bool) -> None:
    """Say what went wrong, in one line."""
    if as_json:
        print(json.dumps({"error": describe(error)}), file=sys.stderr, flush=True)
    else:
        remark(f"bt: {visible(str(error))}")


def describe(error: BlocktreeError) -> dict[str, Json]:
    return {"kind": error.kind.name, "message": error.message, "hint": error.hint}


def debugging(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user asked for tracebacks."""
    return environ.get("BLOCKTREE_DEBUG", "") not in ("", "0")


def visible(text: str) -> str:
    """The text with every character that a terminal would act on, or that cannot be encoded, written as an escape."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def human_size(count: int) -> str:
    """A number of bytes, as people read it: `17 B`, `4.2 MiB`."""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def human_time(seconds: float) -> str:
    """A moment, in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
