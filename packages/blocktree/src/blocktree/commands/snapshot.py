"""`bt snapshot`: keeping the tree of a moment, looking at it, and going back to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from btfproto.care import Restored, restore_path
from btfproto.domain import open_volume
from btfproto.localfs import FilePins, FsOptions, LocalFs
from btfproto.past import SnapshotKeeper
from btfproto.store import Snapshot
from btfproto.store.remote import StoreClient
from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ..errors import CommandError
from ..mounts import mounts
from ..options import Json, PassphraseFile
from ..output import Json as Document
from ..output import give, human_size, iso_time, say, visible
from ..session import Session, known_revocations, now, open_store
from .scrub import OptionalTreePath, Progress, choose_meter, resolve_domain

HELP = """Keep the tree of a moment, look at it, and go back to it.

A snapshot is of the whole domain. It takes no room by itself; what is overwritten or removed later stays as long as a
snapshot has it. A mount shows them below .snapshots at its root, and makes and deletes them there with mkdir and rmdir.
"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the snapshot is called.")]
KeepNew = Annotated[bool, typer.Option("--keep-new", help="Leave alone what is not in the snapshot.")]


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help=HELP, no_args_is_help=True)
    app.command()(create)
    app.command("list")(show)
    app.command()(delete)
    app.command()(restore)
    return app


def create(
    name: Name, path: OptionalTreePath = None, json: Json = False, passphrase_file: PassphraseFile = None
) -> None:
    """Make a snapshot of everything that is committed.

    That takes as long as listing the blocks of the store: one or two seconds for 100,000 files. For who may write in
    the whole domain.

    Example: bt snapshot create before-upgrade home:
    """
    session, domain = _domain(passphrase_file, path)
    with _keeper(session, domain, name) as keeper:
        made = keeper.create(name)
    if json:
        give(_document(made))
    else:
        say(f"made the snapshot {name} of {domain.petname}")


def show(path: OptionalTreePath = None, json: Json = False, passphrase_file: PassphraseFile = None) -> None:
    """List the snapshots, oldest first. Each with what deleting it alone would give back.

    Example: bt snapshot list home:
    """
    session, domain = _domain(passphrase_file, path)
    with _keeper(session, domain) as keeper:
        found = keeper.all()
    if json:
        give({"snapshots": [_document(snapshot) for snapshot in found]})
        return
    for snapshot in found:
        say(f"{iso_time(snapshot.taken)}  {human_size(snapshot.kept):>10}  {visible(snapshot.name)}")


def delete(name: Name, path: OptionalTreePath = None, passphrase_file: PassphraseFile = None) -> None:
    """Delete a snapshot. The room that only it needed comes back as the store is written to, or with: bt gc

    Example: bt snapshot delete before-upgrade home:
    """
    session, domain = _domain(passphrase_file, path)
    with _keeper(session, domain, name) as keeper:
        keeper.delete(name)
    say(f"deleted the snapshot {name} of {domain.petname}")


def restore(
    name: Name,
    path: OptionalTreePath = None,
    keep_new: KeepNew = False,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a file or directory, or the whole tree, what it was.

    What did not change is left alone; what was made since is removed, unless it is to be kept. Interrupted, it goes on
    when it is run again. Make another snapshot first: then there is a way back.

    Example: bt snapshot restore before-upgrade home:/photos
    """
    session = Session(passphrase_file)
    domain, place = resolve_domain(session, path)
    meter, started = choose_meter(progress, as_json=json), time.monotonic()
    with meter, ExitStack() as stack:
        keeper = stack.enter_context(_keeper(session, domain, name, writing=True))
        past = keeper.files(name)
        stack.callback(past.shutdown)
        shown = f"{domain.petname}:/{'/'.join(place.names)}"
        done = restore_path(past, keeper.present, place.names, shown, meter, keep_new=keep_new)
    _show_restored(done, shown, name, time.monotonic() - started, as_json=json)


class _Keeper(SnapshotKeeper):
    """With the files of now, where they are wanted."""

    present: LocalFs


def _domain(passphrase_file: Path | None, path: str | None) -> tuple[Session, Domain]:
    session = Session(passphrase_file)
    domain, place = resolve_domain(session, path)
    if place.names:
        raise CommandError(f"a snapshot is of a whole domain, not of {path}", hint=f"write {domain.petname}:")
    return session, domain


@contextmanager
def _keeper(session: Session, domain: Domain, name: str | None = None, *, writing: bool = False) -> Iterator[_Keeper]:
    identity, root = session.unlock(domain), BlockPath(domain.root, ())
    with ExitStack() as stack:
        try:
            store = open_store(domain, identity)
        except BlocktreeError as error:
            raise _mounted(domain, error, name) from error
        stack.enter_context(closing(store))
        view = known_revocations(domain, store)
        pins = stack.enter_context(closing(FilePins(domain.pins)))
        keeper = _Keeper(store, identity, root, pins, view, now)
        if writing:
            volume = open_volume(store, identity, root, now(), revocations=view)
            options = FsOptions(shared=isinstance(store, StoreClient))
            keeper.present = LocalFs(store, identity, volume, options=options, pins=pins, revocations=view)
            stack.callback(keeper.present.shutdown)
        yield keeper


def _mounted(domain: Domain, error: BlocktreeError, name: str | None) -> BlocktreeError:
    """What to do where a mount has the store."""
    if error.kind is Kind.BUSY:
        for mount in mounts():
            if mount.source.startswith(f"{domain.petname}:"):
                where = mount.mountpoint / ".snapshots"
                hint = f"use the mount: ls, mkdir, rmdir {where / (name or 'NAME')}, or copy from it"
                return CommandError(error.message, kind=error.kind, hint=hint)
    return error


def _document(snapshot: Snapshot) -> dict[str, Document]:
    return {"name": snapshot.name, "taken": iso_time(snapshot.taken), "kept": snapshot.kept}


def _show_restored(done: Restored, shown: str, name: str, seconds: float, *, as_json: bool) -> None:
    if as_json:
        counts: dict[str, Document] = {
            "written": done.written,
            "removed": done.removed,
            "unchanged": done.unchanged,
            "seconds": round(seconds, 3),
        }
        give(counts)
        return
    say(f"{shown} is what it was in {name}: {done.written} written, {done.removed} removed, {done.unchanged} unchanged")
