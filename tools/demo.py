#!/usr/bin/env python3
"""The main job, for real: a domain, mounts, a server, other machines, thousands of files. About a minute.

    python3 tools/dev.py demo

Each step below is a claim of the project. It is carried out with the installed commands (`bt`, `btfsd`, `btfuse`) and
plain file operations, as a user would; the first one that is not true ends the demo with a non-zero status. "Machines"
are homes of their own on this one; between them there are real sockets and TLS. Nothing is left behind, also after
Ctrl-C.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

# Run as a script, a file finds only its neighbours; the checkout is the root of all module names.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.demo_stage import (
    Machine,
    Stage,
    Untrue,
    check,
    copy_with_bar,
    digest,
    file_digest,
    free_port,
    listening,
    raised,
    stage,
    wait_until,
)

ENOUGH_FILES = 2000  #: where a standard library comes without its tests, installed packages are taken along
LARGEST = 1 << 20  #: bytes of a source file; the static libraries that lie among them are no sources
SECRET = b"The passphrase of the vault is on the second shelf."
VICTIM_SIZE = 256 * 1024
SHORTEST_NAME = 8  #: characters; random bytes look like a shorter name now and then
ROWS = 20_000
SYNCED_FILES = 5
COPIED_BEFORE_SYNC = 100  #: files of the large copy that are there when others are fsynced
COPIED_BEFORE_KILL = 400  #: and when its mount is killed


def make_a_domain(on: Stage) -> str:
    """make a domain: a root principal, this machine's keys, a store with an empty tree"""
    done = on.machine("first").bt("init", "home", "--host", "first", "--no-input", "--json")
    on.facts = json.loads(done.stdout)
    return f"root {on.root[:16]}…"


def mount_it_alone(on: Stage) -> str:
    """mount it alone: no server, the store is a directory of ciphertext"""
    place = on.mount(on.machine("first"), "home:")
    check(list(place.iterdir()) == [], "the new tree is empty")
    return f"on {place}"


def copy_the_standard_library_in(on: Stage) -> str:
    """copy Python's standard library in, with plain file operations"""
    gather_sources(on.source)
    on.files, on.size = copy_with_bar(on.source, on.place("first") / "python")
    (on.place("first") / "python" / "private-note.txt").write_bytes(SECRET)
    (on.source / "private-note.txt").write_bytes(SECRET)
    on.before = digest(on.source)
    return f"{on.files} files, {on.size / 1e6:.0f} MB"


def use_git_inside(on: Stage) -> str:
    """git init, add, commit and fsck inside the mount"""
    place, first = on.place("first") / "python", on.machine("first")
    git: list[str | Path] = ["git", "-C", place, "-c", "user.name=demo", "-c", "user.email=demo@example.org"]
    git += ["-c", "gc.auto=0"]
    first.run(*git, "init", "--quiet")
    first.run(*git, "add", ".")
    first.run(*git, "commit", "--quiet", "-m", "The standard library")
    first.run(*git, "fsck", "--full", "--strict", "--no-dangling")
    check(first.run(*git, "status", "--porcelain").stdout == "", "git sees no change after the commit")
    return f"{first.run(*git, 'rev-list', '--objects', '--all').stdout.count(chr(10))} objects"


def compile_inside(on: Stage) -> str:
    """compile Python packages inside the mount"""
    packages = [on.place("first") / "python" / name for name in ("asyncio", "email", "http", "json", "xml")]
    on.machine("first").run(sys.executable, "-m", "compileall", "-q", *packages)
    compiled = sum(len(list(package.rglob("*.pyc"))) for package in packages)
    check(compiled > 0, "there are compiled modules")
    return f"{compiled} modules"


def keep_a_database_inside(on: Stage) -> str:
    """write an SQLite database inside the mount and check its integrity"""
    with closing(sqlite3.connect(on.place("first") / "ledger.sqlite")) as database, database:
        database.execute("create table entries (number integer primary key, note text)")
        database.executemany("insert into entries values (?, ?)", ((n, f"entry {n}") for n in range(ROWS)))
        database.execute("delete from entries where number % 3 = 0")
    with closing(sqlite3.connect(on.place("first") / "ledger.sqlite")) as database:
        check(database.execute("pragma integrity_check").fetchone() == ("ok",), "the database is intact")
        (rows,) = database.execute("select count(*) from entries").fetchone()
    return f"{rows} rows"


def compare_after_a_remount(on: Stage) -> str:
    """unmount, mount again, and compare SHA-256 of every file with the source"""
    on.unmount(on.machine("first"))
    place = on.mount(on.machine("first"), "home:")
    check(digest(place / "python", skip=(".git",)) == on.before, "every file is as it was")
    on.unmount(on.machine("first"))
    return f"{len(on.before)} files equal"


