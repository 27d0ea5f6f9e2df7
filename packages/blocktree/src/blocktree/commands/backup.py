"""`bt backup` and `bt restore`: a whole store, copied as it is, in use or not, and back.

Neither asks for a passphrase: what is copied is sealed, and that it is what was signed can be checked without keys.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer
from btfproto.care import (
    NOTE_NAME,
    ArchiveSource,
    ArchiveTarget,
    Copied,
    Damage,
    DirectorySource,
    DirectoryTarget,
    copy_store,
    opened_copy,
    scrub_store,
)
from btfproto.domain import domains_in
from btfproto.store import Store, lock_holder
from btlib.exits import ExitCode
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.principals import Principal

from ..errors import CommandError
from ..files.local import local_errors
from ..options import Json, complete_tree_path
from ..output import give, human_size, remark, say
from ..progress import Meter
from ..session import Session
from .copying import TreePlace, parse_place
from .scrub import Progress, choose_meter

ARCHIVE = ".tar"  #: a backup of such a name is one file
FORMAT = 1
NOTE_LIMIT = 4096
INDEX = "index.sqlite"

Unverified = Annotated[
    bool, typer.Option("--no-verify", help="Do not read the copy again to check it against what was signed.")
]


class _Note(msgspec.Struct, frozen=True):
    """What a backup says of itself."""

    format: int
    root: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    copied: Copied
    root: Principal
    target: Path
    seconds: float
    verified: bool
    damage: list[Damage]


def backup(
    store: Annotated[
        str,
        typer.Argument(
            metavar="PETNAME:|STORE",
            help="A domain whose store lies on this machine, or the directory of a store.",
            autocompletion=complete_tree_path,
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(metavar="DIR|FILE.tar", help="A directory, which can be brought up to date, or a new file."),
    ],
    no_verify: Unverified = False,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Copy a whole store, and check the copy. The store may be in use.

    The copy is the store as of one moment. Into a directory that has an earlier backup, only what is new is copied;
    an interrupted backup goes on where it was. No passphrase is needed, and what is copied stays encrypted: to have
    the files back one needs the keys, or the recovery words.

    Exit code 6 where the copy, and so the store, is damaged.

    Examples:

      bt backup home: /mnt/disk/home-backup

      bt backup home: home-2026-11.tar
    """
    source_directory, root = _source(store)
    meter, started = choose_meter(progress, as_json=json), time.monotonic()
    with ExitStack() as stack, local_errors(target):
        stack.enter_context(meter)
        source = stack.enter_context(closing(DirectorySource(source_directory)))
        root = root or _only_root(source_directory, source)
        place = stack.enter_context(_opened_target(target, _note(root)))
        copied, damage = _copy(source, place, root, meter, verify=not no_verify)
        if isinstance(place, ArchiveTarget) and not damage:
            place.publish()
    seconds = time.monotonic() - started
    _show(
        Outcome(copied=copied, root=root, target=target, seconds=seconds, verified=not no_verify, damage=damage),
        "backed up",
        as_json=json,
    )


