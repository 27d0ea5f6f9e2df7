"""`bt enroll`: give another machine an identity in a domain. Request there, sign here, accept there.

Two small files travel, by mail or stick; neither is secret. People compare two fingerprints: the signer that of the new
machine, the new machine that of the root. Enrolment makes a machine a member; files it sees only after `bt grant`.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from btfproto.domain import remember_chains
from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import check_name
from btlib.principals import Principal

from ..asking import confirm, passphrase
from ..dates import parse_until
from ..enrolment import read_response
from ..errors import CommandError
from ..files.local import local_errors
from ..key_places import KeyPlace
from ..membership import Answer, answer, asking, become_member, find_place, own_name
from ..options import (
    Compared,
    DomainName,
    Fingerprint,
    Json,
    OwnHost,
    OwnServer,
    PassphraseFile,
    Pcrs,
    Petname,
    RootPrincipal,
    SuiteName,
    Tcti,
    TheirServer,
    Tpm,
    Until,
)
from ..output import give, remark, say
from ..principals import SUFFIX, find_member, members, read_text, remember
from ..session import Session, now, open_store

RESPONSE_SUFFIX = ".response"
DEFAULT_TIME = "1y"

Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write the file.")]


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        help="Make another machine a member by two files. "
        "Where the two machines reach each other, bt invite and bt join are less work.",
        no_args_is_help=True,
    )
    app.command()(request)
    app.command()(sign)
    app.command()(accept)
    return app


def request(
    petname: Petname = "home",
    host: OwnHost = None,
    out: Out = None,
    suite: SuiteName = None,
    tpm: Tpm = False,
    tcti: Tcti = None,
    pcr: Pcrs = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """First, on the new machine: make its keys, and ask.

    It writes a file that asks for membership.

    Examples:

      bt enroll request home --host laptop

      bt enroll request home --tpm
    """
    session = Session(passphrase_file)
    place = KeyPlace.chosen(session.home, tpm=tpm, tcti=tcti, pcrs=pcr)
    name = check_name(host or own_name())
    file = out or Path(f"{name}{SUFFIX}")
    with asking(session.home, petname, place, name, suite, passphrase_file, now()) as asked:
        _write(file, asked.text)
    if json:
        give({"file": str(file), "principal": str(asked.principal), "host": name})
        return
    say(f"Wrote {file}. The fingerprint of this machine:")
    say(f"  {asked.principal}")
    say(f"Next: take {file} to a machine of the domain and run there: bt enroll sign {file.name}")


def sign(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST", help="The file that `bt enroll request` wrote; to renew, a machine enrolled here."
        ),
    ],
    domain_name: DomainName = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Enrol it under this name instead of the wished one.")
    ] = None,
    server: TheirServer = None,
    until: Until = DEFAULT_TIME,
    fingerprint: Fingerprint = None,
    yes: Compared = False,
    out: Out = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Then, on a machine of the domain: compare, and sign.

    It asks whether the fingerprint is the one that the new machine showed.

    Before a machine's time is over, sign again; it keeps its keys and what it was granted. What runs there finds the
    new membership by itself; accept keeps it. (Those of half a year and more are renewed by the server.)

    Examples:

      bt enroll sign laptop.request --server nas.example:4433

      bt enroll sign laptop --until 1y
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    member = find_member(domain, wanted)
    asked, name = member.request, check_name(host or member.host)
    _compare(
        f"{name} asks to join {domain.petname}",
        asked.principal,
        "the fingerprint that `bt enroll request` showed there",
        expected=fingerprint,
        yes=yes,
        option="--fingerprint",
    )
    target = out or _response_file(wanted, name)
    reached = server or domain.server
    renewing = any(asked.principal == known.request.principal for known in members(domain))
    signed = answer(session, domain, asked.principal, name, reached, moment=now(), until=parse_until(until, now()))
    if reached is None:
        remark("bt: no server is named, so the new machine has to: bt enroll accept --server HOST:PORT")
    remember(domain, replace(member, host=name))
    _write(target, signed.text)
    if renewing:
        _record(session, domain, asked.principal, signed)
    if json:
        give(
            {
                "file": str(target),
                "principal": str(asked.principal),
                "host": name,
                "root": str(domain.root),
                "until": signed.ends,
            }
        )
        return
    say(f"Wrote {target}. The fingerprint of the domain's root:")
    say(f"  {domain.root}")
    say(f"Next: take it back and run there: bt enroll accept {target.name}")
    say(f"Files it sees after: bt grant {asked.principal} {domain.petname}:/PATH read,write")


def _record(session: Session, domain: Domain, subject: Principal, signed: Answer) -> None:
    """Put a renewed membership where servers and the programs that run there find it; the file does without."""
    identity = session.unlock(domain)
    try:
        with closing(open_store(domain, identity)) as store:
            chains, root = signed.chains, domain.root
            remember_chains(store, identity, subject, chains, root, now=now(), random=secrets.token_bytes)
    except BlocktreeError as error:
        remark(f"bt: it could not be recorded, so what runs there has to be started again after accept: {error}")


def accept(
    file: Annotated[Path, typer.Argument(metavar="RESPONSE", help="The file that `bt enroll sign` wrote.")],
    root: RootPrincipal = None,
    server: OwnServer = None,
    yes: Compared = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Last, on the new machine: compare, and join.

    It asks whether the root's fingerprint is the one that the other machine showed.

    Example: bt enroll accept laptop.response
    """
    session = Session(passphrase_file)
    response = read_response(read_text(file), now())
    place = find_place(session.home, response)
    petname = place.petname
    _compare(
        f"{petname} will be the domain",
        response.root,
        "the root that `bt enroll sign` showed there",
        expected=root,
        yes=yes,
        option="--root",
    )
    secret = passphrase(f"this machine in {petname}", passphrase_file)
    domain = become_member(session.home, place, response, secret, server)
    if json:
        give({"petname": petname, "root": str(domain.root), "host": domain.host, "server": domain.server})
        return
    say(f"This machine is {domain.host} in the domain {petname}.")
    say(f"Next, on the machine that signed: bt grant {response.terms.subject} /{domain.root}/PATH read,write")


def _response_file(wanted: str, name: str) -> Path:
    file = Path(wanted)
    return file.with_suffix(RESPONSE_SUFFIX) if file.suffix == SUFFIX else Path(f"{name}{RESPONSE_SUFFIX}")


def _compare(what: str, shown: Principal, where: str, *, expected: str | None, yes: bool, option: str) -> None:
    """Let the user, or an option, say that a fingerprint is the right one. Raises CommandError where it is not."""
    if expected is not None:
        if Principal.parse(expected) != shown:
            raise CommandError(
                f"this file is for {shown}, not for {expected}: it was mixed up, or somebody changed it",
                kind=Kind.UNAUTHENTICATED,
                hint="nothing was done; have it sent again, another way",
            )
        return
    remark(f"{what}:\n  {shown}")
    if not yes:
        confirm(f"Is that {where}?", otherwise=f"{option} bt1…, or --yes")


def _write(file: Path, text: str) -> None:
    with local_errors(file):
        file.write_text(text, encoding="ascii")