def find_nothing_in_the_stored_bytes(on: Stage) -> str:
    """look for file names and known text in the stored bytes"""
    names = {name.encode() for path in on.before for name in path.split("/") if len(name) >= SHORTEST_NAME}
    readable = re.compile(rb"[ -~]{%d,}" % SHORTEST_NAME)
    stored = 0
    for file in (path for path in on.store.rglob("*") if path.is_file()):
        content = file.read_bytes()
        stored += len(content)
        text = b"\n".join(readable.findall(content))
        found = [name for name in [*names, SECRET[:20], b"def __init__"] if name in text]
        check(not found, f"no name and no text is readable in {file.name} (found {found[:3]})")
    check(stored > on.size / 2, "the bytes are there at all")
    return f"{len(names)} names, {stored / 1e6:.0f} MB: nothing"


def serve_the_store(on: Stage) -> str:
    """start btfsd, which serves that store over TLS"""
    on.port = free_port()
    on.server = on.start(on.machine("first"), "btfsd", "--domain", "home", "--listen", f"127.0.0.1:{on.port}")
    wait_until(lambda: listening(on.port) or on.server.poll() is not None, "btfsd listens")
    check(on.server.poll() is None, f"btfsd runs: {on.log('btfsd')}")
    return f"127.0.0.1:{on.port}"


def enrol_and_grant_a_second_machine(on: Stage) -> str:
    """enrol a second machine with its own keys, and grant it /python"""
    principal = enrol(on, on.machine("second"))
    on.machine("first").bt("grant", principal, "home:/python", "read,write")
    return f"{principal[:16]}…"


def mount_end_to_end(on: Stage) -> str:
    """mount there end-to-end (keys there, bytes here): same bytes, and each sees what the other writes"""
    return exchange(on, "end-to-end.txt", "--server")


def mount_thin(on: Stage) -> str:
    """the same in thin mode, where the server holds the keys"""
    return exchange(on, "thin.txt", "--server", "--thin")


def refuse_a_third_machine(on: Stage) -> str:
    """a third machine, enrolled but granted nothing, is refused with a reason"""
    third = on.machine("third")
    enrol(on, third)
    refused = third.bt("mount", "--server", "home:/python", on.mountpoint("third"), expect=5)
    check("holds no read capability" in refused.stderr, f"the refusal says why: {refused.stderr}")
    return refused.stderr.strip().splitlines()[-1][:150]


def stop_the_server(on: Stage) -> str:
    """stop the server, with everything committed"""
    status = on.stop(on.server)
    check(status == 0, f"btfsd ends with 0 after SIGTERM, not {status}: {on.log('btfsd')}")
    return "exit code 0"


def notice_a_flipped_byte(on: Stage) -> str:
    """flip one byte in the store: that file fails with an integrity error, everything else still reads"""
    first = on.machine("first")
    grown = on.grow(lambda: write_victim(on))
    segment, offset = grown
    flip(segment, offset)
    refused = first.bt("cat", "home:/victim.bin", expect=6)
    check("victim.bin" in refused.stderr, f"the error names the file: {refused.stderr}")
    place = on.mount(first, "home:")
    check(raised(OSError, (place / "victim.bin").read_bytes), "reading it in a mount fails as well")
    others = digest(place / "python", skip=(".git", "end-to-end.txt", "thin.txt"))
    check(others == on.before, "every other file still reads")
    on.unmount(first)
    flip(segment, offset)
    check(first.bt("cp", "home:/victim.bin", on.top / "victim.bin"), "flipped back, it reads again")
    return refused.stderr.strip()[:150]


def survive_kill_9(on: Stage) -> str:
    """kill -9 the mount during a large copy, mount again: consistent, and everything that was fsynced is there"""
    first, place = on.machine("first"), on.mountpoint("first")
    on.mounted.append(place)
    mount = on.start(first, "btfuse", "-f", "home:", place)
    wait_until(lambda: os.path.ismount(place) or mount.poll() is not None, "the mount is there")
    copy = on.start(first, "cp", "-r", on.source, place / "again")
    wait_until(lambda: count_files(place / "again") >= COPIED_BEFORE_SYNC, "the copy is under way")
    synced = {f"synced-{number}": write_synced(place / f"synced-{number}") for number in range(SYNCED_FILES)}
    wait_until(lambda: count_files(place / "again") >= COPIED_BEFORE_KILL, "the copy goes on")
    check(copy.poll() is None, "the copy is not at its end")
    on.stop(mount, signal.SIGKILL)
    on.wait(copy)
    on.mounted.remove(place)
    on.mount(first, "home:")
    check({name: file_digest(place / name) for name in synced} == synced, "all that was fsynced is there")
    kept = sum(is_beginning(place / "again" / name, on.source / name) for name in on.before)
    # What was there before an fsync is in its group, or in an earlier one.
    check(kept >= COPIED_BEFORE_SYNC, f"what was copied before the fsyncs is there ({kept} files)")
    check(digest(place / "python", skip=(".git", "end-to-end.txt", "thin.txt")) == on.before, "the rest is untouched")
    on.unmount(first)
    return f"{SYNCED_FILES} fsynced files there, {kept} files of the copy"


