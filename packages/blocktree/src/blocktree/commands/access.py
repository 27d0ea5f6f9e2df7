"""`bt access explain`: what somebody may do at a path, and why, step by step."""

from __future__ import annotations

from typing import Annotated

import typer
from btfproto.domain import Access, DomainReader, explain_access, explain_right
from btlib.home import Domain
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.writecaps import Rights

from ..files.keys import keys_above
from ..options import Json, PassphraseFile, TreePath
from ..output import Json as Document
from ..output import give, say, visible
from ..principals import find_member
from ..session import Session, now, open_store

Answer = dict[str, Access]  # by power: read, write, execute


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="Why somebody may, or may not.", no_args_is_help=True)
    app.callback()(_group)
    app.command()(explain)
    return app


def _group() -> None:
    """Keeps `explain` a word of its own: typer would merge a single command into its group."""


def explain(
    path: TreePath,
    principal: Annotated[
        str | None,
        typer.Option(metavar="PRINCIPAL", help="About whom: bt1…, or a machine enrolled here; else this machine."),
    ] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Say what somebody may do at a path, and why.

    Example: bt access explain home:/photos --principal laptop
    """
    session = Session(passphrase_file)
    domain, place = session.home.resolve(path)
    own = session.unlock(domain)
    who = own.principal if principal is None else _principal(domain, principal)
    answer = _explain_own(domain, own, place) if who == own.principal else _explain_other(session, domain, who, place)
    _show(domain, who, place, answer, as_json=json)


def _explain_own(domain: Domain, own: Identity, place: BlockPath) -> Answer:
    store = open_store(domain, own)
    try:
        found = explain_access(store, own, place, now())
    finally:
        store.close()
    return {"read": found.read, "write": found.write, "execute": found.execute}


def _principal(domain: Domain, text: str) -> Principal:
    return Principal.parse(text) if text.startswith("bt1") else find_member(domain, text).request.principal


def _explain_other(session: Session, domain: Domain, who: Principal, place: BlockPath) -> Answer:
    """What the domain's public records say of somebody else, as far as this machine can see the tree."""
    with session.attach_local(domain, [place]) as (tree, provider, store):
        reader = DomainReader(store, place.root)
        _, grants = reader.grants(reader.domain().scope, who)
        above = {key.block: key.path for key in keys_above(tree, provider, place)}
        opened = [above[cap.block] for cap in grants.readcaps if cap.block in above]
        steps = [f"{who} holds a readcap for {path}, which opens all below" for path in opened]
        none = f"none of the {len(grants.readcaps)} readcaps of {who} is for {place} or a directory above it"
    return {
        "read": Access(allowed=bool(opened), steps=tuple(steps or [none])),
        "write": explain_right(grants.chains, who, place, Rights.WRITE, now()),
        "execute": explain_right(grants.chains, who, place, Rights.EXECUTE, now()),
    }


def _show(domain: Domain, who: Principal, path: BlockPath, answer: Answer, *, as_json: bool) -> None:
    if as_json:
        powers: dict[str, Document] = {
            power: {"allowed": access.allowed, "steps": list(access.steps)} for power, access in answer.items()
        }
        give({"principal": str(who), "path": str(path), **powers})
        return
    lines = [f"{who} at {path}"]
    for power, access in answer.items():
        lines += [f"{power}: {'yes' if access.allowed else 'no'}", *(f"  - {step}" for step in access.steps)]
    for line in lines:
        # The reader knows this domain by its petname, and every path here lies in it.
        say(visible(line.replace(f"/{domain.root}", f"{domain.petname}:")))
