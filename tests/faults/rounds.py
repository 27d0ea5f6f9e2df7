"""One round of each kind: work, a fault at a random moment, mount again, check.

alone      kill -9 of btfuse, which has the store in its process
client     kill -9 of btfuse in end-to-end mode; btfsd lives on
server     kill -9 of btfsd; it is started again, and the mount goes on as if nothing had been
thin client, thin server
           the same with a thin mount: btfsd has everything that returned when the mount is killed, and what was durable
           when it is killed itself (and its mount, since a repetition of what was under way may land on an older state)
cut        a power cut under btfuse
served cut a power cut under btfsd
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from random import Random

from btfproto._dial import LONGEST_PAUSE
from btfproto._dial import PATIENCE as CLIENT_PATIENCE

from tests.faults.checker import Verdict, check
from tests.faults.history import Histories, read_history
from tests.faults.image import Image
from tests.faults.recovered import read_tree
from tests.faults.rig import FaultError, Rig, require, wait_until

WORKERS = 2
TOPS = [f"w{worker}" for worker in range(WORKERS)]
COMMITS = ("commit=0.05", "commit=0.3", "commit=3")  #: many groups, some, and hardly any beside those of fsync
FSYNCS = ("0.002", "0.03", "0.15")  #: shares of the operations
LONGEST_WORK = 1.5  #: seconds before the fault
LONGEST_OUTAGE = 2.0  #: seconds until btfsd is started again; less than a client's patience
LONG_OUTAGE = 1.3 * CLIENT_PATIENCE
BACK_SECONDS = 3 * LONGEST_PAUSE  #: a look finds the server when the next attempt is due
TOLD_SECONDS = 3 * CLIENT_PATIENCE  #: a request may take a lease and a commit, each with the client's patience
#: How often btfsd commits what thin clients changed: hardly any group beside those of fsync, some, and many.
THIN_COMMITS = ("3.0", "0.3", "0.05")
TOLD = {"EHOSTUNREACH", "ETIMEDOUT"}  #: what a program is told when the server is away
STARTUP = 0.7  #: seconds that a start of btfuse takes, about

Round = Callable[[Rig, Random, str], Verdict]


def kill_alone(rig: Rig, random: Random, seed: str) -> Verdict:
    rig.start_mount(random.choice(COMMITS))
    work(rig, random, seed, rig.kill_mount)
    if random.random() < 0.2:
        kill_while_mounting(rig, random)
    scrub_sometimes(rig, random)
    rig.start_mount()
    return checked(rig)


def kill_client(rig: Rig, random: Random, seed: str) -> Verdict:
    options = start_client(rig, random)
    work(rig, random, seed, rig.kill_mount, *options)
    rig.start_mount(served=True)
    return checked(rig)


def kill_server(rig: Rig, random: Random, seed: str) -> Verdict:
    """The mount must outlive it: every operation succeeds, late; then the mount is killed as well."""
    options = start_client(rig, random)
    process = rig.start_workload(seed, *workload_options(random), *options)
    time.sleep(random.uniform(0, LONGEST_WORK))
    rig.kill_server()
    time.sleep(random.uniform(0, LONGEST_OUTAGE))
    rig.start_server()
    time.sleep(random.uniform(0, LONGEST_WORK))
    rig.end_workload(process)
    steps = histories(rig)
    failed = [f"{step.operation} failed with {step.error}" for own in steps for step in own if step.error]
    require(not failed, f"no operation fails because btfsd was away: {failed}; {rig.log('btfuse')}")
    right(check(steps, TOPS, read_tree(rig.place), crashed=False))
    rig.kill_mount()
    rig.start_mount(served=True)
    return checked(rig)


def kill_thin_client(rig: Rig, random: Random, seed: str) -> Verdict:
    """Everything that returned is on the server."""
    options = start_thin(rig, random)
    work(rig, random, seed, rig.kill_mount, *options)
    rig.start_mount("thin", served=True)
    right(check(histories(rig), TOPS, read_tree(rig.place), crashed=False))
    return checked(rig)


def kill_thin_server(rig: Rig, random: Random, seed: str) -> Verdict:
    options = start_thin(rig, random)

    def kill_both() -> None:
        rig.kill_server()
        rig.kill_mount()

    work(rig, random, seed, kill_both, *options)
    scrub_sometimes(rig, random)
    rig.start_server()
    rig.start_mount("thin", served=True)
    return checked(rig)


def outage(rig: Rig, random: Random, seed: str) -> Verdict:
    """Every program hears of it in the end; afterwards the same mount works again, and has lost nothing."""
    options = start_client(rig, random)
    process = rig.start_workload(seed, *workload_options(random), *options)
    time.sleep(random.uniform(0, LONGEST_WORK))
    rig.kill_server()
    time.sleep(LONG_OUTAGE)
    wait_until(lambda: told(rig), "all programs are told that the server is away", TOLD_SECONDS)
    rig.start_server()
    rig.end_workload(process)
    wait_until(lambda: answers(rig), "the mount works again by itself", BACK_SECONDS)
    hear_of_it(rig)
    right(check(histories(rig), TOPS, read_tree(rig.place)))
    rig.kill_mount()
    rig.start_mount(served=True)
    return checked(rig)


def cut_alone(rig: Rig, random: Random, seed: str, image: Image) -> Verdict:
    rig.start_mount(random.choice(COMMITS))

    def cut() -> None:
        assert rig.mount is not None
        image.cut(rig.mount.pid, rig.kill_mount)

    work(rig, random, seed, cut)
    scrub_sometimes(rig, random)
    rig.start_mount()
    return checked(rig)


def cut_served(rig: Rig, random: Random, seed: str, image: Image) -> Verdict:
    """The client's memory is lost too: it is what acknowledged."""
    options = start_client(rig, random)

    def kill_both() -> None:
        rig.kill_mount()
        rig.kill_server()

    def cut() -> None:
        assert rig.server is not None
        image.cut(rig.server.pid, kill_both)

    work(rig, random, seed, cut, *options)
    scrub_sometimes(rig, random)
    rig.start_server()
    rig.start_mount(served=True)
    return checked(rig)


