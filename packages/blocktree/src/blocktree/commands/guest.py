"""`bt guest`: somebody of another domain reaches this one's servers, with the keys that he has there.

A pass is an enrolment response with one writecap: to send messages to the domain's machines. It makes nobody a member
and gives no access to files; what a guest sees is what he, or a group that he is in, was granted.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from btlib.clocks import CLOCK_SKEW
from btlib.credentials import FileCredentialStore
from btlib.home import Domain, Home
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.writecaps import Chain, Rights, issue_writecap

from ..asking import confirm, passphrase
from ..dates import parse_until
from ..delegating import ID_SIZE
from ..enrolment import Response, ResponseTerms, make_response, read_response
from ..errors import CommandError
from ..files.local import local_errors
from ..groups import find_subject
from ..membership import become_member, find_place
from ..options import Compared, DomainName, Json, OwnServer, PassphraseFile, RootPrincipal, Until
from ..output import give, iso_time, remark, say
from ..principals import name_of, read_text
from ..session import Session, now

PASS_SUFFIX = ".pass"
DEFAULT_TIME = "1y"


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="Let somebody of another domain in, with his own keys.", no_args_is_help=True)
    app.command("pass")(make_pass)
    app.command()(accept)
    return app


def make_pass(
    principal: Annotated[
        str, typer.Argument(metavar="PRINCIPAL", help="A contact, or the file of a card (bt contact card).")
    ],
    domain_name: DomainName = None,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the guest will reach the domain's btfsd.")
    ] = None,
    until: Until = DEFAULT_TIME,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write the pass.")] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """On a machine of the domain: write a pass for a guest. With it he may talk to its servers. It is no secret.

    It gives no access to files; bt grant does.

    Example: bt guest pass bob --server nas.example:4433
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    subject = find_subject(session, domain, principal)
    if subject.group is not None:
        raise CommandError("a group connects to nothing; its members do", hint="write a pass for each of them")
    who = subject.keys.principal
    called = name_of(domain, who) or who.short
    file = out or Path(f"{called}{PASS_SUFFIX}")
    identity = session.unlock(domain)
    chain = _leave(domain, identity, who, parse_until(until, now()))
    terms = ResponseTerms(
        subject=who,
        host=called,
        root=chain.caps[0].issuer,
        chains=(chain,),
        server=server or domain.server,
        server_path=str(domain.server_path),
        issued=now(),
    )
    if terms.server is None:
        remark("bt: no server is named, so the guest has to: bt guest accept --server HOST:PORT")
    with local_errors(file):
        file.write_text(make_response(identity.signer, terms), encoding="ascii")
    ends = iso_time(chain.caps[-1].not_after)
    if json:
        give({"file": str(file), "principal": str(who), "root": str(domain.root), "until": ends})
        return
    say(f"Wrote {file}, good until {ends}. The fingerprint of the domain's root:")
    say(f"  {domain.root}")
    say(f"Next, on the guest's machine: bt guest accept {file.name} PETNAME")
    say(f"Files he sees after: bt grant {principal} {domain.petname}:/PATH read")


def accept(
    file: Annotated[Path, typer.Argument(metavar="PASS", help="The file that `bt guest pass` wrote.")],
    petname: Annotated[str, typer.Argument(metavar="PETNAME", help="Your own short name for that domain.")],
    own: Annotated[
        str | None, typer.Option("--as", metavar="PETNAME", help="With the keys of which domain of yours.")
    ] = None,
    root: RootPrincipal = None,
    server: OwnServer = None,
    yes: Compared = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """On the guest's machine: use that domain too. It takes the keys of a domain of his own, in which nothing changes.

    Example: bt guest accept bob.pass friends
    """
    session = Session(passphrase_file)
    response = read_response(read_text(file), now())
    mine = session.home.domain(own)
    _compare(petname, response, root, yes=yes)
    secret = passphrase(f"this machine in {mine.petname}", passphrase_file)
    domain = _accept(session.home, mine, petname, response, secret, server)
    if json:
        give({"petname": petname, "root": str(domain.root), "server": domain.server, "as": mine.petname})
        return
    say(f"The domain {petname} is known here, with the keys of {mine.petname}: bt ls {petname}:/PATH")
    say(f"What there is to see is what its owners grant to {response.terms.subject}.")


def _leave(domain: Domain, identity: Identity, guest: Principal, until: int) -> Chain:
    """The writecap of a pass: messages to the domain's machines, not to be passed on."""
    above = identity.chain_for(domain.root, Rights.EXECUTE, now(), path=domain.hosts_path)
    begin, last = now() - CLOCK_SKEW, above.last
    return issue_writecap(
        identity.signer,
        above,
        subject=guest,
        path=domain.hosts_path,
        # For a right that touches no block any scope will do; the root's empty chain names none.
        scope=bytes(ID_SIZE) if last is None else last.scope,
        rights=Rights.EXECUTE,
        not_before=begin if last is None else max(begin, last.not_before),
        not_after=until if last is None else min(until, last.not_after),
        may_delegate=False,
        serial=secrets.token_bytes(ID_SIZE),
    )


def _compare(petname: str, response: Response, expected: str | None, *, yes: bool) -> None:
    if expected is not None and expected != str(response.root):
        raise CommandError(
            f"the pass is of the domain of {response.root}, not of {expected}: it was mixed up, or somebody changed it",
            kind=Kind.UNAUTHENTICATED,
            hint="nothing was done; have it sent again, another way",
        )
    if expected is None and not yes:
        remark(f"{petname} will be the domain of {response.root}.")
        confirm("Is this the root that was shown or told to you?", otherwise="--root or --yes")


def _accept(home: Home, mine: Domain, petname: str, response: Response, secret: str, server: str | None) -> Domain:
    pending = home.begin(petname)
    try:
        _take_keys(mine, pending / mine.credentials_file.name, secret)
        place = find_place(home, response)
        if place.petname != petname:
            raise CommandError(
                f"{place.petname} is that domain already", kind=Kind.EXISTS, hint="renew it with: bt enroll accept"
            )
        return become_member(home, place, response, secret, server)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise


def _take_keys(mine: Domain, file: Path, secret: str) -> None:
    """The same keys in a second file, under the same passphrase; what they hold in the own domain stays there."""
    own = mine.credentials
    if not isinstance(own, FileCredentialStore):
        raise CommandError(
            f"the keys of {mine.petname} are in a TPM, and are used in that domain alone",
            kind=Kind.NOT_SUPPORTED,
            hint="become a member with keys of its own: bt enroll request",
        )
    kept = own.reveal(secret)
    FileCredentialStore(file).save(msgspec.structs.replace(kept, chains=()), secret)
