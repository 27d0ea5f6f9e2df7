"""`bt access explain`: what somebody may do at a path, and why, step by step."""

from __future__ import annotations

from typing import Annotated

import typer
from btfproto.domain import Access, AccessExplanation, DomainReader, explain_access, explain_granted
from btlib.home import Domain
from btlib.identity import Identity
from btlib.paths import BlockPath
from btlib.principals import Principal

from ..errors import CommandError
from ..groups import find_somebody
from ..options import Json, PassphraseFile, complete_tree_path
from ..output import Json as Document
from ..output import give, iso_time, say, visible
from ..places import places_above
from ..session import Session, known_revocations, now, open_store

POWERS = ("read", "write", "execute")


def explain(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[PRINCIPAL] PETNAME:/PATH",
            help="About whom: bt1…, a contact, a machine enrolled here, a group; else this machine. And where.",
            autocompletion=complete_tree_path,
        ),
    ],
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Say what somebody may do at a path, and why. Where it may not, at which step it fails.

    Examples:

      bt access explain home:/photos

      bt access explain laptop home:/photos
    """
    *whom, path = words
    if len(whom) > 1:
        raise CommandError(f"{len(words)} words are too many", hint="use: bt access explain [PRINCIPAL] PETNAME:/PATH")
    session = Session(passphrase_file)
    domain, place = session.home.resolve(path)
    own = session.unlock(domain)
    who = find_somebody(session, domain, whom[0]) if whom else own.principal
    answer = _explain_own(domain, own, place) if who == own.principal else _explain_other(session, domain, who, place)
    _show(domain, answer, as_json=json)


def _explain_own(domain: Domain, own: Identity, place: BlockPath) -> AccessExplanation:
    store = open_store(domain, own)
    try:
        return explain_access(store, own, place, now(), revocations=known_revocations(domain, store))
    finally:
        store.close()


def _explain_other(session: Session, domain: Domain, who: Principal, place: BlockPath) -> AccessExplanation:
    """What the domain's public records say of somebody else, as far as this machine can see the tree."""
    with session.attach_local(domain, [place]) as (tree, provider, store):
        places = places_above(tree, provider, place)
        return explain_granted(DomainReader(store, place.root), places, place, who, now())


def _show(domain: Domain, answer: AccessExplanation, *, as_json: bool) -> None:
    powers: dict[str, Access] = {power: getattr(answer, power) for power in POWERS}
    if as_json:
        documents = {power: document(access) for power, access in powers.items()}
        give({"principal": str(answer.principal), "path": str(answer.path), **documents})
        return
    lines = [f"{answer.principal} at {answer.path}"]
    for power, access in powers.items():
        outcome = "yes" if access.allowed else f"no, it fails at: {access.failed}"
        lines += [f"{power}: {outcome}", *(f"  - {step}" for step in access.steps)]
    for line in lines:
        # The reader knows this domain by its petname, and every path here lies in it.
        say(visible(line.replace(f"/{domain.root}", f"{domain.petname}:")))


def document(access: Access) -> Document:
    """A power for programs."""
    return {
        "allowed": access.allowed,
        "failed": access.failed,
        "until": None if access.until is None else iso_time(access.until),
        "via": None if access.via is None else str(access.via),
        "steps": list(access.steps),
    }