def told(rig: Rig) -> bool:
    """Whether no request waits any more, and one failed in the way it should."""
    steps = histories(rig)
    errors = {step.error for own in steps for step in own if step.error}
    require(errors <= TOLD, f"what a program is told says that the server is away: {errors}")
    return bool(errors) and all(own and own[-1].returned is not None for own in steps)


def answers(rig: Rig) -> bool:
    """Whether the mount is back: it gave up, and tries now and then."""
    try:
        rig.place.stat()
    except OSError as error:
        require(errno.errorcode.get(error.errno or 0) in TOLD, f"a look says that the server is away: {error}")
        return False
    return True


def hear_of_it(rig: Rig) -> None:
    """A change that could not be saved in time is reported to whoever closes the file next, once; then all is well."""
    for path in (path for path in rig.place.rglob("*") if path.is_file() and not path.is_symlink()):
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError as error:
            require(errno.errorcode.get(error.errno or 0) in TOLD, f"a close says that the server was away: {error}")
    descriptor = os.open(rig.place, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def start_client(rig: Rig, random: Random) -> list[str]:
    """btfsd, and an end-to-end mount of it; what the workload has to know about that."""
    lazy = random.random() < 0.5
    rig.start_server()
    rig.start_mount(random.choice(COMMITS), *(["lazy_close"] if lazy else []), served=True)
    return [] if lazy else ["--commit-on-close"]


def start_thin(rig: Rig, random: Random) -> list[str]:
    """btfsd, and a thin mount of it; what the workload has to know about that."""
    lazy = random.random() < 0.5
    rig.start_server(BTFSD_FILES_COMMIT_SECONDS=random.choice(THIN_COMMITS))
    rig.start_mount("thin", *(["lazy_close"] if lazy else []), served=True)
    return [] if lazy else ["--commit-on-close"]


def workload_options(random: Random) -> list[str]:
    return ["--workers", str(WORKERS), "--fsyncs", random.choice(FSYNCS)]


def work(rig: Rig, random: Random, seed: str, fault: Callable[[], None], *options: str) -> None:
    process = rig.start_workload(seed, *workload_options(random), *options)
    time.sleep(random.uniform(0, LONGEST_WORK))
    fault()
    rig.end_workload(process)


def scrub_sometimes(rig: Rig, random: Random) -> None:
    """Who opens the store first after a crash: a scrub, or the daemon itself."""
    if random.random() < 0.5:
        rig.scrub()


def kill_while_mounting(rig: Rig, random: Random) -> None:
    """A second crash, while what the first one left is being opened."""
    rig.begin_mount()
    time.sleep(random.uniform(0, STARTUP))
    rig.kill_mount()


def histories(rig: Rig) -> Histories:
    return read_history(rig.history.read_bytes(), WORKERS)


def checked(rig: Rig) -> Verdict:
    """Compare, then leave an empty tree, nothing running, and a store that a scrub finds whole."""
    verdict = right(check(histories(rig), TOPS, read_tree(rig.place)))
    rig.empty()
    rig.unmount()
    rig.kill_server()
    rig.scrub()
    return verdict


def right(verdict: Verdict) -> Verdict:
    if not verdict.right:
        raise FaultError("; ".join(verdict.problems))
    return verdict
