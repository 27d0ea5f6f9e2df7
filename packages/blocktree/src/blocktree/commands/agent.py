"""`bt agent`: a process that holds unlocked keys for a session, so that the passphrase is typed once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from btlib.agent import AgentClient, Status, Times, agent_socket, start_agent
from btlib.home import Domain

from ..asking import passphrase
from ..errors import CommandError
from ..options import Json, PassphraseFile, complete_petname
from ..output import Json as Document
from ..output import give, remark, say
from ..session import Session

_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="Hold unlocked keys for a session, in memory alone.", no_args_is_help=True)
    app.command()(start)
    app.command()(status)
    app.command()(lock)
    app.command()(stop)
    return app


def start(
    petnames: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PETNAME",
            help="The domains; all that there are if none is named.",
            autocompletion=complete_petname,
        ),
    ] = None,
    idle: Annotated[
        str, typer.Option("--idle", metavar="TIME", help="Forget the keys when nothing used them for so long.")
    ] = "1h",
    longest: Annotated[
        str, typer.Option("--max", metavar="TIME", help="Forget them after so long in any case.")
    ] = "12h",
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Start the agent, and have it hold this machine's keys. One that runs already is used.

    From then on bt, btfuse and btfsd of this user ask it before they ask for a passphrase. Keys never leave it: it
    signs and opens for them. Of an agent that runs already the times stay as they are.

    Examples:

      bt agent start

      bt agent start home --idle 15m --max 8h
    """
    times = Times(idle=_seconds(idle), longest=_seconds(longest))
    session = Session(passphrase_file)
    domains = [session.home.domain(petname) for petname in petnames or session.home.petnames()]
    if not domains:
        session.home.domain(None)  # says how to come to one
    place = agent_socket(os.environ)
    client = AgentClient(place)
    fresh = start_agent(place, os.environ, times)
    try:
        _unlock(client, domains, passphrase_file)
    except BaseException:
        if fresh:
            client.stop()
        raise
    _show(client.status(), place, as_json=json)


def status(json: Json = False) -> None:
    """Show whose keys the agent holds, and for how long still.

    Example: bt agent status
    """
    place = agent_socket(os.environ)
    _show(AgentClient(place).status(), place, as_json=json)


def lock(json: Json = False) -> None:
    """Have the agent forget all keys at once. It goes on to run; bt agent start unlocks again.

    Where no agent runs that is fine too. Mounts and servers that were started through it have certified keys of their
    own and go on for some hours; bt umount ends a mount.

    Example: bt agent lock
    """
    _have_it(AgentClient.lock, "locked", "The agent holds no keys now.", as_json=json)


def stop(json: Json = False) -> None:
    """Have the agent forget all keys and end. Where none runs that is fine too.

    Example: bt agent stop
    """
    _have_it(AgentClient.stop, "stopped", "The agent has ended.", as_json=json)


def _have_it(act: Callable[[AgentClient], None], word: str, done: str, *, as_json: bool) -> None:
    """Have the agent do something, if one runs."""
    client = AgentClient(agent_socket(os.environ))
    running = client.listens()
    if running:
        act(client)
    if as_json:
        give({word: running})
    else:
        say(done if running else "No agent runs.")


def _unlock(client: AgentClient, domains: list[Domain], passphrase_file: Path | None) -> None:
    held = {(item.petname, item.principal) for item in client.status().held}
    for domain in domains:
        if (domain.petname, domain.credentials.public().principal) in held:
            continue
        secret = passphrase(f"this machine in {domain.petname}", passphrase_file)
        client.unlock(domain.petname, secret)


def _show(found: Status, place: Path, *, as_json: bool) -> None:
    if as_json:
        give(_facts(found, place))
        return
    if not found.held:
        say("The agent is locked: it holds no keys.")
    for item in found.held:
        say(f"{item.petname}  {item.principal}")
    if found.left is not None:
        say(f"Forgotten in {_span(found.left)} if nothing uses them, at the latest {_span(found.times.longest)} after")
        say("they were unlocked; at once by: bt agent lock")
    if not found.memory_locked:
        remark(
            "bt: the agent's memory could reach the swap space; where that is not encrypted, raise ulimit -l to 512 MiB"
        )


def _facts(found: Status, place: Path) -> dict[str, Document]:
    return {
        "pid": found.pid,
        "socket": str(place),
        "held": [{"petname": item.petname, "principal": str(item.principal)} for item in found.held],
        "left_seconds": found.left,
        "idle_seconds": found.times.idle,
        "max_seconds": found.times.longest,
        "memory_locked": found.memory_locked,
    }


def _seconds(text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise CommandError(f"{text[:20]!a} is no time", hint="write it as 90s, 15m, 8h or 1d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
