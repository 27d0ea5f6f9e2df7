"""What a runtime around the services costs (`btfsd-services`): the actors of btfsd behind doors, against the same
services (with all that they do for revocations, snapshots, observers) as bare handlers of a router.

Both servers are processes of their own with a store of their own, over loopback TCP; one client asks them in turn. The
figures are microseconds an operation as the client sees it, and of the server's processors, which a busy machine
disturbs less.

    small write     create, write 100 bytes, close         through the server's keys
    small read      look up, open, read, close              likewise
    durable         create, write 100 bytes, fsync, close   likewise
    commit          the same with the keys here: one checked commit of sealed blocks
    heads           one read of a head, the smallest request to a store; with one and with eight threads

`python -m packages.btfsd.bench.bench_services doors|bare HOME` is a server: it prints its endpoint, and ends when its
input does.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from btfproto.opening import FILES_SERVICE, STORE_SERVICE, make_domain, open_end_to_end, open_thin, store_at
from btfproto.provider import FsProvider, OpenFlags, Owner
from btfproto.store import HeadWant
from btfsd import Host, Settings, serving
from btfsd._services import Services
from btlib import Credentials
from btlib.home import DomainSettings, Home
from bttp import Router
from bttp.blocking import serve

from tests.bench.harness import Result, compare

NAME = "btfsd-services"

ROOT = Path(__file__).resolve().parents[3]
PASSPHRASE = "protects nothing"
ME = Owner(1000, 1000)
LISTEN = "127.0.0.1:0"
HEADS = [HeadWant(bytes(16))]
THREADS = 8

Work = Callable[["Side"], object]


class Side:
    """One of the two servers, and clients of it."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        top = Path(tempfile.mkdtemp(prefix="bt-bench-"))
        stack.callback(shutil.rmtree, top)
        host = make_host(top)
        words = [sys.executable, "-m", "packages.btfsd.bench.bench_services", kind, str(top)]
        self.process = stack.enter_context(
            subprocess.Popen(words, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        stack.callback(self.process.stdin.close)
        where = self.process.stdout.readline().strip()
        domain, identity = host.domain, host.identity
        self.thin: FsProvider = open_thin(domain, identity, domain.root_path, server=where)
        stack.callback(self.thin.shutdown)
        self.end_to_end: FsProvider = open_end_to_end(domain, identity, domain.root_path, server=where)
        stack.callback(self.end_to_end.shutdown)
        self.store = store_at(where, identity, domain.server_path)
        stack.callback(self.store.close)
        self.names = map(str, itertools.count())
        self.places = {fs: make_place(fs, name) for fs, name in ((self.thin, "thin"), (self.end_to_end, "sealed"))}

    @property
    def processor_seconds(self) -> float:
        """Of all threads of the server."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def make_host(top: Path) -> Host:
    """A new domain in this home, or the one that is there."""
    home = Home.find({"BLOCKTREE_HOME": str(top)})
    if not any(top.iterdir()):
        root, machine = Credentials.generate(), Credentials.generate()
        home.begin("home")
        settings = DomainSettings(root=root.public.principal, host="nas", store=Path("store"))
        pending = home.pending_domain("home", settings)
        chain = make_domain(pending, root.identity(), machine.public, now=int(time.time()))
        pending.root_credentials.save(root, PASSPHRASE)
        pending.credentials.save(machine.with_chains(chain), PASSPHRASE)
        home.admit(pending)
    domain = home.domain("home")
    assert domain.store is not None
    return Host(domain=domain, identity=domain.credentials.unlock(PASSPHRASE), store=domain.store)


def make_place(fs: FsProvider, name: str) -> int:
    """A directory to work in, with one file."""
    place = fs.mkdir(fs.root, name, 0o755, ME).inode
    _, handle = fs.create(place, "file", 0o644, ME, OpenFlags.WRITE)
    fs.write(handle, 0, bytes(1000))
    fs.fsync(handle)
    fs.close(handle)
    fs.sync()
    return place


def write_small(side: Side, fs: FsProvider, *, durable: bool = False) -> None:
    _, handle = fs.create(side.places[fs], next(side.names), 0o644, ME, OpenFlags.WRITE)
    fs.write(handle, 0, b"x" * 100)
    if durable:
        fs.fsync(handle)
    fs.close(handle)


def read_small(side: Side) -> None:
    fs = side.thin
    handle = fs.open(fs.lookup(side.places[fs], "file").inode, OpenFlags.READ)
    fs.read(handle, 0, 1000)
    fs.close(handle)


def read_heads(side: Side) -> None:
    side.store.read_heads(HEADS)


CASES: tuple[tuple[str, Work, int, int], ...] = (
    ("small write", lambda side: write_small(side, side.thin), 60, 1),
    ("small read", read_small, 60, 1),
    ("small read, 8 threads", read_small, 30, THREADS),
    ("durable", lambda side: write_small(side, side.thin, durable=True), 15, 1),
    ("commit", lambda side: write_small(side, side.end_to_end, durable=True), 15, 1),
    ("heads", read_heads, 200, 1),
    ("heads, 8 threads", read_heads, 100, THREADS),
)


class Case:
    """One kind of work at one side: its measurement is the client's time, and it notes the server's for later."""

    def __init__(self, side: Side, work: Work, times: int, threads: int) -> None:
        self.side, self.work, self.times, self.threads = side, work, times, threads
        self.spent: list[float] = []

    def measure(self) -> float:
        before, began = self.side.processor_seconds, time.perf_counter()
        crowd = [threading.Thread(target=self._repeat) for _ in range(self.threads)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        seconds, count = time.perf_counter() - began, self.times * self.threads
        self.spent.append((self.side.processor_seconds - before) / count * 1e6)
        return seconds / count * 1e6

    def _repeat(self) -> None:
        for _ in range(self.times):
            self.work(self.side)


def run(rounds: int) -> list[Result]:
    """Microseconds an operation."""
    results = []
    with ExitStack() as stack:
        doors, bare = Side("doors", stack), Side("bare", stack)
        for name, work, times, threads in CASES:
            ours, theirs = Case(doors, work, times, threads), Case(bare, work, times, threads)
            results += compare(f"services: {name}", "us", ours.measure, {"bare handlers": theirs.measure}, rounds)
            spent = [iter(case.spent[1:]) for case in (ours, theirs)]
            results += compare(
                f"services: {name}, server's processors",
                "us",
                spent[0].__next__,
                {"bare handlers": spent[1].__next__},
                rounds - 1,
            )
    return results


@contextmanager
def serve_bare(host: Host) -> Iterator[str]:
    """The very services that btfsd runs, as handlers of a router: all but the runtime is the same."""
    with ExitStack() as stack:
        services = stack.enter_context(closing(Services(host, Settings())))
        stores, (files, attacher) = services._serve_store(), services._serve_files()
        for each in (stores, attacher, files):
            stack.callback(each.close)
        router = Router()
        stores.add_to(router, host.path.child(STORE_SERVICE))
        files.add_to(router, host.path.child(FILES_SERVICE))
        server = stack.enter_context(serve([LISTEN], host.identity, router, policy=services.policy))
        services.on_revocation(server.recheck)
        yield server.endpoints[0]


@contextmanager
def serve_doors(host: Host) -> Iterator[str]:
    with serving(Settings(listen=(LISTEN,)), host, host.identity) as served:
        yield served.server.endpoints[0]


def main(kind: str, top: str) -> None:
    served = {"bare": serve_bare, "doors": serve_doors}[kind]
    with served(make_host(Path(top))) as endpoint:
        print(endpoint, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
