"""`bt grant`: let a principal read, write or execute at a directory and below."""

from __future__ import annotations

import secrets
from contextlib import closing
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
from ..groups import KnownGroup, Subject, find_subject, keeper
from ..options import Json, PassphraseFile, TreePath
from ..output import give, iso_time, say
from ..session import Session, now, open_store

#: `run` is what people say for it.
_RIGHTS = {"read": Rights(0), "write": Rights.WRITE, "execute": Rights.EXECUTE, "run": Rights.EXECUTE}
DEFAULT_TIME = "1y"


@dataclass(frozen=True)
class Wish:
    """What is to be given, to whom and until when."""

    subject: PublicKeys
    read: bool
    rights: Rights
    until: int
    may_delegate: bool
    group: KnownGroup | None = None


def grant(
    principal: Annotated[
        str,
        typer.Argument(
            metavar="PRINCIPAL|GROUP", help="bt1…, a contact, a machine enrolled here, its request file, or a group."
        ),
    ],
    path: TreePath,
    rights: Annotated[str, typer.Argument(metavar="RIGHTS", help="Out of read, write, execute or run, with commas.")],
    until: Annotated[
        str, typer.Option(metavar="DATE", help="The end of writing and executing: a date, or 90d, 2w, 1y.")
    ] = DEFAULT_TIME,
    may_delegate: Annotated[
        bool, typer.Option("--delegate", "--may-delegate", help="It may pass writing and executing on to others.")
    ] = False,
    root: Annotated[
        bool,
        typer.Option("--root", help="With the root's keys instead of this machine's: what it gives can last longer."),
    ] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Give a principal access to a directory and all below.

    Reading has no end but new keys. The first grant of writing at a directory signs everything below it anew. What a
    group is granted, its members may, as long as they are in it; also those that come later.

    Examples:

      bt grant laptop home:/photos read

      bt grant bt1… home:/notes read,write --until 90d

      bt grant family home:/photos read,write

      bt grant bt1… home:/ write,execute --delegate --until 10y --root
    """
    session = Session(passphrase_file)
    read, wanted = parse_rights(rights)
    domain, place = session.home.resolve(path)
    subject = _find_subject(session, domain, principal)
    if root:
        session.hold(domain, session.unlock_root(domain))
    wish = Wish(subject.keys, read, wanted, parse_until(until, now()), may_delegate, subject.group)
    _check_group(wish)
    granted = give_access(session, domain, place, wish)
    issued = _issue_to_members(session, domain, wish)
    _show(wish, f"{domain.petname}:/{'/'.join(place.names)}", rights, granted, issued, as_json=json)


def _find_subject(session: Session, domain: Domain, text: str) -> Subject:
    """Also this machine itself, by its principal: what the root gave it may have to last longer."""
    own = domain.credentials.public()
    return Subject(keys=own) if text == str(own.principal) else find_subject(session, domain, text)


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


def _check_group(wish: Wish) -> None:
    """Writing through a group needs its keys, to issue it to the members; and they do not pass it on."""
    if wish.group is None:
        return
    if wish.may_delegate:
        raise CommandError(
            "members of a group do not pass on what they have through it", hint="grant it to somebody by name"
        )
    if wish.rights:
        wish.group.require_managed()


def _issue_to_members(session: Session, domain: Domain, wish: Wish) -> int:
    """Writecaps through the group, for those who are in it; how many."""
    if wish.group is None or not wish.rights:
        return 0
    identity = session.unlock(domain)
    with closing(open_store(domain, identity)) as store:
        return keeper(domain, store, identity).issue(wish.group.require_managed())


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
            may_delegate=wish.may_delegate or wish.group is not None,
            subtree=lambda: keys_below(tree, provider, directory, place),
            random=secrets.token_bytes,
        )


def _show(wish: Wish, path: str, rights: str, granted: Granted, issued: int, *, as_json: bool) -> None:
    last = granted.chain.last if granted.chain is not None else None
    end = None if last is None else iso_time(last.not_after)
    principal = str(wish.subject.principal)
    if as_json:
        give(
            {
                "principal": principal,
                "group": None if wish.group is None else wish.group.name,
                "path": path,
                "rights": rights.split(","),
                "until": end,
                "rehomed": granted.rehomed,
                "writecaps": issued,
            }
        )
        return
    called = principal if wish.group is None else f"The group {wish.group.called}"
    say(f"{called} may {rights.replace(',', ', ')} at {path} and below{f', until {end}' if end else ''}.")
    if issued:
        say(f"{issued} writecaps were issued to its members, each for as long as it is in the group.")
    if granted.rehomed:
        say(f"{granted.rehomed} blocks were signed anew for the new write scope.")
