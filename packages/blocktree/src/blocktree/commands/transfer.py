"""`bt import` and `bt export`: whole trees in and out of a domain, with all that files have, compared at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from btlib.exits import ExitCode, exit_code
from btlib.kinds import Kind

from ..errors import CommandError
from ..files.transfer.archives import ArchiveGoal, ArchiveOrigin
from ..files.transfer.disks import DiskGoal, DiskOrigin
from ..files.transfer.moving import Moved, compare, measure, move
from ..files.transfer.records import Goal, Origin
from ..files.transfer.trees import DIRECTORY_MODE, TreeGoal, TreeOrigin
from ..options import Json, PassphraseFile, TreePath
from ..output import describe, give, human_size, remark, say, visible
from ..progress import Meter
from ..session import Session, own
from .scrub import Progress, choose_meter

ARCHIVE = ".tar"  #: what is exported to such a name is one file

Unverified = Annotated[bool, typer.Option("--no-verify", help="Do not compare both ends afterwards.")]


def import_tree(
    source: Annotated[
        Path, typer.Argument(metavar="DIR|TAR", help="A directory, or a tar file, also a compressed one.")
    ],
    path: TreePath,
    no_verify: Unverified = False,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Bring a directory or a tar file into a domain. Both are compared afterwards.

    Kept are names, contents, modes, owners, times of change, links of both kinds, holes, pipes and devices, and
    extended attributes of users. What is there already with the same size and time is not brought again, so an
    interrupted import goes on; other files of the same names are replaced, and what else is there stays.

    Exit code 6 where something is not the same in the end.

    Examples:

      bt import ~/photos home:/photos

      bt import backup.tar.gz home:/old
    """
    session = Session(passphrase_file)
    domain, place = session.home.resolve(path)
    moved, meter, started = Moved(), choose_meter(progress, as_json=json), time.monotonic()
    with _opened_origin(source) as origin, session.attach(domain, [place]) as tree, meter:
        top = tree.make_directories(place, DIRECTORY_MODE, own())
        _run(origin, TreeGoal(tree, top.inode, own()), moved, meter, verify=not no_verify)
    _show(moved, "imported", time.monotonic() - started, verified=not no_verify, as_json=json)


def export_tree(
    path: TreePath,
    target: Annotated[Path, typer.Argument(metavar="DIR|FILE.tar", help="A directory, or a new tar file.")],
    set_id: Annotated[
        bool, typer.Option("--set-id", help="Into a directory: keep set-id bits too. Whose tree it is should be yours.")
    ] = False,
    no_verify: Unverified = False,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Bring a directory out of a domain, with all below. Both are compared afterwards.

    Kept is what bt import keeps; owners, and devices, in a directory only for root. What is there already with the same
    size and time is not brought again, so an interrupted export goes on; other files of the same names are replaced,
    and what else is there stays.

    Exit code 6 where something is not the same in the end.

    Examples:

      bt export home:/photos /mnt/disk/photos

      bt export home: everything.tar
    """
    session = Session(passphrase_file)
    domain, place = session.home.resolve(path)
    moved, meter, started = Moved(), choose_meter(progress, as_json=json), time.monotonic()
    with session.attach(domain, [place]) as tree, meter:
        origin = TreeOrigin(tree, tree.directory(place).inode)
        with _opened_goal(target, set_id=set_id) as (goal, publish):
            _run(origin, goal, moved, meter, verify=not no_verify)
            if not moved.differing:
                publish()
    _show(moved, "exported", time.monotonic() - started, verified=not no_verify, as_json=json)


def _run(origin: Origin, goal: Goal, moved: Moved, meter: Meter, *, verify: bool) -> None:
    if meter.wants_totals:
        items, size = measure(origin)
        meter.expect(items * (2 if verify else 1), size * (2 if verify else 1))
    move(origin, goal, moved, meter)
    if verify:
        compare(origin, goal, moved, meter)


@contextmanager
def _opened_origin(source: Path) -> Iterator[Origin]:
    if source.is_dir():
        yield DiskOrigin(source)
        return
    with closing(ArchiveOrigin(source)) as archive:
        yield archive


@contextmanager
def _opened_goal(target: Path, *, set_id: bool) -> Iterator[tuple[Goal, Callable[[], None]]]:
    """Where to export to, and what is done when all went well."""
    if target.suffix == ARCHIVE and not target.is_dir():
        with closing(ArchiveGoal(target)) as archive:
            yield archive, archive.publish
        return
    if not target.is_dir():
        if target.exists():
            raise CommandError(f"{target} is no directory", kind=Kind.NOT_DIRECTORY, hint="a tar file ends with .tar")
        if not target.absolute().parent.is_dir():
            raise CommandError(
                f"there is no directory {target.absolute().parent}",
                kind=Kind.NOT_FOUND,
                hint=f"run: mkdir -p {target.absolute().parent}",
            )
        target.mkdir(mode=0o700)
    yield DiskGoal(target, set_id=set_id), lambda: None


def _show(moved: Moved, verb: str, seconds: float, *, verified: bool, as_json: bool) -> None:
    """Say what was done; end with 6 where something differs, else with the code of the first failure."""
    if as_json:
        give(
            {
                "files": moved.files,
                "kept": moved.kept,
                "directories": moved.directories,
                "others": moved.others,
                "bytes": moved.bytes,
                "seconds": round(seconds, 3),
                "verified": verified,
                "skipped": moved.skipped,
                "failures": [{"path": path, **describe(error)} for path, error in moved.failures],
                "differing": [{"path": path, "what": what} for path, what in moved.differing],
            }
        )
    else:
        _say(moved, verb, seconds, verified=verified)
    if moved.differing:
        raise typer.Exit(ExitCode.INTEGRITY)
    if moved.failures:
        raise typer.Exit(exit_code(moved.failures[0][1].kind))


def _say(moved: Moved, verb: str, seconds: float, *, verified: bool) -> None:
    for path, what in moved.differing:
        say(visible(f"{path}: {what}"))
    for path in moved.skipped:
        remark(f"bt: {visible(path)}: skipped, since it cannot be there")
    for path, error in moved.failures:
        remark(f"bt: {visible(path)}: {visible(str(error))}")
    rate = human_size(int(moved.bytes / max(seconds, 0.001)))
    there = f", {moved.kept} were there" if moved.kept else ""
    remark(f"{verb} {moved.files} files{there}, {human_size(moved.bytes)}, in {seconds:.1f} s ({rate}/s)")
    if moved.differing:
        remark(f"differing: {len(moved.differing)}; were they changed meanwhile? The same command brings them again")
    elif verified:
        remark("both ends are the same" if not moved.failures else "what was brought is the same at both ends")
