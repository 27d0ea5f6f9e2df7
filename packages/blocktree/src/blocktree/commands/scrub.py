"""`bt scrub`: reads a whole store, and says what is not what was signed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer
from btfproto.care import Unreadable, inspect_files, scrub_store, scrub_tree
from btfproto.domain import open_volume
from btfproto.errors import StoreError
from btfproto.localfs import FilePins, FsOptions, LocalFs, Pins
from btfproto.store import EmbeddedStore, Store
from btfproto.store.remote import StoreClient
from btlib.errors import BlocktreeError
from btlib.exits import ExitCode
from btlib.home import Domain
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath

from ..errors import CommandError
from ..files.tree import Tree
from ..options import Json, PassphraseFile, complete_tree_path
from ..output import give, human_size, remark, say, visible
from ..progress import Bar, Meter, Silence
from ..scrub_state import STATE_NAME, Findings, ScrubRun
from ..session import Session, now, open_store

RESTORE = "look at the disk, and restore from a backup; to copy out what can be read: bt fsck --salvage DIR"

OptionalTreePath = Annotated[
    str | None,
    typer.Argument(
        metavar="PETNAME:[/PATH]", help="A domain; the only one by default.", autocompletion=complete_tree_path
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where an interrupted scrub of the same path was, with what it found.")
]
WithoutKeys = Annotated[
    bool, typer.Option("--no-keys", help="Ask for no passphrase: check what was signed, and not whether it opens.")
]
Progress = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="Show a bar; by default only on a terminal.")
]


def scrub(
    path: OptionalTreePath = None,
    no_keys: WithoutKeys = False,
    resume: Resume = False,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Read the whole store, and say what is damaged.

    Every head and record is checked against its signature and hash, without keys; then everything below the path is
    opened. The store may be in use: then this goes through the server that holds it. Nothing is changed.

    How far it came is noted each second, so one that was interrupted, or killed, goes on with --resume.

    Exit code 6 where something is damaged.

    Example: bt scrub home:
    """
    session = Session(passphrase_file)
    domain, place = resolve_domain(session, path)
    identity = None if no_keys else session.unlock(domain)
    run = ScrubRun.begin(domain.data / STATE_NAME, place, keys=not no_keys, resume=resume)
    findings, earlier = run.findings, run.findings.bytes
    meter = _Counting(choose_meter(progress, as_json=json), findings)
    started = time.monotonic()
    with meter.shown, opened_store(domain, identity) as store:
        status = store.status()
        size = status.stored_bytes * (1 if identity is None else 2)
        meter.shown.expect(max(0, status.blocks - findings.checked), max(0, size - earlier))
        if isinstance(store, EmbeddedStore):
            findings.files = list(map(_sentence, inspect_files(store)))
        if not run.blocks_done:
            for damage in scrub_store(store, domain.root, meter, run.after, run.reached_block):
                findings.blocks.append(damage)
            run.all_blocks()
        _open_tree(domain, identity, store, place, meter, run)
    run.end()
    seconds = time.monotonic() - started
    _show(domain, place, findings, seconds, rate=int((findings.bytes - earlier) / max(seconds, 0.001)), as_json=json)
    if findings.count:
        raise typer.Exit(ExitCode.INTEGRITY)


def resolve_domain(session: Session, path: str | None) -> tuple[Domain, BlockPath]:
    """The domain and place that were named, or the root of the only domain here."""
    if path is not None:
        return session.home.resolve(path)
    petnames = list(session.home.petnames())
    if len(petnames) != 1:
        known = ", ".join(petnames) or "none"
        raise CommandError(f"say which domain (known here: {known})", hint="write PETNAME:")
    return session.home.resolve(f"{petnames[0]}:")


def choose_meter(progress: bool | None, *, as_json: bool) -> Meter:
    shown = progress if progress is not None else sys.stderr.isatty() and not as_json
    return Bar() if shown else Silence()


