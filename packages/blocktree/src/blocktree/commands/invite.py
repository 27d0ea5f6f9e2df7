"""`bt invite`: let one other machine join, by a code of four words that works once.

While the command runs, the other machine can reach it. Who knows the code is let in and given what the command says;
who guesses wrong, ends it. Nobody is asked anything once the code is shown.
"""

from __future__ import annotations

import importlib.util
import io
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import segno
import typer
from btfproto.endpoints.discovery import announce
from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.pairing import Invitation, InvitationCode
from bttp import TcpEndpoint, parse_endpoint

from ..dates import parse_until
from ..errors import CommandError
from ..hosting import Gift, Hosting
from ..inviting import EVERYWHERE, let_one_in, listening, reached_at
from ..knocking import SERVICE, announced_name
from ..options import Json, PassphraseFile, TheirServer, Until, complete_petname, complete_tree_path
from ..output import give, iso_time, remark, say
from ..session import Session, now
from .grant import DEFAULT_TIME, parse_rights

MINUTE = 60.0  #: seconds
DEFAULT_MINUTES = 10  #: for two people on the telephone
MOST_MINUTES = 24 * 60  #: one guess is allowed however long it waits; but a forgotten code should end


def invite(
    path: Annotated[
        str | None,
        typer.Option(
            metavar="PETNAME:/PATH",
            help="A directory that the new machine may use, and all below.",
            autocompletion=complete_tree_path,
        ),
    ] = None,
    rights: Annotated[
        str, typer.Option(metavar="RIGHTS", help="What it may there: out of read, write, execute; with commas between.")
    ] = "read",
    domain_name: Annotated[
        str | None,
        typer.Option(
            "--domain",
            metavar="PETNAME",
            help="Which domain, where there are several and no --path.",
            autocompletion=complete_petname,
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Enrol it under this name instead of the one it wishes for.")
    ] = None,
    server: TheirServer = None,
    until: Until = DEFAULT_TIME,
    minutes: Annotated[
        int, typer.Option(min=1, max=MOST_MINUTES, metavar="N", help="How long the code can be used.")
    ] = DEFAULT_MINUTES,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to wait for it; port 0 takes a free one.")
    ] = EVERYWHERE,
    at: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where it finds this machine, if not there: behind a router, say."),
    ] = None,
    via: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Meet it at a btfsd (its `meetings.listen`), instead of listening here."
        ),
    ] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Show the code as a QR code too.")] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Let another machine join: shows a code, and waits. The code has four words, for `bt join` there.

    The code works once: a wrong guess uses it up. With --json the code is shown beside the result.

    Examples:

      bt invite --path home:/photos --rights read,write

      bt invite --listen 192.168.1.5:7465 --minutes 60 --qr

      bt invite --via nas.example:7465
    """
    session = Session(passphrase_file)
    domain, gift = _gift(session, path, rights, domain_name)
    end = parse_until(until, now())
    hosting = Hosting(session, domain, gift, name=host, server=server or domain.server, until=end)
    hosting.check()
    with _place(listen, via) as (where, reached):
        code = InvitationCode.generate(os.urandom, at or str(reached))
        with _announced(code, None if via else reached) as announced:
            let_one_in(
                Invitation(code, expires=time.monotonic() + minutes * MINUTE),
                where,
                hosting,
                lambda: _show_code(code, minutes, announced=announced, qr=qr, beside=json),
            )
    _show(hosting, as_json=json)
    if hosting.failure is not None:
        raise hosting.failure


def _gift(session: Session, path: str | None, rights: str, domain_name: str | None) -> tuple[Domain, Gift | None]:
    """What is to be given, checked before a code is shown."""
    read, wanted = parse_rights(rights)
    if path is None:
        return session.home.domain(domain_name), None
    domain, place = session.home.resolve(path)
    with session.attach(domain, [place]) as tree:
        tree.directory(place)
    return domain, Gift(place=place, read=read, rights=wanted, words=tuple(rights.split(",")))


@contextmanager
def _place(listen: str, via: str | None) -> Iterator[tuple[socket.socket | TcpEndpoint, TcpEndpoint]]:
    """Where to wait, and where others find that."""
    if via is None:
        with listening(listen) as listener:
            yield listener, reached_at(listener)
        return
    relay = parse_endpoint(via)
    if not isinstance(relay, TcpEndpoint):
        raise CommandError(
            f"{via} is no HOST:PORT, and machines meet at one", kind=Kind.INVALID, hint="use: --via nas.example:7465"
        )
    yield relay, relay


@contextmanager
def _announced(code: InvitationCode, reached: TcpEndpoint | None) -> Iterator[bool]:
    """Answer in the local network, where that is possible; whether it is."""
    with ExitStack() as stack:
        found = reached is not None and importlib.util.find_spec("zeroconf") is not None
        if found and reached is not None:
            try:
                stack.enter_context(announce(SERVICE, announced_name(code), [reached.host], reached.port))
            except (BlocktreeError, ValueError) as error:  # no multicast here, or the host is no address but a name
                remark(f"bt: not announced in the local network: {error}")
                found = False
        yield found


def _show_code(code: InvitationCode, minutes: int, *, announced: bool, qr: bool, beside: bool) -> None:
    tell = remark if beside else say
    tell(f"Within {minutes} minutes, on the other machine:")
    tell(f"  bt join {code}")
    if announced:
        tell(f"  or, in the same network: bt join {code.spoken}")
    if qr:
        tell(_drawn(str(code)))
    tell("It works once; one wrong guess uses it up. Waiting…")


def _drawn(text: str) -> str:
    """A QR code, for terminals with a dark ground and a light one."""
    out = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out, compact=True)
    return out.getvalue().rstrip("\n")


def _show(hosting: Hosting, *, as_json: bool) -> None:
    domain, gift, guest = hosting.domain, hosting.gift, hosting.guest
    place = None if gift is None else f"{domain.petname}:/{'/'.join(gift.place.names)}"
    if as_json:
        give(
            {
                "host": guest.host,
                "principal": str(guest.principal),
                "root": str(domain.root),
                "until": guest.ends,
                "path": place,
                "rights": list(gift.words) if gift is not None and hosting.failure is None else [],
            }
        )
        return
    say(f"{guest.host} is a member of {domain.petname}, until {iso_time(guest.ends)}. Its fingerprint:")
    say(f"  {guest.principal}")
    say("The fingerprint of the domain's root, which it shows too:")
    say(f"  {domain.root}")
    if gift is None:
        say(f"Files it sees after: bt grant {guest.host} {domain.petname}:/PATH read,write")
    elif hosting.failure is None:
        say(f"It may {', '.join(gift.words)} at {place} and below.")
    else:
        say(f"It was given nothing at {place}; try: bt grant {guest.host} {place} {','.join(gift.words)}")
