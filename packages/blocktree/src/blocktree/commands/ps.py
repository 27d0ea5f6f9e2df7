"""`bt ps`: the actors of a running program, what they do, and how to make one stop.

It asks the runtime itself, over a link; whoever may execute at `<runtime>/.bt/inspect` may ask. What is in messages is
never shown: it does not leave the program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Annotated

import typer
from btfproto.errors import FsError
from btfproto.opening import connect_at
from btlib.paths import BlockPath
from btrun.errors import NoSuchActorError
from btrun.inspection import ActorView, BlockedCall, Inspection, ServiceView
from btrun.inspector import Handled, How, Inspector
from msgspec.structs import asdict

from ..errors import CommandError
from ..options import Json, PassphraseFile, TreePath
from ..output import Json as Document
from ..output import give, say, visible
from ..session import PATIENCE, Session

HEADINGS = ("NAME", "CLASS", "STATE", "WAITING", "BUSY", "HANDLED", "RESTARTS", "HOLDS")
NUMBERS = slice(3, 7)  #: which columns are numbers; the others are text

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="An actor in the runtime: it, and those below it.", show_default=False),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="ENDPOINT",
        help="Where the program listens: unix:/PATH, HOST:PORT, [V6]:PORT. By default where bt net resolve finds it.",
    ),
]
Trace = Annotated[bool, typer.Option("--trace", help="Show each message as it is handled, until Ctrl-C or --count.")]
Count = Annotated[int | None, typer.Option("--count", min=1, metavar="N", help="With --trace: end after N messages.")]
Stop = Annotated[bool, typer.Option("--stop", help="Let NAME end after the message that it handles, for good.")]
Drain = Annotated[bool, typer.Option("--drain", help="The same, after all messages that wait for it.")]
Kill = Annotated[bool, typer.Option("--kill", help="End NAME now; what it does is cancelled.")]
Blocked = Annotated[bool, typer.Option("--blocked", help="Show who waits for whose answer, longest first.")]
DeadLetters = Annotated[
    bool, typer.Option("--dead-letters", help="Show the last messages that reached nobody: to whom, and why.")
]


def ps(
    path: TreePath,
    name: Name = "",
    at: At = None,
    blocked: Blocked = False,
    dead_letters: DeadLetters = False,
    trace: Trace = False,
    count: Count = None,
    stop: Stop = False,
    drain: Drain = False,
    kill: Kill = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """List the actors and services of the runtime at PATH. Each with state, mailbox, messages handled, restarts.

    It needs the right to execute at PATH/.bt/inspect (the right at PATH is enough).

    Example: bt ps home:/hosts/nas/app --at unix:/run/user/1000/app.sock
    """
    hows = [how for how, wanted in ((How.STOP, stop), (How.DRAIN, drain), (How.KILL, kill)) if wanted]
    _check(name, trace, count, hows, blocked + dead_letters, json=json)
    with _inspector(Session(passphrase_file), path, at) as inspector:
        if hows:
            inspector.halt(name, hows[0])
            if json:
                give({"runtime": str(inspector.path), "name": name, "how": hows[0].name.lower()})
        elif trace:
            _trace(inspector, name, count, json=json)
        else:
            _list(inspector, name, blocked=blocked, dead_letters=dead_letters, json=json)


def _check(name: str, trace: bool, count: int | None, hows: list[How], lists: int, *, json: bool) -> None:
    """Options that do not go together. Raises CommandError."""
    if lists + bool(hows or trace) > 1:
        raise CommandError("--blocked and --dead-letters show one thing, and nothing else", hint="give one of them")
    if len(hows) + trace > 1:
        raise CommandError("--trace, --stop, --drain and --kill exclude each other", hint="give one of them")
    if hows and not name:
        raise CommandError(f"--{hows[0].name.lower()} needs the NAME of an actor", hint="bt ps PATH lists them")
    if count is not None and not trace:
        raise CommandError("--count is for --trace", hint="add --trace")
    if trace and json and count is None:
        raise CommandError("with --json a trace is one document at its end", hint="say when it ends: --count N")


@contextmanager
def _inspector(session: Session, text: str, at: str | None) -> Iterator[Inspector]:
    domain, path = session.home.resolve(text)
    place = _place(path)
    identity = session.unlock(domain)
    try:
        link = connect_at(domain, identity, place, named=at, timeout=PATIENCE)
    except FsError as error:
        raise CommandError(
            f"{domain.petname} has no server that is known here: where does the program listen?",
            hint="give its endpoint: --at unix:/PATH",
        ) from error
    with link:
        yield Inspector(link, path)


def _place(path: BlockPath) -> BlockPath:
    if not path.names:
        raise CommandError(f"{path} is the whole domain", hint="give the path of a program: bt ps home:/hosts/nas/app")
    return path


def _list(inspector: Inspector, name: str, *, blocked: bool, dead_letters: bool, json: bool) -> None:
    found = inspector.look(name)
    if name and not (blocked or dead_letters or found.actors or found.services or found.letters):
        raise NoSuchActorError(f"{inspector.path}/{name} does not exist", hint="bt ps PATH lists what does")
    if json:
        give(_document(inspector.path, found))
    elif blocked:
        for call in found.blocked:
            say(visible(str(call)))
    elif dead_letters:
        for letter in found.letters:
            say(visible(f"{_name(inspector.path, letter.path)}  {letter.message}  {letter.why}"))
    else:
        services = (_service_row(inspector.path, view) for view in found.services)
        _say_table([HEADINGS, *services, *(_row(inspector.path, view) for view in found.actors)])
        for line in _remarks(found):
            say(line)


def _row(runtime: BlockPath, view: ActorView) -> tuple[str, ...]:
    return (
        visible(_name(runtime, view.path)),
        visible(view.kind),
        view.state,
        str(view.waiting),
        _seconds(view.busy_seconds) if view.busy_seconds else "",
        str(view.handled),
        str(view.restarts),
        visible(", ".join(f"{count} {what}" for what, count in view.figures.items() if count)),
    )


def _service_row(runtime: BlockPath, view: ServiceView) -> tuple[str, ...]:
    fence = "" if view.fence is None else f", fence {view.fence}"
    holds = f"{view.workers} of {view.most} workers{fence}"
    name, kind = visible(_name(runtime, view.path)), visible(view.kind)
    return name, kind, view.state, str(view.waiting), "", "", "", holds


def _say_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[NUMBERS] = [cell.strip().rjust(len(cell)) for cell in cells[NUMBERS]]
        say("  ".join(cells).rstrip())


def _remarks(found: Inspection) -> Iterator[str]:
    if found.left_off:
        yield f"and {found.left_off} more: give a NAME"
    if found.blocked:
        longest = _seconds(found.blocked[0].seconds)
        yield f"{len(found.blocked)} calls wait for answers, the longest for {longest}: bt ps --blocked"
    if found.dead_letters:
        yield f"{found.dead_letters} dead letters, messages that reached nobody: bt ps --dead-letters"


def _document(runtime: BlockPath, found: Inspection) -> Document:
    return {
        "runtime": str(runtime),
        "actors": [{**asdict(view), "name": _name(runtime, view.path)} for view in found.actors],
        "blocked": [{**asdict(call), "left": _finite(call)} for call in found.blocked],
        "services": [{**asdict(view), "name": _name(runtime, view.path)} for view in found.services],
        "dead_letters": found.dead_letters,
        "letters": [asdict(letter) for letter in found.letters],
        "workers": found.workers,
        "timers": found.timers,
        "left_off": found.left_off,
    }


def _finite(call: BlockedCall) -> float | None:
    """JSON has no infinity: null where a call has no deadline."""
    return None if math.isinf(call.left) else call.left


def _trace(inspector: Inspector, name: str, count: int | None, *, json: bool) -> None:
    with inspector.follow(name) as messages:
        wanted = islice(messages, count)
        if json:
            give({"runtime": str(inspector.path), "messages": [asdict(handled) for handled in wanted]})
            return
        for handled in wanted:
            _say_handled(inspector.path, handled)


def _say_handled(runtime: BlockPath, handled: Handled) -> None:
    if handled.lost:
        say(f"({handled.lost} messages were too many to show)")
    failed = f"  raised {handled.error}" if handled.error else ""
    say(visible(f"{_name(runtime, handled.path)}  {handled.message}  {handled.seconds * 1e3:.3f} ms{failed}"))


def _name(runtime: BlockPath, path: str) -> str:
    return path.removeprefix(f"{runtime}/")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"
