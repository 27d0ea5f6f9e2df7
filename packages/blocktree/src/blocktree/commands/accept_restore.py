"""`bt accept-restore`: the one deliberate way to believe a store again that shows an older state than was seen."""

from __future__ import annotations

import getpass
import json as codec
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from btfproto.care import (
    LostRevocations,
    WentBack,
    accept_rolled_back,
    find_lost_revocations,
    find_rolled_back,
    find_store_went_back,
    name_blocks,
)
from btfproto.localfs import FilePins, MemoryPins, StoreComparison
from btfproto.opening import memory_of
from btfproto.store import Store
from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.identity import Identity
from btlib.kinds import Kind

from ..asking import confirm
from ..files.local import local_errors
from ..options import Json, PassphraseFile, Petname
from ..output import Json as Document
from ..output import give, human_time, iso_time, remark, visible
from ..progress import Meter
from ..session import Session, now, open_store
from .scrub import Progress, choose_meter, read_only_tree

LOG_NAME = "accepted-restores.log"  #: beside the pins; a line of JSON for each time
SHOWN = 20  #: lines before "and … more"

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def accept_restore(
    petname: Petname = "home",
    yes: Yes = False,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Believe a store again that was restored from a backup.

    This machine remembers the newest state of all that it saw, and refuses an older one, since that is what a bad
    server would show. This command says what went back, asks, and then takes what the store shows as the newest
    there is. Use it on each machine of the domain, and only after a restore that you know of: whoever could put the
    old state there could do it again. Running mounts and servers have to be stopped before.

    Example: bt accept-restore home
    """
    session = Session(passphrase_file)
    domain, _ = session.home.resolve(f"{petname.removesuffix(':')}:")
    identity = session.unlock(domain)
    with closing(open_store(domain, identity)) as store, closing(FilePins(domain.pins)) as pins:
        with choose_meter(progress, as_json=json) as meter:
            as_whole = find_store_went_back(store, pins)
            went_back = list(find_rolled_back(store, pins, meter))
            remembered = memory_of(domain).load()
            lost = find_lost_revocations(store, domain.root, None if remembered is None else remembered.seen)
            names = _names(domain, identity, store, went_back, meter)
        document = _document(domain, as_whole, went_back, lost, names)
        older = bool(went_back) or as_whole is not None or lost is not None
        if older:
            _tell(domain, as_whole, went_back, lost, names)
            if not yes:
                confirm("Take this older state as the newest there is?", otherwise="--yes")
            _log(domain.data / LOG_NAME, document)
            accept_rolled_back(pins, went_back, as_whole)
            if lost is not None:
                memory_of(domain).forget()
    if json:
        give(document)
    elif not older:
        remark(f"nothing of {domain.petname} went back: there is nothing to accept")
    else:
        remark(f"accepted; it is noted in {domain.data / LOG_NAME}")


def _names(
    domain: Domain, identity: Identity, store: Store, went_back: Sequence[WentBack], meter: Meter
) -> dict[int, str]:
    """Paths of what went back, as far as they can be known: the tree is read as it is shown now."""
    wanted = {found.inode for found in went_back if found.shown}
    if not wanted:
        return {}
    try:
        with read_only_tree(domain, identity, store, domain.root_path, MemoryPins()) as tree:
            found = name_blocks(tree.provider, wanted, meter)
    except BlocktreeError as error:
        if error.kind not in (Kind.FORBIDDEN, Kind.INTEGRITY, Kind.NOT_FOUND, Kind.ROLLBACK, Kind.STALE):
            raise
        return {}
    return {inode: f"{domain.petname}:/{'/'.join(path)}" for inode, path in found.items()}


def _tell(
    domain: Domain,
    as_whole: StoreComparison | None,
    went_back: Sequence[WentBack],
    lost: LostRevocations | None,
    names: dict[int, str],
) -> None:
    """Say what went back, in lines for people; beside the result, since the question follows."""
    older = sorted((found for found in went_back if found.shown), key=lambda found: names.get(found.inode, "~"))
    missing = len(went_back) - len(older)
    remark(f"The store of {domain.petname} shows an older state than this machine has seen.")
    if as_whole is not None:
        remark(f"As a whole: {as_whole}. What else was committed is gone, whoever did it.")
    if older:
        remark(f"{len(older)} files, directories and records went back:")
        for found in older[:SHOWN]:
            remark(f"  {visible(_line(found, names))}")
        if len(older) > SHOWN:
            remark(f"  and {len(older) - SHOWN} more")
    if missing:
        remark(f"{missing} that were seen are not in the store at all: they were made after the backup.")
    if lost is not None:
        remark(f"The revocation list went back from version {lost.seen} to {lost.shown}. Not revoked any more:")
        for words in _revocations(domain, lost):
            remark(f"  {words}")


def _line(found: WentBack, names: dict[int, str]) -> str:
    when = "" if found.written is None else f", of {human_time(found.written)}"
    name = names.get(found.inode, f"block {found.block.hex()}")
    return f"{name}: version {found.seen} was seen, the store has version {found.shown}{when}"


def _revocations(domain: Domain, lost: LostRevocations) -> list[str]:
    """Each with the command that revokes it again."""
    ends = [(str(principal), since) for principal, since in lost.principals.items()]
    ends += [(serial.hex(), since) for serial, since in lost.serials.items()]
    return [f"{who}; again: bt revoke {who} {domain.petname}: --from {iso_time(since)[:16]}" for who, since in ends]


def _document(
    domain: Domain,
    as_whole: StoreComparison | None,
    went_back: Sequence[WentBack],
    lost: LostRevocations | None,
    names: dict[int, str],
) -> dict[str, Document]:
    return {
        "time": iso_time(now()),
        "domain": domain.petname,
        "store": str(domain.store or domain.server),
        "user": getpass.getuser(),
        "commits": None
        if as_whole is None
        else {"seen": as_whole.seen.cursor, "shown": as_whole.shown.cursor, "same_before": as_whole.same},
        "went_back": [
            {
                "block": found.block.hex(),
                "path": names.get(found.inode),
                "seen": found.seen,
                "shown": found.shown,
                "written": None if found.written is None else iso_time(found.written),
            }
            for found in went_back
        ],
        "revocations": None
        if lost is None
        else {
            "seen": lost.seen,
            "shown": lost.shown,
            "principals": [str(principal) for principal in lost.principals],
            "serials": [serial.hex() for serial in lost.serials],
        },
    }


def _log(path: Path, document: dict[str, Document]) -> None:
    """Durable before anything is accepted."""
    with local_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as log:
            log.write(codec.dumps(document) + "\n")
            log.flush()
            os.fsync(log.fileno())
