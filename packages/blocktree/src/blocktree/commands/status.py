"""`bt status`: which domains this machine belongs to, where their bytes are, what is mounted.

Without `--check` it asks for no passphrase and connects to nothing. A damaged domain is shown as damaged, beside the
others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from btfproto.domain import DomainReader, HeldChains
from btfproto.localfs import Kept, kept_in
from btfproto.opening import RECOVERED, next_command
from btfproto.store import lock_holder
from btlib.errors import BlocktreeError
from btlib.exits import exit_code
from btlib.home import Domain, Home, tcti_of
from btlib.writecaps import Rights

from ..key_places import place_text
from ..mounts import mounts
from ..options import Json, PassphraseFile
from ..output import Json as Document
from ..output import describe, give, human_size, iso_time, say, visible
from ..rekey_notes import notes
from ..session import Session, now, open_store

Facts = dict[str, Document]


def status(
    check: Annotated[
        bool, typer.Option("--check", help="Open each store or reach each server too; asks for the passphrase.")
    ] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show domains, stores, servers and mounts of this machine.

    Example: bt status --check
    """
    session = Session(passphrase_file)
    home = session.home
    domains: list[Facts] = [_facts(session, petname, check=check) for petname in home.petnames()]
    mounted: list[Facts] = [
        {"source": mount.source, "mountpoint": str(mount.mountpoint), "options": mount.options} for mount in mounts()
    ]
    if json:
        give({"home": str(home.config), "domains": domains, "pending": home.pending(), "mounts": mounted})
    else:
        _say_all(home, domains, mounted)
    _end_with_failure(domains)


def _facts(session: Session, petname: str, *, check: bool) -> Facts:
    facts: Facts = {"petname": petname}
    try:
        domain = session.home.domain(petname)
        facts |= _settings(domain)
        facts["principal"] = str(domain.credentials.public().principal)
        if check:
            facts["check"] = _check(session, domain)
    except BlocktreeError as error:
        facts["error"] = describe(error)
        facts["exit_code"] = int(exit_code(error.kind))
    return facts


def _settings(domain: Domain) -> Facts:
    store = domain.store
    holder = lock_holder(store) if store is not None and store.is_dir() else None
    return {
        "root": str(domain.root),
        "host": domain.host,
        "store": None if store is None else str(store),
        "stored_bytes": None if store is None else _size(store),
        "holder": None if holder is None else {"pid": holder.pid, "program": holder.program},
        "server": domain.server,
        "tpm": tcti_of(domain.credentials_file, domain.tcti),
        "credentials": str(domain.credentials_file),
        "root_credentials": domain.root_credentials_file.exists(),
        "rekeying": [
            {"path": f"{domain.petname}:/{'/'.join(note.place.names)}", "lazily": note.lazily} for note in notes(domain)
        ],
        "recovered": [_recovered(note, kept) for note, kept in kept_in(domain.data / RECOVERED)],
    }


def _recovered(note: Path, kept: Kept) -> Facts:
    """Changes that could not be saved where they were made, and where they are now."""
    return {
        "note": str(note),
        "time": kept.time,
        "files": kept.files,
        "tree": kept.tree,
        "directory": kept.directory,
        "reason": kept.reason,
    }


def _check(session: Session, domain: Domain) -> Facts:
    identity = session.unlock(domain)
    with closing(open_store(domain, identity)) as store:
        found = store.status()
        ending = list(_ending(HeldChains(DomainReader(store, domain.root), identity), now()))
    return {
        "blocks": found.blocks,
        "stored_bytes": found.stored_bytes,
        "available": found.available,
        "ending": [*ending],
    }


def _ending(held: HeldChains, moment: int) -> Iterator[Facts]:
    """What this machine may do, but not for long any more, and what helps."""
    held.look(moment)
    for chain in held.ending(moment):
        last = chain.last
        assert last is not None
        rights = Rights(last.rights).text
        yield {"rights": rights, "path": last.path, "until": last.not_after, "next": next_command(chain)}


def _size(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def _say_all(home: Home, domains: list[Facts], mounted: list[Facts]) -> None:
    if not domains:
        say(f"No domain in {home.config} yet. Make one with: bt init, or join one with: bt enroll request")
    for facts in domains:
        _say_domain(facts)
    for petname in home.pending():
        say(f"{petname}  waits for its answer: bt enroll accept")
    for mount in mounted:
        say(f"{visible(str(mount['source']))} on {visible(str(mount['mountpoint']))} ({mount['options']})")


def _say_domain(facts: Facts) -> None:
    say(str(facts["petname"]))
    lines = {
        "root": facts.get("root"),
        "machine": f"{facts.get('principal')} ({facts.get('host')})" if "principal" in facts else None,
        "keys": _keys_line(facts),
        "store": _store_line(facts),
        "server": facts.get("server"),
        "check": _check_line(facts.get("check")),
        "error": _error_line(facts.get("error")),
    }
    for name, value in lines.items():
        if value is not None:
            say(f"  {name:<9} {visible(str(value))}")
    for one in _list(_ending_of(facts.get("check"))):
        say(f"  ending    {visible(_ending_line(one))}")
    for left in _list(facts.get("rekeying")):
        say(f"  rekeying  {visible(str(left['path']))} has old keys left: bt rekey --resume")
    for kept in _list(facts.get("recovered")):
        say(f"  recovered {visible(_recovered_line(str(facts['petname']), kept))}")


def _ending_of(check: Document) -> Document:
    return check.get("ending") if isinstance(check, dict) else None


def _ending_line(one: Facts) -> str:
    return f"{one['rights']} at {one['path']} until {iso_time(_number(one['until']))}: {one['next']}"


def _recovered_line(petname: str, kept: Facts) -> str:
    place = kept["directory"] or f"{petname}:{kept['tree']}"
    return f"{kept['files']} files in {place}: {kept['reason']} (seen? rm {kept['note']})"


def _keys_line(facts: Facts) -> str | None:
    if "credentials" not in facts:
        return None
    tcti = facts["tpm"]
    return place_text(Path(str(facts["credentials"])), None if tcti is None else str(tcti))


def _store_line(facts: Facts) -> str | None:
    if facts.get("store") is None:
        return None
    line = f"{facts['store']} ({human_size(_number(facts['stored_bytes']))})"
    holder = facts.get("holder")
    return f"{line}, in use by {holder['program']} (process {holder['pid']})" if isinstance(holder, dict) else line


def _check_line(check: Document) -> str | None:
    if not isinstance(check, dict):
        return None
    return f"{check['blocks']} blocks, {human_size(_number(check['available']))} available"


def _error_line(error: Document) -> str | None:
    if not isinstance(error, dict):
        return None
    return f"{error['message']}; {error['hint']}" if error["hint"] else str(error["message"])


def _list(value: Document) -> list[Facts]:
    return [facts for facts in value if isinstance(facts, dict)] if isinstance(value, list) else []


def _number(value: Document) -> int:
    return value if isinstance(value, int) else 0


def _end_with_failure(domains: list[Facts]) -> None:
    codes = [_number(facts["exit_code"]) for facts in domains if "exit_code" in facts]
    if codes:
        raise typer.Exit(codes[0])
