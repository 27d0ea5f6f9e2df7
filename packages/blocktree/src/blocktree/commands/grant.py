"""`bt grant`: let a principal read, write or execute at a directory and below."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

import typer
from btfproto.domain import Granted, grant_access
from btlib.home import Domain
from btlib.paths import BlockPath
from btlib.public_keys import PublicKeys
from btlib.writecaps import Rights

from ..dates import parse_until
from ..errors import CommandError
from ..files.keys import keys_below, read_key
from ..options import Json, PassphraseFile, TreePath
from ..output import give, iso_time, say
from ..principals import find_member
from ..session import Session, now

_RIGHTS = {"read": Rights(0), "write": Rights.WRITE, "execute": Rights.EXECUTE}
DEFAULT_TIME = "1y"


@dataclass(frozen=True)
class Wish:
    """What is to be given, to whom and until when."""

    subject: PublicKeys
    read: bool
    rights: Rights
    until: int
    may_delegate: bool


def grant(
    principal: Annotated[
        str, typer.Argument(metavar="PRINCIPAL", help="bt1…, a machine enrolled here, or its request file.")
    ],
    path: TreePath,
    rights: Annotated[str, typer.Argument(metavar="RIGHTS", help="Out of read, write, execute; with commas between.")],
    until: Annotated[
        str, typer.Option(metavar="DATE", help="The end of writing and executing: a date, or 90d, 2w, 1y.")
    ] = DEFAULT_TIME,
    may_delegate: Annotated[
        bool, typer.Option("--may-delegate", help="It may pass writing and executing on to others.")
    ] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Give a principal access to a directory and all below.

    Reading has no end but new keys. The first grant of writing at a directory signs everything below it anew.

    Examples:

      bt grant laptop home:/photos read

      bt grant bt1… home:/notes read,write --until 90d
    """
    session = Session(passphrase_file)
    read, wanted = parse_rights(rights)
    domain, place = session.home.resolve(path)
    subject = find_member(domain, principal).request.terms.public
    wish = Wish(subject, read, wanted, parse_until(until, now()), may_delegate)
    granted = give_access(session, domain, place, wish)
    _show(wish, f"{domain.petname}:/{'/'.join(place.names)}", rights, granted, as_json=json)


def parse_rights(text: str) -> tuple[bool, Rights]:
    """Whether to read, and which rights. Raises CommandError for any other word."""
    words = text.split(",")
    unknown = [word for word in words if word not in _RIGHTS]
    if unknown:
        raise CommandError(f"{unknown[0]!a} is no right", hint=f"use some of {', '.join(_RIGHTS)}, with commas between")
    rights = Rights(0)
    for word in words:
        rights |= _RIGHTS[word]
    return "read" in words, rights


def give_access(session: Session, domain: Domain, place: BlockPath, wish: Wish) -> Granted:
    """Let somebody have what was wished for. Raises FsError, StoreError or CapabilityError."""
    with session.attach_local(domain, [place]) as (tree, provider, store):
        directory = tree.directory(place)
        target = read_key(provider, directory, place)
        return grant_access(
            store,
            session.unlock(domain),
            target,
            wish.subject,
            read=wish.read,
            rights=wish.rights,
            now=now(),
            not_after=wish.until,
            may_delegate=wish.may_delegate,
            subtree=lambda: keys_below(tree, provider, directory, place),
            random=secrets.token_bytes,
        )


def _show(wish: Wish, path: str, rights: str, granted: Granted, *, as_json: bool) -> None:
    last = granted.chain.last if granted.chain is not None else None
    end = None if last is None else iso_time(last.not_after)
    principal = str(wish.subject.principal)
    if as_json:
        give(
            {
                "principal": principal,
                "path": path,
                "rights": rights.split(","),
                "until": end,
                "rehomed": granted.rehomed,
            }
        )
        return
    say(f"{principal} may {rights.replace(',', ', ')} at {path} and below{f', until {end}' if end else ''}.")
    if granted.rehomed:
        say(f"{granted.rehomed} blocks were signed anew for the new write scope.")
