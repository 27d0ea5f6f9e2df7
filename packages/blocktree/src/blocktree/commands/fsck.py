"""`bt fsck --salvage`: copies whatever can still be read out of a damaged store."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from btfproto.localfs import MemoryPins
from btlib.exits import ExitCode
from btlib.kinds import Kind

from ..errors import CommandError
from ..files.copying import Copier, Report
from ..files.salvage import Lost, SalvageSource, SparseTarget, salvage_item
from ..options import Json, PassphraseFile
from ..output import Json as Document
from ..output import give, remark, say, visible
from ..session import Session
from .copying import counts, remark_speed
from .scrub import OptionalTreePath, Progress, choose_meter, opened_store, read_only_tree, resolve_domain


def fsck(
    salvage: Annotated[
        Path, typer.Option("--salvage", metavar="DIR", help="Copy what can be read to DIR, which is empty or new.")
    ],
    path: OptionalTreePath = None,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Copy out of a damaged store whatever can be read. What cannot is listed.

    Lost parts of files are zeros in the copy, so the rest keeps its place. The store is not changed; an older state
    than one seen before is read too. Exit code 6 where something is lost.

    Example: bt fsck --salvage /mnt/rescued home:
    """
    session = Session(passphrase_file)
    domain, place = resolve_domain(session, path)
    _require_empty(salvage)
    identity = session.unlock(domain)
    meter, report, started = choose_meter(progress, as_json=json), Report(), time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(meter)
        store = stack.enter_context(opened_store(domain, identity, damaged=True))
        tree = stack.enter_context(read_only_tree(domain, identity, store, place, MemoryPins()))
        status = store.status()
        meter.expect(status.blocks, status.stored_bytes)
        source, target = SalvageSource(tree), SparseTarget()
        root = salvage_item(tree.shown(place), salvage.resolve().name, tree.directory(place))
        Copier(source, target, report, meter).copy(root, salvage.resolve().parent)
        target.sync()
    lost = [*source.lost, *(Lost(failed, error.message) for failed, error in report.failures)]
    _show(report, lost, time.monotonic() - started, as_json=json)
    if lost:
        raise typer.Exit(ExitCode.INTEGRITY)


def _require_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CommandError(f"{directory} is not an empty directory", kind=Kind.EXISTS, hint="name a new one")
    if not directory.resolve().parent.is_dir():
        raise CommandError(
            f"there is no directory {directory.resolve().parent}",
            kind=Kind.NOT_FOUND,
            hint=f"run: mkdir -p {directory.resolve().parent}",
        )


def _show(report: Report, lost: list[Lost], seconds: float, *, as_json: bool) -> None:
    if as_json:
        give(
            {
                **counts(report, seconds),
                "lost": [_document(one) for one in lost],
            }
        )
        return
    for one in lost:
        part = "" if one.start is None else f" bytes {one.start} to {one.end}"
        say(visible(f"lost: {one.path}{part}: {one.why}"))
    for path in report.skipped:
        remark(f"bt: {visible(path)}: skipped, since it is no file, directory or symbolic link")
    remark_speed(report, seconds)
    remark(f"lost, whole or in part: {len(lost)}" if lost else "everything could be read")


def _document(lost: Lost) -> dict[str, Document]:
    return {"path": lost.path, "why": lost.why, "start": lost.start, "end": lost.end}
