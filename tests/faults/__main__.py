"""The whole suite: `python -m tests.faults [--kills N] [--cuts N] [--seed S] [--gib N] [--only KIND]… [--keep DIR]`.

Needs root, /dev/fuse, loop devices and mkfs.ext4. Each round has a seed of its own, printed with its result; the same
seed does the same work, and meets the fault at about the same moment. A failed round does not end the run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from random import Random

from tests.faults import rounds, snapshotting
from tests.faults.checker import Verdict
from tests.faults.full_disk import SIZE, fill_and_go_on
from tests.faults.image import Image, image
from tests.faults.memory import stay_within
from tests.faults.rig import FaultError, Rig, rig

KILLS: dict[str, Callable[[Rig, Random, str], Verdict]] = {
    "kill-alone": rounds.kill_alone,
    "kill-client": rounds.kill_client,
    "kill-server": rounds.kill_server,
    "kill-thin-client": rounds.kill_thin_client,
    "kill-thin-server": rounds.kill_thin_server,
    "kill-snapshots-alone": snapshotting.kill_snapshots_alone,
    "kill-snapshots-client": snapshotting.kill_snapshots_client,
    "outage": rounds.outage,
}
CUTS: dict[str, Callable[[Rig, Random, str, Image], Verdict]] = {
    "cut-alone": rounds.cut_alone,
    "cut-served": rounds.cut_served,
}
KINDS = [*KILLS, *CUTS, "full-disk", "memory"]
#: Alone more often: there a kill hits the store itself.
KILL_ORDER = [
    *["kill-alone", "kill-client", "kill-thin-server", "kill-alone", "kill-server", "kill-thin-client"],
    *["kill-alone", "kill-client", "kill-thin-server", "kill-alone", "kill-server", "kill-thin-client"],
    *["kill-snapshots-alone", "kill-snapshots-client"],
    "outage",
]
ROUNDS_OF_A_STORE = 10  #: then a new one is made: a store should be old, but its scrubbing should not take all the time
CUT_DISK = 512  #: MiB
PIECES = 100_000  #: sparse ones, in `--gib` GiB
DENSE = 2 << 30


@dataclass
class Tally:
    """What one kind of round came to."""

    rounds: int = 0
    failed: int = 0
    operations: int = 0
    durable: int = 0
    kept: int = 0

    def add(self, verdict: Verdict) -> None:
        self.operations += verdict.operations
        self.durable += verdict.durable
        self.kept += verdict.kept


@dataclass
class Suite:
    options: argparse.Namespace
    tallies: dict[str, Tally] = field(default_factory=dict)

    def run(self) -> int:
        options = self.options
        self._batches(list(islice(cycle(KILL_ORDER), options.kills)))
        self._batches(list(islice(cycle(CUTS), options.cuts)))
        if self._wanted("full-disk"):
            self._single("full-disk", self._fill)
        if self._wanted("memory"):
            self._single("memory", self._load)
        print(table(self.tallies), flush=True)
        return 1 if any(tally.failed for tally in self.tallies.values()) else 0

    def _wanted(self, kind: str) -> bool:
        return not self.options.only or kind in self.options.only

    def _batches(self, kinds: list[str]) -> None:
        """Rounds on shared stores; a failed one ends its store."""
        numbered = [(number, kind) for number, kind in enumerate(kinds) if self._wanted(kind)]
        while numbered:
            with stage(numbered[0][1] in CUTS) as (built, disk):
                for _ in range(min(ROUNDS_OF_A_STORE, len(numbered))):
                    if not self._round(built, disk, *numbered.pop(0)):
                        break

    def _round(self, built: Rig, disk: Image | None, number: int, kind: str) -> bool:
        seed = f"{self.options.seed}/{kind}/{number}"
        tally = self.tallies.setdefault(kind, Tally())
        tally.rounds += 1
        begun = time.monotonic()
        try:
            if disk is not None:
                verdict = CUTS[kind](built, Random(seed), seed, disk)
            else:
                verdict = KILLS[kind](built, Random(seed), seed)
        except (FaultError, OSError) as error:
            tally.failed += 1
            print(f"{seed}: FAILED: {type(error).__name__}: {error}", flush=True)
            self._keep(built, seed)
            return False
        tally.add(verdict)
        seconds = time.monotonic() - begun
        counts = f"{verdict.operations} operations, {verdict.durable} durable, {verdict.kept} there"
        print(f"{seed}: {counts}, {seconds:.1f} s", flush=True)
        return True

    def _keep(self, built: Rig, seed: str) -> None:
        if self.options.keep is not None and built.history.exists():
            self.options.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(built.history, self.options.keep / f"{seed.replace('/', '-')}.jsonl")

    def _single(self, kind: str, run: Callable[[], str]) -> None:
        tally = self.tallies.setdefault(kind, Tally(rounds=1))
        try:
            print(f"{kind}: {run()}", flush=True)
        except (FaultError, OSError) as error:
            tally.failed += 1
            print(f"{kind}: FAILED: {type(error).__name__}: {error}", flush=True)

    def _fill(self) -> str:
        with image(SIZE) as disk, rig(disk.place / "store") as built:
            return fill_and_go_on(built, disk)

    def _load(self) -> str:
        with rig() as built:
            return stay_within(built, span=self.options.gib << 30, sparse=PIECES, dense=DENSE)


@contextmanager
def stage(with_disk: bool) -> Iterator[tuple[Rig, Image | None]]:
    with ExitStack() as stack:
        disk = stack.enter_context(image(CUT_DISK)) if with_disk else None
        yield stack.enter_context(rig(disk.place / "store" if disk is not None else None)), disk


def table(tallies: dict[str, Tally]) -> str:
    lines = ["kind              rounds  failed  operations   durable     there"]
    for kind, tally in tallies.items():
        counts = f"{tally.operations:11d} {tally.durable:9d} {tally.kept:9d}"
        lines.append(f"{kind:16s} {tally.rounds:7d} {tally.failed:7d} {counts}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="faults")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--gib", type=int, default=20, help="over how many GiB the sparse load is spread")
    parser.add_argument("--seed", default=None, help="default: a new one")
    parser.add_argument("--only", action="append", choices=KINDS, default=[])
    parser.add_argument("--keep", type=Path, default=None, help="where histories of failed rounds are put")
    options = parser.parse_args(arguments)
    options.seed = options.seed or str(time.time_ns() % 10**6)
    print(f"seed {options.seed}", flush=True)
    return Suite(options).run()


if __name__ == "__main__":
    sys.exit(main())
