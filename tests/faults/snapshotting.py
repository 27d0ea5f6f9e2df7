"""Rounds with snapshots, made and deleted while programs write, until a kill; then they are what they were.

A snapshot never changes, so what it shows right after it was made is what it has to show after the crash. One that was
being made or deleted at that moment is there or not; if making it was cut short before it was signed, nothing is shown
of it (EBADMSG), and it can be deleted.
"""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.checker import Verdict
from tests.faults.model import Seen
from tests.faults.recovered import read_tree
from tests.faults.rig import Rig, require
from tests.faults.rounds import COMMITS, LONGEST_WORK, checked, scrub_sometimes, start_client, work

DOOR = ".snapshots"
DELETED = 0.3  #: share of the steps that delete one
LEAST = 2  #: snapshots that are kept, so that there is something to compare


@dataclass
class Keeping:
    """Makes and deletes snapshots in a thread until the mount is gone, and notes what returned."""

    place: Path
    random: Random
    trees: dict[str, dict[str, Seen]] = field(default_factory=dict)  #: what each that must be there showed
    in_doubt: set[str] = field(default_factory=set)
    changes: int = 0  #: that returned
    killed: bool = False  #: from here on errors are expected
    failure: OSError | None = None  #: before

    def run(self) -> None:
        try:
            while True:
                self._step()
        except OSError as error:
            self.failure = None if self.killed else error

    def _step(self) -> None:
        if len(self.trees) > LEAST and self.random.random() < DELETED:
            name = self.random.choice(sorted(self.trees))
            del self.trees[name]
            self.in_doubt = {name}
            (self.place / DOOR / name).rmdir()
        else:
            name = f"s{self.changes}"
            self.in_doubt = {name}
            (self.place / DOOR / name).mkdir()
            self.trees[name] = read_tree(self.place / DOOR / name)
        self.in_doubt = set()
        self.changes += 1


def kill_snapshots_alone(rig: Rig, random: Random, seed: str) -> Verdict:
    rig.start_mount(random.choice(COMMITS))
    keeping = _keep_until(rig, random, seed)
    scrub_sometimes(rig, random)
    rig.start_mount()
    _compare(rig, keeping)
    return checked(rig)


def kill_snapshots_client(rig: Rig, random: Random, seed: str) -> Verdict:
    options = start_client(rig, random)
    keeping = _keep_until(rig, random, seed, *options)
    rig.start_mount(served=True)
    _compare(rig, keeping)
    return checked(rig)


def _keep_until(rig: Rig, random: Random, seed: str, *options: str) -> Keeping:
    keeping = Keeping(rig.place, Random(random.random()))
    thread = threading.Thread(target=keeping.run)

    def kill() -> None:
        end = time.monotonic() + 10 * LONGEST_WORK
        while keeping.changes <= LEAST and thread.is_alive() and time.monotonic() < end:
            time.sleep(0.001)
        keeping.killed = True
        rig.kill_mount()

    thread.start()
    try:
        work(rig, random, seed, kill, *options)
    finally:
        thread.join()
    require(
        keeping.failure is None, f"no change or look fails before the kill: {keeping.failure!r}; {rig.log('btfuse')}"
    )
    require(keeping.changes > LEAST, f"snapshots are made within some seconds: {keeping.changes}")
    return keeping


def _compare(rig: Rig, keeping: Keeping) -> None:
    """Whether all is there that must be; afterwards nothing is."""
    door = rig.place / DOOR
    there = {path.name for path in door.iterdir()}
    require(keeping.trees.keys() <= there, f"no snapshot was lost: {keeping.trees.keys() - there}")
    require(there <= keeping.trees.keys() | keeping.in_doubt, f"none came back: {there - keeping.trees.keys()}")
    for name in sorted(there):
        if name in keeping.trees:
            require(read_tree(door / name) == keeping.trees[name], f"{name} is what it was")
        else:
            _look(door / name)
        (door / name).rmdir()
    require(not list(door.iterdir()), "a deleted snapshot is gone")


def _look(snapshot: Path) -> None:
    """One in doubt can be read whole, or is refused as nobody's."""
    try:
        read_tree(snapshot)
    except OSError as error:
        require(error.errno == errno.EBADMSG, f"a snapshot that was not signed is refused: {error}")
