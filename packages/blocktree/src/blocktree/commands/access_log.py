"""`bt access log`: what was given and taken back, by whom and when, as the signed records of the domain say."""

from __future__ import annotations

from typing import Annotated

import typer
from btfproto.domain import DomainReader, Happened, LogEntry, domain_log, survey_records
from btlib.home import Domain
from btlib.paths import BlockPath
from btlib.principals import Principal

from ..dates import parse_since
from ..groups import find_somebody, known_groups
from ..options import Json, PassphraseFile, TreePath
from ..output import Json as Document
from ..output import give, human_time, iso_time, remark, say, visible
from ..principals import names_of
from ..session import Session, known_revocations, now, open_store

LIMITS = (
    "This is what the signed records in the store say now. Missing are writecaps that expired and were dropped from a "
    "record, readcaps that were withdrawn, and memberships that were never used to write. A writecap is shown at its "
    "beginning, a readcap at the last change of its record; for which path a readcap is, its seal hides."
)


def log(
    path: TreePath,
    who: Annotated[
        str | None,
        typer.Option(
            "--principal", metavar="PRINCIPAL", help="Only what concerns it: as giver, receiver or who was revoked."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only from then on: a date, or 2d for two days ago.")
    ] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show the grants and revocations of a domain. Also who came into groups and left; the oldest first.

    With a path below the root, only writecaps at or below it and their revocations are shown. The serials are what
    bt revoke takes.

    Examples:

      bt access log home:

      bt access log home:/photos --since 30d
    """
    session = Session(passphrase_file)
    domain, place = session.home.resolve(path)
    about = None if who is None else find_somebody(session, domain, who)
    identity = session.unlock(domain)
    store = open_store(domain, identity)
    try:
        view = known_revocations(domain, store)
        survey = survey_records(DomainReader(store, domain.root, view))
        groups = known_groups(domain, store, identity)
    finally:
        store.close()
    called = {one.membership.principal: f"the group {one.name}" for one in groups if one.name is not None}
    begin = None if since is None else parse_since(since, now())
    entries = [
        entry for entry in domain_log(survey, view.seen.record, domain.root) if _wanted(entry, place, about, begin)
    ]
    if json:
        give({"version": view.current.version, "entries": [_document(entry) for entry in entries]})
        return
    names = names_of(domain) | called | {domain.root: "root"}
    for entry in entries:
        say(visible(_line(domain, entry, names)))
    if survey.refused:
        remark(f"{survey.refused} records do not verify and were left out; bt scrub names them.")
    remark(LIMITS)


def _wanted(entry: LogEntry, place: BlockPath, about: Principal | None, begin: int | None) -> bool:
    return (
        (begin is None or entry.time >= begin)
        and (about is None or about in (entry.by, entry.subject, entry.group))
        and (not place.names or (entry.path is not None and place.is_prefix_of(entry.path)))
    )


def _line(domain: Domain, entry: LogEntry, names: dict[Principal, str]) -> str:
    """One line, for people."""

    def called(who: Principal | None) -> str:
        return "somebody" if who is None else names.get(who, str(who))

    path = "" if entry.path is None else f"{domain.petname}:/{'/'.join(entry.path.names)}"
    begin = f"{human_time(entry.time)} {called(entry.by)}"
    match entry.what:
        case Happened.GRANTED:
            rights = "" if entry.rights is None else entry.rights.text
            end = "" if entry.until is None else f" until {human_time(entry.until)}"
            more = ", may delegate" if entry.may_delegate else ""
            return f"{begin} lets {called(entry.subject)} {rights} at {path}{end}{more}, serial {_hex(entry.serial)}"
        case Happened.KEY_GIVEN:
            return f"{begin} gave {called(entry.subject)} the key of block {_hex(entry.block)}"
        case Happened.JOINED:
            end = "" if entry.until is None else f" until {human_time(entry.until)}"
            return f"{begin} let {called(entry.subject)} into {called(entry.group)}{end}"
        case Happened.LEFT:
            return f"{begin} put {called(entry.subject)} out of {called(entry.group)}"
        case Happened.REVOKED:
            since = "" if entry.since is None else f" from {human_time(entry.since)} on"
            if entry.serial is None:
                return f"{begin} revoked {called(entry.subject)}{since}"
            at = f" of {called(entry.subject)} at {path}" if path else ""
            return f"{begin} revoked the writecap {_hex(entry.serial)}{at}{since}"


def _hex(value: bytes | None) -> str:
    return "" if value is None else value.hex()


def _document(entry: LogEntry) -> Document:
    return {
        "time": iso_time(entry.time),
        "what": entry.what.value,
        "by": str(entry.by),
        "principal": None if entry.subject is None else str(entry.subject),
        "path": None if entry.path is None else str(entry.path),
        "rights": None if entry.rights is None else entry.rights.text,
        "until": None if entry.until is None else iso_time(entry.until),
        "may_delegate": entry.may_delegate,
        "serial": None if entry.serial is None else entry.serial.hex(),
        "since": None if entry.since is None else iso_time(entry.since),
        "group": None if entry.group is None else str(entry.group),
        "block": None if entry.block is None else entry.block.hex(),
    }