@contextmanager
def opened_store(domain: Domain, identity: Identity | None, *, damaged: bool = False) -> Iterator[Store]:
    """The store of a domain. Without an identity only one that lies here and nobody has open."""
    if identity is not None:
        store = open_store(domain, identity, damaged=damaged)
    elif domain.store is not None:
        store = EmbeddedStore(domain.store, program="bt")
    else:
        raise CommandError(f"the store of {domain.petname} is on a server, which wants keys", hint="omit --no-keys")
    try:
        yield store
    finally:
        store.close()


@contextmanager
def read_only_tree(
    domain: Domain, identity: Identity, store: Store, place: BlockPath, pins: Pins | None = None
) -> Iterator[Tree]:
    """What lies at a path, opened without ever writing; by default not in an older state than seen before."""
    with ExitStack() as stack:
        pins = FilePins(domain.pins) if pins is None else pins
        stack.callback(pins.close)
        options = FsOptions(shared=isinstance(store, StoreClient), read_only=True)
        volume = open_volume(store, identity, place, now())
        provider = LocalFs(store, identity, volume, options=options, pins=pins)
        stack.callback(provider.shutdown)
        yield Tree(provider, place, domain.petname)


class _Counting:
    """Counts for the summary what passes on to the meter."""

    def __init__(self, shown: Meter, findings: Findings) -> None:
        self.shown = shown
        self._findings = findings
        self._counts_items = True

    def item(self, path: str) -> None:
        self._findings.checked += self._counts_items
        self.shown.item(path)

    def bytes(self, count: int) -> None:
        self._findings.bytes += count
        self.shown.bytes(count)

    def only_bytes(self) -> None:
        """From now on what comes was counted before, under another name."""
        self._counts_items = False


def _sentence(error: StoreError) -> str:
    return error.message


def _open_tree(
    domain: Domain, identity: Identity | None, store: Store, place: BlockPath, meter: _Counting, run: ScrubRun
) -> None:
    findings = run.findings
    meter.only_bytes()
    if identity is None:
        findings.keys = "no keys were to be used"
        return
    try:
        with read_only_tree(domain, identity, store, place) as tree:
            for unreadable in scrub_tree(tree.provider, meter, run.position, run.reached_entry):
                findings.paths.append(unreadable)
    except BlocktreeError as error:
        if error.kind is Kind.FORBIDDEN:
            findings.keys = error.message
        elif error.kind in (Kind.INTEGRITY, Kind.ROLLBACK, Kind.NOT_FOUND) and (findings.count or place.names == ()):
            findings.paths.append(Unreadable(path=(), inode=0, what=error.message, kind=error.kind))
        else:
            raise


def _show(domain: Domain, place: BlockPath, findings: Findings, seconds: float, *, rate: int, as_json: bool) -> None:
    names = {found.inode: f"{domain.petname}:/{'/'.join((*place.names, *found.path))}" for found in findings.paths}
    if as_json:
        give(
            {
                "blocks": findings.checked,
                "bytes": findings.bytes,
                "seconds": round(seconds, 3),
                "opened": not findings.keys,
                "damaged_files": findings.files,
                "damaged_blocks": [
                    {"block": found.block.hex(), "path": names.get(found.inode), "what": found.what}
                    for found in findings.blocks
                ],
                "damaged_paths": [
                    {"path": names[found.inode], "kind": found.kind.name, "what": found.what}
                    for found in findings.paths
                ],
            }
        )
        return
    for line in _lines(findings, names):
        say(visible(line))
    size = human_size(findings.bytes)
    remark(f"checked {findings.checked} blocks, {size}, in {seconds:.1f} s ({human_size(rate)}/s)")
    if findings.keys:
        remark(f"the tree was not opened: {visible(findings.keys)}")
    remark(f"damaged: {findings.count}; {RESTORE}" if findings.count else "everything is what was signed")


def _lines(findings: Findings, names: dict[int, str]) -> Sequence[str]:
    told = {found.inode for found in findings.blocks}
    return [
        *findings.files,
        *(
            f"{names.get(found.inode, 'no known path')} (block {found.block.hex()}): {found.what}"
            for found in findings.blocks
        ),
        *(f"{names[found.inode]}: {found.what}" for found in findings.paths if found.inode not in told),
    ]