def restore(
    backup: Annotated[Path, typer.Argument(metavar="DIR|FILE.tar", help="What bt backup made.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="PETNAME:|STORE",
            help="A domain of this machine, or a new directory for the store.",
            autocompletion=complete_tree_path,
        ),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Where there is a store, move it aside: STORE.replaced-TIME.")
    ] = False,
    no_verify: Unverified = False,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Make a store from a backup. It is checked before it takes its place.

    An interrupted restore goes on where it was. A machine that saw a newer state of the domain refuses the restored
    one until bt accept-restore; where all machines are lost, bt recover --store takes the restored directory.

    Exit code 6 where the backup is damaged; then nothing takes its place.

    Examples:

      bt restore /mnt/disk/home-backup home: --replace

      bt restore home-2026-11.tar /srv/store
    """
    directory, domain = _restore_place(target)
    _require_free(directory, replace=replace)
    staging = directory.with_name(f"{directory.name}.restoring")
    meter, started = choose_meter(progress, as_json=json), time.monotonic()
    with ExitStack() as stack, local_errors(directory):
        stack.enter_context(meter)
        source, root = stack.enter_context(_opened_backup(backup))
        if domain is not None and root != domain.root:
            raise CommandError(
                f"{backup} is a backup of the domain of {root}, and {domain.petname} is that of {domain.root}",
                hint="name another backup, or another domain",
            )
        place = stack.enter_context(closing(DirectoryTarget(staging, _note(root), "bt restore")))
        copied, damage = _copy(source, place, root, meter, verify=not no_verify)
    if not damage:
        with local_errors(directory):
            _take_place(staging, directory)
    seconds = time.monotonic() - started
    _show(
        Outcome(copied=copied, root=root, target=directory, seconds=seconds, verified=not no_verify, damage=damage),
        "copied, not restored," if damage else "restored",
        as_json=json,
    )


def _source(text: str) -> tuple[Path, Principal | None]:
    """The directory of a store, and its domain's root where that is known."""
    place = parse_place(Session(), text)
    if not isinstance(place, TreePlace):
        return place.path, None
    if place.path.names:
        raise CommandError(
            f"{text} is a part of a domain, and a backup is of a whole store", hint="for parts: bt export"
        )
    return _local_store(place.domain), place.domain.root


def _local_store(domain: Domain) -> Path:
    if domain.store is None:
        raise CommandError(
            f"the store of {domain.petname} is not on this machine",
            kind=Kind.NOT_FOUND,
            hint=f"do it where it lies ({domain.server or 'its server'}); from here: bt export",
        )
    return domain.store


def _restore_place(text: str) -> tuple[Path, Domain | None]:
    place = parse_place(Session(), text)
    if isinstance(place, TreePlace):
        return _local_store(place.domain).absolute(), place.domain
    return place.path.absolute(), None


def _require_free(directory: Path, *, replace: bool) -> None:
    """Raises CommandError where something is there that must not go."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if not (directory / INDEX).exists() or not replace:
        raise CommandError(
            f"{directory} is there already", kind=Kind.EXISTS, hint="to move a store there aside first: --replace"
        )
    holder = lock_holder(directory)
    if holder is not None:
        raise CommandError(
            f"the store {directory} is in use by {holder.program} (process {holder.pid})",
            kind=Kind.BUSY,
            hint="stop it first",
        )


def _take_place(staging: Path, directory: Path) -> None:
    """The restored store gets its name; one that was there is moved aside."""
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    elif directory.exists():
        aside = directory.with_name(f"{directory.name}.replaced-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        directory.rename(aside)
        remark(f"the store that was there is now {aside}")
    (staging / NOTE_NAME).unlink()
    staging.rename(directory)


@contextmanager
def _opened_target(target: Path, note: bytes) -> Iterator[DirectoryTarget | ArchiveTarget]:
    place = (
        ArchiveTarget(target, note)
        if target.suffix == ARCHIVE and not target.is_dir()
        else DirectoryTarget(target, note, "bt backup")
    )
    with closing(place):
        yield place


@contextmanager
def _opened_backup(path: Path) -> Iterator[tuple[DirectorySource | ArchiveSource, Principal]]:
    """A backup, and the root that it says it is of."""
    if path.is_dir():
        note = path / NOTE_NAME
        if not note.is_file():
            raise CommandError(
                f"{path} is no backup: it has no {NOTE_NAME}", kind=Kind.NOT_FOUND, hint="name what bt backup made"
            )
        with closing(DirectorySource(path)) as source:
            yield source, _root_of(path, note.read_bytes()[:NOTE_LIMIT])
        return
    with closing(ArchiveSource(path)) as archive:
        yield archive, _root_of(path, archive.note())


def _note(root: Principal) -> bytes:
    return msgspec.json.encode(_Note(FORMAT, str(root))) + b"\n"


def _root_of(path: Path, note: bytes) -> Principal:
    try:
        found = msgspec.json.decode(note, type=_Note)
    except msgspec.DecodeError as error:
        raise CommandError(
            f"{path} is no backup: {error}", kind=Kind.INTEGRITY, hint="take another copy of it"
        ) from error
    if found.format != FORMAT:
        raise CommandError(
            f"{path} has format {found.format}, and this version reads format {FORMAT}",
            kind=Kind.NOT_SUPPORTED,
            hint="update bt",
        )
    return Principal.parse(found.root)


def _only_root(directory: Path, source: DirectorySource) -> Principal:
    """Whose domain a store holds."""
    with TemporaryDirectory(prefix="bt-backup-") as name:
        source.snapshot(Path(name, INDEX))
        with opened_copy(Path(name), source) as store:
            roots = domains_in(store)
    if len(roots) != 1:
        raise CommandError(
            f"{directory} holds {len(roots)} domains, and it has to be one", hint="name the domain: PETNAME:"
        )
    return roots[0]


def _copy(
    source: DirectorySource | ArchiveSource,
    place: DirectoryTarget | ArchiveTarget,
    root: Principal,
    meter: Meter,
    *,
    verify: bool,
) -> tuple[Copied, list[Damage]]:
    """Copy and verify. Where the copy is damaged, it may be what was there before: then all of it is compared."""
    copied = copy_store(source, place, meter)
    damage = _verify(place, root, meter) if verify else []
    if damage:
        again = copy_store(source, place, meter, thorough=True)
        if again.copied:
            mended = copied.copied + again.copied
            copied = msgspec.structs.replace(again, copied=mended, kept=max(0, copied.kept - again.copied))
            damage = _verify(place, root, meter)
    return copied, damage


def _verify(place: DirectoryTarget | ArchiveTarget, root: Principal, meter: Meter) -> list[Damage]:
    """What in the copy is not what was signed."""
    with opened_copy(place.directory, place) as store:
        _expect(store, meter)
        return list(scrub_store(store, root, meter))


def _expect(store: Store, meter: Meter) -> None:
    status = store.status()
    meter.expect(status.blocks, status.stored_bytes)


def _show(outcome: Outcome, verb: str, *, as_json: bool) -> None:
    copied = outcome.copied
    if as_json:
        give(
            {
                "target": str(outcome.target),
                "root": str(outcome.root),
                "commits": copied.cursor,
                "segments": copied.segments,
                "copied": copied.copied,
                "kept": copied.kept,
                "index": copied.index,
                "seconds": round(outcome.seconds, 3),
                "verified": outcome.verified,
                "damaged": [{"block": found.block.hex(), "what": found.what} for found in outcome.damage],
            }
        )
    else:
        for found in outcome.damage:
            say(f"block {found.block.hex()}: {found.what}")
        size = copied.copied + copied.index
        rate = human_size(int(size / max(outcome.seconds, 0.001)))
        remark(
            f"{verb} to {outcome.target}: {human_size(size)} copied, {human_size(copied.kept)} were there, "
            f"in {outcome.seconds:.1f} s ({rate}/s)"
        )
        if outcome.verified and not outcome.damage:
            remark("everything in it is what was signed")
    if outcome.damage:
        if not as_json:
            remark(f"damaged: {len(outcome.damage)}; see bt scrub and bt fsck --salvage")
        raise typer.Exit(ExitCode.INTEGRITY)
