"""`bt enroll`: give another machine an identity in a domain. Request there, sign here, accept there.

Two small files travel, by mail or stick; neither is secret. People compare two fingerprints: the signer that of the new
machine, the new machine that of the root. Enrolment makes a machine a member; files it sees only after `bt grant`.
"""

from __future__ import annotations

import secrets
import shutil
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from btlib.credentials import CredentialStore
from btlib.errors import BlocktreeError
from btlib.home import Domain, DomainSettings, Home, open_credential_store
from btlib.kinds import Kind
from btlib.paths import BlockPath, check_name
from btlib.principals import Principal

from ..asking import confirm, new_passphrase, passphrase
from ..dates import parse_until
from ..delegating import Enrolment
from ..enrolment import Request, Response, ResponseTerms, make_request, make_response, read_response
from ..errors import CommandError
from ..files.local import local_errors
from ..key_places import KeyPlace
from ..options import Json, PassphraseFile, Pcrs, Petname, SuiteName, Tcti, Tpm
from ..output import give, remark, say
from ..principals import SUFFIX, find_member, read_text, remember
from ..session import Session, now

RESPONSE_SUFFIX = ".response"
DEFAULT_TIME = "1y"

Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write the file.")]
Fingerprint = Annotated[
    str | None,
    typer.Option(metavar="bt1…", help="The fingerprint that it must have; answers the question for a script."),
]
Yes = Annotated[bool, typer.Option("--yes", help="The fingerprint was compared already; do not ask.")]


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="Make another machine a member of a domain: request, sign, accept.", no_args_is_help=True)
    app.command()(request)
    app.command()(sign)
    app.command()(accept)
    return app


def request(
    petname: Petname = "home",
    host: Annotated[str | None, typer.Option(metavar="NAME", help="The name wished for; else the host name.")] = None,
    out: Out = None,
    suite: SuiteName = None,
    tpm: Tpm = False,
    tcti: Tcti = None,
    pcr: Pcrs = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """First, on the new machine: make its keys, and a file that asks for membership.

    Examples:

      bt enroll request home --host laptop

      bt enroll request home --tpm
    """
    session = Session(passphrase_file)
    place = KeyPlace.chosen(session.home, tpm=tpm, tcti=tcti, pcrs=pcr)
    chosen = place.suite(suite)
    name = check_name(host or socket.gethostname().partition(".")[0])
    file = out or Path(f"{name}{SUFFIX}")
    pending = session.home.begin(petname)
    try:
        store = place.machine(_pending_credentials_file(session.home, petname))
        secret = new_passphrase(f"this machine in {petname}", passphrase_file)
        principal = store.generate(chosen, secret).principal
        _write(file, make_request(store.unlock(secret).signer, name, now()))
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise
    if json:
        give({"file": str(file), "principal": str(principal), "host": name})
        return
    say(f"Wrote {file}. The fingerprint of this machine:")
    say(f"  {principal}")
    say(f"Next: take {file} to a machine of the domain and run there: bt enroll sign {file.name}")


def sign(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST", help="The file that `bt enroll request` wrote; to renew, a machine enrolled here."
        ),
    ],
    domain_name: Annotated[
        str | None, typer.Option("--domain", metavar="PETNAME", help="Which domain, where there are several.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Enrol it under this name instead of the wished one.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the new machine will reach the domain's btfsd.")
    ] = None,
    until: Annotated[str, typer.Option(metavar="DATE", help="How long: a date, or 90d, 2w, 1y.")] = DEFAULT_TIME,
    fingerprint: Fingerprint = None,
    yes: Yes = False,
    out: Out = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Then, on a machine of the domain: look at the fingerprint and sign.

    Before a machine's time is over, sign again; it keeps its keys and what it was granted.

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
    response, ends = _sign(session, domain, asked, name, server or domain.server, parse_until(until, now()))
    remember(domain, replace(member, host=name))
    _write(target, response)
    if json:
        give(
            {
                "file": str(target),
                "principal": str(asked.principal),
                "host": name,
                "root": str(domain.root),
                "until": ends,
            }
        )
        return
    say(f"Wrote {target}. The fingerprint of the domain's root:")
    say(f"  {domain.root}")
    say(f"Next: take it back and run there: bt enroll accept {target.name}")
    say(f"Files it sees after: bt grant {asked.principal} {domain.petname}:/PATH read,write")


