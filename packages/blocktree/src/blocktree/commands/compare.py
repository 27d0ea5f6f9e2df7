"""`bt compare`: whether the store shows this machine what it showed another."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from btfproto.domain import Comparison, DomainReader, ViewTerms, compare_view, read_view, shown_heads, take_view
from btlib.exits import exit_code
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.principals import Principal

from ..errors import CommandError
from ..files.local import local_errors
from ..options import Json, PassphraseFile, complete_petname
from ..output import Json as Document
from ..output import give, human_time, iso_time, remark, say
from ..principals import name_of
from ..session import Session, known_revocations, now, open_store

FILE_LIMIT = 256 * 2**20  #: bytes of a view that are read
SHOWN = 5  #: blocks named one by one

FORKED = (
    "This store, or its operator, shows the two of you different trees, or one of you a tree of the past. Stop writing "
    "through it, keep both views, and compare with a third machine or a backup: bt backup."
)


def compare(
    petname: Annotated[
        str | None,
        typer.Argument(metavar="PETNAME", help="The domain.", autocompletion=complete_petname),
    ],
    views: Annotated[
        list[Path] | None, typer.Argument(metavar="VIEW", help="Files that other machines wrote with --write.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write what the store shows this machine now.")
    ] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Compare what the store shows this machine and others. A server can answer each differently.

    Each writes a view, and gives it to the other by a way that is not this store; each compares. A view is signed and
    names no file: block ids, versions and hashes. The exit code is 6 where they do not fit.

    Examples:

      bt compare home --write laptop.view

      bt compare home nas.view
    """
    if not views and write is None:
        raise CommandError("nothing to do", hint="write a view with --write FILE, or name one to compare with")
    session = Session(passphrase_file)
    domain = session.home.domain(petname)
    identity = session.unlock(domain)
    with closing(open_store(domain, identity)) as store:
        known = known_revocations(domain, store)
        reader = DomainReader(store, domain.root, known)
        theirs = [read_view(_read(file), domain.root, known.current, now=now()) for file in views or ()]
        if write is not None:
            with local_errors(write):
                write.write_bytes(take_view(reader, identity, known.seen, now=now()))
        here = shown_heads(reader) if theirs else {}
    found = [(terms, compare_view(terms, here, known.seen)) for terms in theirs]
    _show(domain, found, write, as_json=json)
    if not all(one.agrees for _, one in found):
        raise typer.Exit(exit_code(Kind.INTEGRITY))


def _read(file: Path) -> bytes:
    with local_errors(file), file.open("rb") as stream:
        content = stream.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise CommandError(
            f"{file} is longer than {FILE_LIMIT} bytes and so no view",
            hint="name what was written there with: bt compare --write FILE",
        )
    return content


def _show(domain: Domain, found: list[tuple[ViewTerms, Comparison]], write: Path | None, *, as_json: bool) -> None:
    if as_json:
        give({"written": None if write is None else str(write), "comparisons": [_document(*one) for one in found]})
        return
    if write is not None:
        say(f"Wrote {write}. Give it to another machine, which runs: bt compare {domain.petname} {write.name}")
    for terms, one in found:
        who = _called(domain, terms.author.principal)
        if one.agrees:
            when = human_time(terms.taken)
            say(f"The store shows here all that it showed {who} by {when} UTC: {one.compared} blocks.")
        else:
            _say_fork(who, one)
        if one.gone:
            remark(
                f"{one.gone} blocks are not there any more; right if they were removed since, and bt gc forgot them."
            )


def _say_fork(who: str, one: Comparison) -> None:
    say(f"The store does not show here what it showed {who}:")
    if one.list_fault is not None:
        say(f"  {one.list_fault}")
    for blocks, what in ((one.forked, "has another content of the same version"), (one.behind, "is older here")):
        for block in blocks[:SHOWN]:
            say(f"  block {block.hex()} {what}")
        if len(blocks) > SHOWN:
            say(f"  and {len(blocks) - SHOWN} more")
    remark(FORKED)


def _called(domain: Domain, principal: Principal) -> str:
    if principal == domain.root:
        return "the root"
    return name_of(domain, principal) or str(principal)


def _document(terms: ViewTerms, one: Comparison) -> Document:
    return {
        "author": str(terms.author.principal),
        "taken": iso_time(terms.taken),
        "agrees": one.agrees,
        "compared": one.compared,
        "forked": [block.hex() for block in one.forked],
        "behind": [block.hex() for block in one.behind],
        "gone": one.gone,
        "revocation_list": one.list_fault,
    }
