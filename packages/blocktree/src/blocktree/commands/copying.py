"""`bt cp`: between a domain and the local file system, or within and between domains."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from btfproto.provider import FileKind
from btlib.exits import exit_code
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ..errors import CommandError
from ..files.copying import Copier, Item, Report, Source, Target, count
from ..files.local import LocalSource, LocalTarget, local_item
from ..files.remote import TreeSource, TreeTarget, tree_item
from ..files.tree import Tree
from ..options import Json, PassphraseFile, complete_tree_path
from ..output import Json as Document
from ..output import complain, describe, give, human_size, remark, visible
from ..progress import Bar, Meter, Silence
from ..session import Session, own

#: `home:` or `/bt1…`; anything else is a local path, and `./a:b` always is one.
_TREE_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*:|/bt1[a-z0-9]{20,}(/|$)")

From = TypeVar("From")
To = TypeVar("To")


def cp(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE… TARGET",
            help="Local paths and paths in domains (PETNAME:/PATH); at least one of them in a domain.",
            autocompletion=complete_tree_path,
        ),
    ],
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Copy directories with all below.")] = False,
    progress: Annotated[
        bool | None,
        typer.Option("--progress/--no-progress", help="Show a bar; by default only on a terminal."),
    ] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Copy files into a domain, out of it, or inside.

    As with cp: into TARGET where that is a directory, else under that name. Modes and times of change are kept.
    What is copied into a domain is durable when the command ends.

    Examples:

      bt cp -r ~/photos home:/

      bt cp home:/notes/today.txt .
    """
    if len(paths) < 2:
        raise CommandError("a copy needs a source and a target", hint="see: bt cp --help")
    session, report = Session(passphrase_file), Report()
    *starts, goal = [parse_place(session, text) for text in paths]
    shown = progress if progress is not None else sys.stderr.isatty() and not json
    meter: Meter = Bar() if shown else Silence()
    started = time.monotonic()

    def run(trees: Trees) -> _Run:
        several = len(starts) > 1
        return _Run(goal=goal, trees=trees, report=report, meter=meter, recursive=recursive, several=several)

    with meter:
        _copy(session, starts, goal, run)
    _show(report, time.monotonic() - started, as_json=json)


def copy_domain(session: Session, source: Domain, target: Domain) -> Report:
    """Copy all that the root directory of one domain holds into that of another; failures stand in the report."""
    meter: Meter = Bar() if sys.stderr.isatty() else Silence()
    start, goal = TreePlace(source, source.root_path), TreePlace(target, target.root_path)
    with meter, _trees(session, [start, goal]) as trees:
        tree = trees[source.petname]
        run = _Run(goal=goal, trees=trees, report=Report(), meter=meter, recursive=True, several=True)
        for item in TreeSource(tree).children(tree_item(tree, start.path)):
            _copy_item(TreeSource(tree), item, run)
    return run.report


@dataclass(frozen=True)
class LocalPlace:
    path: Path


@dataclass(frozen=True)
class TreePlace:
    domain: Domain
    path: BlockPath


Place = LocalPlace | TreePlace
Trees = Mapping[str, Tree]  # by petname


@dataclass(frozen=True)
class _Run:
    """What stays the same for all sources of one command."""

    goal: Place
    trees: Trees
    report: Report
    meter: Meter
    recursive: bool
    several: bool


def parse_place(session: Session, text: str) -> Place:
    """Read an argument: a path in a domain, or a local one."""
    if _TREE_PATH.match(text):
        return TreePlace(*session.home.resolve(text))
    return LocalPlace(Path(text))


def _copy(session: Session, starts: Sequence[Place], goal: Place, run: Callable[[Trees], _Run]) -> None:
    places = [*starts, goal]
    if not any(isinstance(place, TreePlace) for place in places):
        raise CommandError("none of these paths is in a domain", hint="use cp, or write PETNAME:/PATH")
    with _trees(session, places) as trees:
        for start in starts:
            _copy_from(start, run(trees))


@contextmanager
def _trees(session: Session, places: Sequence[Place]) -> Iterator[Trees]:
    """A tree for each domain that occurs, attached once."""
    paths: dict[str, tuple[Domain, list[BlockPath]]] = {}
    for place in places:
        if isinstance(place, TreePlace):
            paths.setdefault(place.domain.petname, (place.domain, []))[1].append(place.path)
    with ExitStack() as stack:
        yield {petname: stack.enter_context(session.attach(*pair)) for petname, pair in paths.items()}


