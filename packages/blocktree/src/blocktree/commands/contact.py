"""`bt contact`: names for the principals one deals with, and a warning where the key behind a name changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..asking import confirm
from ..contacts import add_contact, contact, contacts, remove_contact
from ..enrolment import make_request
from ..errors import CommandError
from ..files.local import local_errors
from ..options import Compared, DomainName, Fingerprint, Json, PassphraseFile
from ..output import Json as Document
from ..output import give, iso_time, remark, say, visible
from ..principals import SUFFIX, Member, read_member
from ..session import Session, now

Name = Annotated[str, typer.Argument(metavar="NAME", help="Your own name for it: a-z 0-9 . _ -")]


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        help="Names for principals of any domain. bt grant, revoke, access and group take them.", no_args_is_help=True
    )
    app.command()(add)
    app.command("list")(list_contacts)
    app.command()(show)
    app.command()(remove)
    app.command()(card)
    return app


def add(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its card (bt contact card), or its request file.")],
    fingerprint: Fingerprint = None,
    yes: Compared = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Its key has changed, and the new fingerprint was compared.")
    ] = False,
    json: Json = False,
) -> None:
    """Keep somebody's keys under a name.

    A name that is known already, with another key, is refused with a warning; --new-key says that it is meant.

    Examples:

      bt contact add bob bob.request

      bt contact add bob bob-new.request --new-key
    """
    session = Session()
    found = read_member(file)
    principal = found.request.principal
    if fingerprint is not None and fingerprint != str(principal):
        raise CommandError(
            f"{file} holds the keys of {principal}, not of {fingerprint}", hint="nothing was kept; ask for it again"
        )
    if fingerprint is None and not yes:
        remark(f"{file} holds the keys of {principal}.")
        confirm(f"Is this what {name} showed you, or told you?", otherwise="--fingerprint or --yes")
    replaced = add_contact(session.home, name, found, new_key=new_key)
    if json:
        give({"name": name, "principal": str(principal), "replaced": None if replaced is None else str(replaced)})
        return
    say(f"{name} is {principal}.")
    if replaced is not None:
        remark(f"It was {replaced}. What that was granted stays; take it back with: bt revoke {replaced}")


def list_contacts(json: Json = False) -> None:
    """List the contact book.

    Example: bt contact list
    """
    found = contacts(Session().home)
    if json:
        give({"contacts": [_document(one) for one in found]})
        return
    for one in found:
        say(visible(f"{one.host:<16} {one.request.principal}"))
    if not found:
        remark("There are no contacts yet: bt contact add NAME FILE")


def show(name: Name, json: Json = False) -> None:
    """Show whom a name means.

    Example: bt contact show bob
    """
    found = contact(Session().home, name)
    terms = found.request.terms
    _tell(
        found,
        f"{found.host} is {found.request.principal}",
        f"It calls itself {terms.host}; keys {terms.public.suite.text}, card of {iso_time(terms.created)}.",
        as_json=json,
    )


def remove(name: Name, json: Json = False) -> None:
    """Forget a contact. What it was granted stays.

    Example: bt contact remove bob
    """
    gone = remove_contact(Session().home, name)
    _tell(gone, f"{name} is forgotten. What it was granted stays: bt revoke {gone.request.principal}", as_json=json)


def card(
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What to call yourself on it; else as this machine."),
    ] = None,
    domain_name: DomainName = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write it.")] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write a card with this machine's public keys. It is for the contact book of somebody in any domain.

    Example: bt contact card --out bob.request
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    called = name or domain.host
    file = out or Path(f"{called}{SUFFIX}")
    identity = session.unlock(domain)
    with local_errors(file):
        file.write_text(make_request(identity.signer, called, now()), encoding="ascii")
    if json:
        give({"file": str(file), "name": called, "principal": str(identity.principal)})
        return
    say(f"Wrote {file}. The fingerprint, to be compared by voice:")
    say(f"  {identity.principal}")


def _tell(one: Member, *lines: str, as_json: bool) -> None:
    if as_json:
        give(_document(one))
        return
    for line in lines:
        say(visible(line))


def _document(one: Member) -> Document:
    terms = one.request.terms
    return {
        "name": one.host,
        "principal": str(one.request.principal),
        "calls_itself": terms.host,
        "suite": terms.public.suite.text,
        "created": iso_time(terms.created),
    }