def leave_nothing_running(on: Stage) -> str:
    """leave nothing mounted and nothing running"""
    check(on.mounted == [] and on.processes == [], "all mounts and servers of the demo have ended")
    table = Path("/proc/self/mounts").read_text()
    check(str(on.top) not in table, "the kernel knows no mount of the demo any more")
    status = json.loads(on.machine("first").bt("status", "--json").stdout)
    check(status["domains"][0]["holder"] is None, "nobody holds the store")
    return "done"


STEPS: list[Callable[[Stage], str]] = [
    make_a_domain,
    mount_it_alone,
    copy_the_standard_library_in,
    use_git_inside,
    compile_inside,
    keep_a_database_inside,
    compare_after_a_remount,
    find_nothing_in_the_stored_bytes,
    serve_the_store,
    enrol_and_grant_a_second_machine,
    mount_end_to_end,
    mount_thin,
    refuse_a_third_machine,
    stop_the_server,
    notice_a_flipped_byte,
    survive_kill_9,
    leave_nothing_running,
]


def gather_sources(target: Path) -> None:
    """Lay out what will be copied in: the standard library's sources, and more where they are few."""
    for name in ("stdlib", "purelib"):
        copy_sources(Path(sysconfig.get_path(name)), target / ("" if name == "stdlib" else "packages"))
        if count_files(target) >= ENOUGH_FILES:
            return


def copy_sources(source: Path, target: Path) -> None:
    def left_out(directory: str, names: list[str]) -> list[str]:
        large = [name for name in names if (Path(directory) / name).stat().st_size > LARGEST]
        return [*large, *(name for name in names if name in ("site-packages", "dist-packages", "__pycache__"))]

    shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)


def enrol(on: Stage, machine: Machine) -> str:
    """Make a machine a member: its request is signed by the first, whose answer it accepts. Gives its principal."""
    asked, answer = on.top / f"{machine.name}.request", on.top / f"{machine.name}.response"
    done = machine.bt("enroll", "request", "home", "--host", machine.name, "--out", asked, "--json")
    principal: str = json.loads(done.stdout)["principal"]
    endpoint = f"127.0.0.1:{on.port}"
    signing: list[str | Path] = ["sign", asked, "--fingerprint", principal, "--server", endpoint, "--out", answer]
    on.machine("first").bt("enroll", *signing)
    machine.bt("enroll", "accept", answer, "--root", on.root)
    return principal


def exchange(on: Stage, name: str, *options: str) -> str:
    """Mount on the second machine, compare everything, and let each machine read what the other writes."""
    first, second = on.machine("first"), on.machine("second")
    place = on.mount(second, "home:/python", *options)
    check(digest(place, skip=(".git", "end-to-end.txt")) == on.before, "the second machine sees the same bytes")
    (place / name).write_text(f"written {name}")
    descriptor = os.open(place / name, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    seen = first.bt("cat", f"home:/python/{name}").stdout
    check(seen == f"written {name}", "the first machine sees what the second wrote")
    on.unmount(second)
    return f"{len(on.before)} files equal, {name} seen by the first"


def write_victim(on: Stage) -> None:
    source = on.top / "random.bin"
    source.write_bytes(os.urandom(VICTIM_SIZE))
    on.machine("first").bt("cp", source, "home:/victim.bin")


def flip(file: Path, offset: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        (byte,) = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))


def write_synced(path: Path) -> str:
    with path.open("wb") as file:
        file.write(os.urandom(64 * 1024))
        file.flush()
        os.fsync(file.fileno())
    return file_digest(path)


def count_files(top: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(top))


def is_beginning(copied: Path, source: Path) -> bool:
    """Whether a file got into the copy; if so, what is there has to be the beginning of the source."""
    if not copied.exists():
        return False
    content = copied.read_bytes()
    check(source.read_bytes().startswith(content), f"{copied.name} holds only what was written to it")
    return True


def play(on: Stage) -> None:
    """All steps, each with its line and time."""
    started = time.monotonic()
    for number, step in enumerate(STEPS, 1):
        print(f"{number:2}/{len(STEPS)} {step.__doc__}", flush=True)
        begun = time.monotonic()
        outcome = step(on)
        print(f"      {time.monotonic() - begun:5.1f} s  {outcome}", flush=True)
    seconds = time.monotonic() - started
    print(
        f"All true: {on.files} files, {on.size} bytes, {seconds:.0f} seconds. Go on with docs/tour.md and docs/bt.md.",
        flush=True,
    )


def main() -> int:
    try:
        with stage() as on:
            play(on)
    except (Untrue, OSError, subprocess.SubprocessError) as error:
        print(f"NOT TRUE: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything is cleaned up", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