def _copy_from(start: Place, run: _Run) -> None:
    match start:
        case LocalPlace(path):
            name = path.resolve().name if path.name in ("", "..") else path.name
            _copy_item(LocalSource(), replace(local_item(path), name=name), run)
        case TreePlace(domain, path):
            _refuse_copy_into_itself(start, run.goal)
            tree = run.trees[domain.petname]
            _copy_item(TreeSource(tree), replace(tree_item(tree, path), name=path.name or domain.petname), run)


def _copy_item(source: Source[From], item: Item[From], run: _Run) -> None:
    if item.kind is FileKind.DIRECTORY and not run.recursive:
        raise CommandError(f"{item.path} is a directory", kind=Kind.IS_DIRECTORY, hint="use: bt cp -r")
    match run.goal:
        case LocalPlace(path):
            _copy_into(source, item, LocalTarget(), *_local_end(path, run), run)
        case TreePlace(domain, path):
            tree = run.trees[domain.petname]
            _copy_into(source, item, TreeTarget(tree, own()), *_tree_end(tree, path, run), run)


def _copy_into(
    source: Source[From], item: Item[From], target: Target[To], directory: To, name: str | None, run: _Run
) -> None:
    if run.meter.wants_totals:
        run.meter.expect(*count(source, item))
    Copier(source, target, run.report, run.meter).copy(item if name is None else replace(item, name=name), directory)


def _local_end(path: Path, run: _Run) -> tuple[Path, str | None]:
    """The directory to copy into, and the name there (None: the source's own)."""
    if path.is_dir():
        return path, None
    _require_directory(path, run)
    if not path.parent.is_dir():
        raise CommandError(
            f"there is no directory {path.parent}", kind=Kind.NOT_FOUND, hint=f"run: mkdir -p {path.parent}"
        )
    return path.parent, path.name


def _tree_end(tree: Tree, path: BlockPath, run: _Run) -> tuple[int, str | None]:
    found = tree.maybe_find(path)
    if found is not None and found.kind is FileKind.DIRECTORY:
        return found.inode, None
    _require_directory(path, run)
    return tree.directory(path.parent or path).inode, path.name


def _require_directory(path: Path | BlockPath, run: _Run) -> None:
    if run.several:
        raise CommandError(
            f"several sources need a directory as target, and {path} is none",
            kind=Kind.NOT_DIRECTORY,
            hint="make it first: mkdir, or bt mkdir",
        )


def _refuse_copy_into_itself(start: TreePlace, goal: Place) -> None:
    if isinstance(goal, TreePlace) and start.path.is_prefix_of(goal.path):
        raise CommandError(f"{start.path} cannot be copied into itself", kind=Kind.LOOP, hint="name a target beside it")


def show_left_out(report: Report) -> None:
    """Say what was not copied, and why."""
    for path in report.skipped:
        remark(f"bt: {visible(path)}: skipped, since it is no file, directory or symbolic link")
    for _, error in report.failures:
        complain(error, as_json=False)


def end_with_failure(report: Report) -> None:
    """End with the code of the first failure, if any."""
    if report.failures:
        raise typer.Exit(exit_code(report.failures[0][1].kind))


def counts(report: Report, seconds: float) -> dict[str, Document]:
    """What was copied, for programs."""
    return {
        "files": report.files,
        "directories": report.directories,
        "links": report.links,
        "bytes": report.bytes,
        "seconds": round(seconds, 3),
        "skipped": [*report.skipped],
    }


def remark_speed(report: Report, seconds: float) -> None:
    rate = human_size(int(report.bytes / max(seconds, 0.001)))
    remark(f"copied {report.files} files, {human_size(report.bytes)}, in {seconds:.1f} s ({rate}/s)")


def _show(report: Report, seconds: float, *, as_json: bool) -> None:
    """Say what was done; end with the code of the first failure, if any."""
    show_left_out(report)
    if as_json:
        give(
            {
                **counts(report, seconds),
                "failures": [{"path": path, **describe(error)} for path, error in report.failures],
            }
        )
    else:
        remark_speed(report, seconds)
    end_with_failure(report)
