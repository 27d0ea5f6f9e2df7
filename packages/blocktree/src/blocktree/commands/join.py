"""`bt join`: become a member of a domain by the code that `bt invite` shows on one of its machines."""

from __future__ import annotations

from typing import Annotated

import typer
from btlib.errors import BlocktreeError
from btlib.home import Domain, Home
from btlib.kinds import Kind
from btlib.pairing import InvitationCode
from btlib.paths import check_name

from ..asking import ask, at_terminal
from ..enrolment import read_response
from ..errors import CommandError
from ..key_places import KeyPlace
from ..knocking import INVITE_ANEW, knock, places
from ..membership import Asking, asking, become_member, find_place, own_name
from ..options import Json, OwnHost, OwnServer, PassphraseFile, Pcrs, SuiteName, Tcti, Tpm, complete_petname
from ..output import give, remark, say, visible
from ..reporting import Report, read_report
from ..session import Session, now


def join(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="As `bt invite` shows it; asked for where it is left out.")
    ] = None,
    petname: Annotated[
        str,
        typer.Option(
            "--as", metavar="PETNAME", help="Your own short name for the domain.", autocompletion=complete_petname
        ),
    ] = "home",
    host: OwnHost = None,
    server: OwnServer = None,
    suite: SuiteName = None,
    tpm: Tpm = False,
    tcti: Tcti = None,
    pcr: Pcrs = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Join a domain by the code that bt invite shows there.

    A code without an @ is looked for in the local network. It is one guess: a wrong one uses the code up, and both ends
    say so. On a machine that others use too, leave CODE out and type it: arguments can be seen by all.

    Examples:

      bt join lemon-rocket-absorb-winter@192.168.1.5:7465

      bt join --tpm
    """
    session = Session(passphrase_file)
    parsed = InvitationCode.parse(_asked() if code is None else code)
    place = KeyPlace.chosen(session.home, tpm=tpm, tcti=tcti, pcrs=pcr)
    name = check_name(host or own_name())
    where = places(parsed)
    guest = _Guest(session.home, server)
    with asking(session.home, petname, place, name, suite, passphrase_file, now()) as asked:
        guest.asked = asked
        report, lost = knock(parsed, asked.text.encode("ascii"), where, guest.keep)
    _show(guest.domain, asked, *_read(report, lost), as_json=json)


def _asked() -> str:
    if not at_terminal():
        raise CommandError("there is no code, and no terminal to ask at", hint="give it: bt join CODE")
    return ask("The code that bt invite shows:")


class _Guest:
    """What this machine does with the answer to its request."""

    def __init__(self, home: Home, server: str | None) -> None:
        self._home = home
        self._server = server
        self._domain: Domain | None = None
        self.asked: Asking | None = None

    def keep(self, data: bytes) -> None:
        """Become a member. Raises BlocktreeError."""
        if self.asked is None:
            raise CommandError("nothing was asked", kind=Kind.INTERNAL)
        try:
            response = read_response(data.decode("ascii", "replace"), now())
            found = find_place(self._home, response)
        except BlocktreeError as error:  # the fault of the other machine, or of its clock
            kind = Kind.PROTOCOL if error.kind is Kind.INVALID else error.kind
            raise CommandError(
                f"the inviting machine sent no good answer: {error.message}", kind=kind, hint=INVITE_ANEW
            ) from error
        self._domain = become_member(self._home, found, response, self.asked.passphrase, self._server)

    @property
    def domain(self) -> Domain:
        if self._domain is None:
            raise CommandError("this machine was not let in", kind=Kind.INTERNAL)
        return self._domain


def _read(report: bytes | None, lost: BlocktreeError | None) -> tuple[Report | None, str | None]:
    """The report, or why there is none: the machine is a member all the same."""
    if report is None:
        return None, "no report came" if lost is None else str(lost)
    try:
        return read_report(report), None
    except CommandError as error:
        return None, str(error)


def _show(domain: Domain, asked: Asking, report: Report | None, lost: str | None, *, as_json: bool) -> None:
    given = report is not None and report.path is not None and report.failure is None
    if lost is not None:
        remark(f"bt: this machine is a member, but what it may was not told: {visible(lost)}")
    elif report is not None and report.failure is not None:
        remark(f"bt: the other end could not give access: {visible(report.failure)}")
    if as_json:
        give(
            {
                "petname": domain.petname,
                "principal": str(asked.principal),
                "root": str(domain.root),
                "host": domain.host,
                "server": domain.server,
                "path": report.path if report is not None and given else None,
                "rights": list(report.rights) if report is not None and given else [],
            }
        )
        return
    say(f"This machine is {domain.host} in the domain {domain.petname}. Its fingerprint:")
    say(f"  {asked.principal}")
    say("The fingerprint of the domain's root, which the other machine shows too:")
    say(f"  {domain.root}")
    if report is not None and given:
        say(f"It may {visible(', '.join(report.rights))} at {domain.petname}:{visible(str(report.path))} and below.")
    if domain.server is None:
        say(f"Where its btfsd is, was not said: write it as `server` into {domain.settings_file}")
