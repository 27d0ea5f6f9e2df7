"""`bt gc`: gives back what nobody needs any more, in the tree and in the files of the store."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated

import typer
from btfproto.care import Orphan, Tombstone, find_orphans, find_tombstones, measure, remove_orphans
from btfproto.domain import open_volume
from btfproto.localfs import FilePins, FsOptions, LocalFs
from btfproto.store import EmbeddedStore, Store
from btfproto.store.remote import StoreClient
from btlib.home import Domain
from btlib.identity import Identity
from btlib.kinds import Kind

from ..dates import parse_since
from ..errors import CommandError
from ..options import Json, PassphraseFile
from ..output import Json as Document
from ..output import give, human_size, remark, say
from ..progress import Meter
from ..session import Session, known_revocations, now, open_store
from .scrub import OptionalTreePath, Progress, choose_meter, resolve_domain

SHARE = 0.9  #: a segment with less alive is emptied: at least a byte back for nine that are moved
AGE = "1d"

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
OlderThan = Annotated[
    str, typer.Option("--older-than", metavar="AGE", help="Leave unnamed blocks alone that were written later.")
]
Tombstones = Annotated[
    str | None,
    typer.Option("--tombstones", metavar="AGE", help="Forget removed blocks too, if they were removed before."),
]
NoCompact = Annotated[bool, typer.Option("--no-compact", help="Do not move records to give dead bytes back.")]


@dataclass
class Done:
    """What was found, and what came of it. The store's own part is None where it is not on this machine."""

    orphans: list[Orphan] = field(default_factory=list)
    tombstones: list[Tombstone] | None = None
    movable: int | None = None  #: bytes alive in segments that are worth emptying
    dead: int | None = None  #: bytes that emptying them gives back
    before: int = 0  #: bytes of all segments
    after: int = 0


def gc(
    path: OptionalTreePath = None,
    dry_run: DryRun = False,
    older_than: OlderThan = AGE,
    tombstones: Tombstones = None,
    no_compact: NoCompact = False,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Give back the room that nobody needs any more.

    Blocks that no directory names are removed: a crash leaves them, where a removed file was still open. For that the
    whole tree is walked, and nothing is removed if any of it cannot be read. Then segments get emptied of dead bytes.
    A store does most of this by itself as it is written to.

    Of a store that a btfsd has open, and of one on another machine, only the first is done.

    Examples:

      bt gc home: --dry-run

      bt gc home: --tombstones 90d
    """
    session = Session(passphrase_file)
    domain, place = resolve_domain(session, path)
    if place.names:
        raise CommandError(
            f"{path} is a part of a domain, and garbage is in none", hint=f"use: bt gc {domain.petname}:"
        )
    moment = parse_since(older_than, now())
    buried = None if tombstones is None else parse_since(tombstones, now())
    identity = session.unlock(domain)
    meter, started, done = choose_meter(progress, as_json=json), time.monotonic(), Done()
    with meter, closing(open_store(domain, identity)) as store:
        _collect(domain, identity, store, moment, meter, done, dry_run=dry_run)
        if isinstance(store, EmbeddedStore):
            _tidy(store, buried, meter, done, compact=not no_compact, dry_run=dry_run)
    _show(done, time.monotonic() - started, dry_run=dry_run, as_json=json)


def _collect(
    domain: Domain, identity: Identity, store: Store, moment: int, meter: Meter, done: Done, *, dry_run: bool
) -> None:
    """The blocks that nothing names."""
    view = known_revocations(domain, store)
    volume = open_volume(store, identity, domain.root_path, now(), revocations=view)
    if volume.path.names or volume.rest:
        raise CommandError(
            f"this machine cannot read all of {domain.petname}, and so not tell what nothing names there",
            kind=Kind.FORBIDDEN,
            hint="do it on the machine where the domain was made",
        )
    options = FsOptions(shared=isinstance(store, StoreClient), read_only=True)
    with closing(FilePins(domain.pins)) as pins:
        provider = LocalFs(store, identity, volume, options=options, pins=pins, revocations=view)
        try:
            meter.expect(store.status().blocks, 0)
            done.orphans = find_orphans(store, provider, moment, meter)
        finally:
            provider.shutdown()
    if done.orphans and not dry_run:
        remove_orphans(store, identity, volume, done.orphans, now(), meter)


def _tidy(store: EmbeddedStore, buried: int | None, meter: Meter, done: Done, *, compact: bool, dry_run: bool) -> None:
    """What only the store itself can do."""
    if buried is not None:
        done.tombstones = find_tombstones(store, buried)
        if not dry_run:
            store.forget_tombstones([(found.block, found.version) for found in done.tombstones])
    done.before = done.after = measure(store.directory).segments
    if not compact:
        return
    done.movable, done.dead = store.compactable(SHARE)
    if dry_run:
        return
    meter.expect(0, done.movable)
    for moved in store.compact(SHARE):
        meter.item("segments")
        meter.bytes(moved)
    done.after = measure(store.directory).segments


def _show(done: Done, seconds: float, *, dry_run: bool, as_json: bool) -> None:
    unnamed = sum(orphan.size for orphan in done.orphans)
    if as_json:
        document: dict[str, Document] = {
            "dry_run": dry_run,
            "unnamed_blocks": [orphan.header.block.hex() for orphan in done.orphans],
            "unnamed_bytes": unnamed,
            "tombstones": None if done.tombstones is None else len(done.tombstones),
            "dead": done.dead,
            "segments_before": None if done.movable is None else done.before,
            "segments_after": None if done.movable is None else done.after,
            "seconds": round(seconds, 3),
        }
        give(document)
        return
    verb = "would be" if dry_run else "were"
    say(f"{len(done.orphans)} blocks that nothing names {verb} removed ({human_size(unnamed)})")
    if done.tombstones is not None:
        say(f"{len(done.tombstones)} tombstones {verb} forgotten")
    if done.movable is None:
        remark("the files of the store were left alone")
    elif dry_run:
        say(f"{human_size(done.dead or 0)} would be given back, by moving {human_size(done.movable)}")
    else:
        rate = human_size(int(done.movable / max(seconds, 0.001)))
        gone = human_size(max(0, done.before - done.after))
        say(f"{gone} were given back, by moving {human_size(done.movable)}, in {seconds:.1f} s ({rate}/s)")
