"""`bt`: run a command; an error becomes one sentence and an exit code. Tracebacks only with BLOCKTREE_DEBUG=1."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from btlib.errors import BlocktreeError
from btlib.exits import ExitCode, exit_code
from btlib.kinds import Kind
from bttp.tapping import tap_from_environment

from .app import build_app
from .errors import CommandError
from .output import complain, debugging, prepare_streams, remark

INTERRUPTED = 130  #: 128 + SIGINT, as shells count


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    sys.exit(run(words))


def run(words: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    as_json = "--json" in words
    try:
        _command(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILURE
    except KeyboardInterrupt:
        remark("bt: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return ExitCode.FAILURE
    except BlocktreeError as error:
        return _failed(error, as_json)
    except OSError as error:
        return _failed(_from_system(error), as_json)
    except Exception as error:
        # The last resort of a process: a defect is said to be one, and not shown as if the user could help.
        return _failed(_defect(error), as_json)
    return ExitCode.OK


def _command(words: Sequence[str]) -> None:
    end_tap = tap_from_environment(os.environ)
    try:
        build_app()(args=list(words), prog_name="bt", standalone_mode=True)
    finally:
        end_tap()


def _failed(error: BlocktreeError, as_json: bool) -> int:
    if debugging():
        traceback.print_exception(error)
    complain(error, as_json=as_json)
    return exit_code(error.kind)


def _from_system(error: OSError) -> CommandError:
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    wrapped = CommandError(f"{place}{error.strerror or error}", kind=Kind.IO, hint="BLOCKTREE_DEBUG=1 shows where")
    wrapped.__cause__ = error
    return wrapped


def _defect(error: Exception) -> CommandError:
    wrapped = CommandError(
        f"a defect in bt: {type(error).__name__}: {error}",
        kind=Kind.INTERNAL,
        hint="run it again with BLOCKTREE_DEBUG=1 and report the traceback",
    )
    wrapped.__cause__ = error
    return wrapped


def _forget_output() -> None:
    # The reader of our output has gone (`bt ls | head`); the interpreter must not fail on it once more at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
