"""`bt df`: how much room a domain's store takes, and how much there is."""

from __future__ import annotations

import shutil
from pathlib import Path

from btfproto.care import measure
from btlib.home import Domain

from ..options import Json, PassphraseFile
from ..output import Json as Document
from ..output import give, human_size, say
from ..session import Session
from .scrub import OptionalTreePath, opened_store, resolve_domain

LABELS = {
    "blocks": "blocks",
    "tombstones": "tombstones",
    "store": "store",
    "living": "  living records",
    "snapshots": "  what only snapshots have",
    "dead": "  dead bytes in segments",
    "index": "  index, with heads and small bodies",
    "capacity": "device",
    "available": "  available",
}
COUNTS = {"blocks", "tombstones"}


def df(path: OptionalTreePath = None, json: Json = False, passphrase_file: PassphraseFile = None) -> None:
    """Say how much room the store of a domain takes.

    A store on this machine needs no passphrase, also while it is in use. Dead bytes were overwritten or removed; they
    are given back as the store is written to.

    Example: bt df home:
    """
    session = Session(passphrase_file)
    domain, _ = resolve_domain(session, path)
    found = _local(domain.store) if domain.store is not None else _remote(session, domain)
    if json:
        shown: dict[str, Document] = {"domain": domain.petname, "path": str(domain.store) if domain.store else None}
        give({**shown, **found})
        return
    say(f"{domain.petname}: {domain.store or domain.server or 'on a server'}")
    for key, count in found.items():
        if count is not None:
            say(f"{LABELS[key]:<36} {str(count) if key in COUNTS else human_size(count):>12}")


def _local(directory: Path) -> dict[str, int | None]:
    usage, device = measure(directory), shutil.disk_usage(directory)
    return {
        "blocks": usage.blocks,
        "tombstones": usage.tombstones,
        "store": usage.segments + usage.index,
        "living": usage.records,
        "snapshots": usage.snapshots,
        "dead": usage.dead,
        "index": usage.index,
        "capacity": device.total,
        "available": device.free,
    }


def _remote(session: Session, domain: Domain) -> dict[str, int | None]:
    """What a server tells: it keeps its files to itself."""
    with opened_store(domain, session.unlock(domain)) as store:
        status = store.status()
    return {
        "blocks": status.blocks,
        "tombstones": None,
        "store": None,
        "living": status.stored_bytes,
        "snapshots": None,
        "dead": None,
        "index": None,
        "capacity": status.capacity,
        "available": status.available,
    }