def accept(
    file: Annotated[Path, typer.Argument(metavar="RESPONSE", help="The file that `bt enroll sign` wrote.")],
    root: Annotated[
        str | None,
        typer.Option(metavar="bt1…", help="The root that it must be of; answers the question for a script."),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Reach the domain's btfsd here instead.")
    ] = None,
    yes: Yes = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Last, on the new machine again: look at the root's fingerprint and join.

    Example: bt enroll accept laptop.response
    """
    session = Session(passphrase_file)
    response = read_response(read_text(file), now())
    place = _find_place(session.home, response)
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
    place.credentials.add_chains(secret, *response.terms.chains)
    domain = _join(session.home, place, response, server)
    if json:
        give({"petname": petname, "root": str(domain.root), "host": domain.host, "server": domain.server})
        return
    say(f"This machine is {domain.host} in the domain {petname}.")
    say(f"Next, on the machine that signed: bt grant {response.terms.subject} /{domain.root}/PATH read,write")


def _sign(
    session: Session, domain: Domain, asked: Request, host: str, server: str | None, until: int
) -> tuple[str, int]:
    """The response's text, and when the membership ends."""
    identity = session.unlock(domain)
    chains = Enrolment(
        issuer=identity,
        root=domain.root,
        subject=asked.principal,
        host=host,
        now=now(),
        until=until,
        random=secrets.token_bytes,
    ).chains()
    if server is None:
        remark("bt: no server is named, so the new machine has to: bt enroll accept --server HOST:PORT")
    terms = ResponseTerms(
        subject=asked.principal,
        host=host,
        root=chains[0].caps[0].issuer,
        chains=chains,
        server=server,
        server_path=str(domain.server_path),
        issued=now(),
    )
    return make_response(identity.signer, terms), min(chain.caps[-1].not_after for chain in chains)


@dataclass(frozen=True)
class _Place:
    """Where the keys lie that a response is for: in a pending enrolment, or in a domain that is being renewed."""

    petname: str
    credentials: CredentialStore
    domain: Domain | None


def _find_place(home: Home, response: Response) -> _Place:
    subject = response.terms.subject
    pending = [
        _Place(petname, open_credential_store(_pending_credentials_file(home, petname), home.tcti), None)
        for petname in home.pending()
    ]
    joined = [_Place(domain.petname, domain.credentials, domain) for domain in _domains_of(home, response.root)]
    for place in [*pending, *joined]:
        try:
            if place.credentials.public().principal == subject:
                return place
        except BlocktreeError:
            continue
    raise CommandError(
        f"this response is for {subject}, and no request from here with that fingerprint is waiting",
        kind=Kind.NOT_FOUND,
        hint="begin with: bt enroll request",
    )


def _domains_of(home: Home, root: Principal) -> list[Domain]:
    try:
        return [home.domain(root)]
    except BlocktreeError:
        return []


def _join(home: Home, place: _Place, response: Response, server: str | None) -> Domain:
    """Write the settings that the response brings; a renewed domain keeps what it does not speak of."""
    terms, known = response.terms, place.domain
    settings = DomainSettings(
        root=response.root,
        host=terms.host,
        store=known.settings.store if known else None,
        server=server or terms.server or (known.server if known else None),
        server_path=BlockPath.parse(terms.server_path),
    )
    if known is None:
        return home.admit(home.pending_domain(place.petname, settings))
    renewed = replace(known, settings=settings)
    renewed.save()
    return renewed


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
            )
        return
    remark(f"{what}:\n  {shown}")
    if not yes:
        confirm(f"Is that {where}?", otherwise=f"{option} bt1…, or --yes")


def _pending_credentials_file(home: Home, petname: str) -> Path:
    return home.pending_directory(petname) / "credentials"


def _write(file: Path, text: str) -> None:
    with local_errors(file):
        file.write_text(text, encoding="ascii")
