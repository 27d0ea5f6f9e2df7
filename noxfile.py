"""Sessions beside the everyday test run: more Python versions, vectors, benchmarks.

    nox -s lint types tests            what CI checks, in environments of their own
    nox -s vectors                     regenerate all test vectors and compare
    nox -s bench -- --only serde       benchmarks against named peers; --json FILE for a machine
    nox -s fs-suite -- --modes thin    public file-system suites over real mounts (docs/fuse-compliance.md)
    nox -s faults -- --kills 10        kill -9, power cuts and full disks under real mounts, as root
    nox -s simulations -- 50           what runtimes do on networks that fail, with thousands of seeds
    nox -s hostile                     every named attack, and every test that the threat model names
    nox -s fuzz -- --seconds 60        every parser under atheris; `-- --list` names them (docs/auditor.md)

Every session installs from requirements.lock, so that it sees the same versions as `tools/dev.py`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

PACKAGES = ["btserde", "btlib", "bttp", "btrun", "btfproto", "btfsd", "btfuse", "blocktree"]
PYTHONS = ["3.11", "3.12", "3.13"]

#: The fuzzer. 3.0 is the first that knows Python 3.12 and later.
ATHERIS = "atheris==3.0.0"

#: Tests of btrun whose worlds come from seeds.
SIMULATED = ["test_simulation", "test_services", "test_nearest", "protocol/test_simulated"]

#: Peers that `bench` compares with, as Debian packages: command → package.
PEERS = {
    "gocryptfs": "gocryptfs",
    "securefs": "securefs",
    "encfs": "encfs",
    "fio": "fio",
    "sshfs": "sshfs",
    "sshd": "openssh-server",
    "nats-server": "nats-server",
}


def install(session: nox.Session) -> None:
    session.install("--require-hashes", "--requirement", "requirements.lock")
    editable = [word for name in PACKAGES for word in ("--editable", f"packages/{name}")]
    session.install("--no-deps", "--no-build-isolation", *editable)
    # The compiled twins, where there is a compiler with OpenSSL's headers; everything works without them.
    session.install("--no-deps", "--no-build-isolation", "--editable", "packages/btspeed", success_codes=[0, 1])


def install_tpm(session: nox.Session) -> None:
    """What keys in a TPM need, where it can be compiled; without, their tests are skipped and say so."""
    if shutil.which("pkg-config") is None or subprocess.run(["pkg-config", "--exists", "tss2-esys"]).returncode:
        session.log("no libtss2-dev here: the tests of keys in a TPM are skipped")
        return
    session.install("--require-hashes", "--requirement", "requirements-tpm.lock", success_codes=[0, 1])


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's checks and format."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on sources and tests."""
    install(session)
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests; further words go to pytest."""
    install(session)
    install_tpm(session)
    session.run("pytest", *session.posargs)


@nox.session
def vectors(session: nox.Session) -> None:
    """Regenerate every test vector and fail on a difference."""
    install(session)
    for program in sorted(str(path) for path in Path("packages").glob("*/tests/**/make_vectors.py")):
        session.run("python", program, "--check")


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks; `-- --list` names them, `-- --only NAME --json FILE` runs one."""
    install(session)
    absent = sorted(package for command, package in PEERS.items() if shutil.which(command) is None)
    if absent:
        session.log("peers missing here (their rows are left out): apt-get install %s", " ".join(absent))
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Kills, power cuts, full disks on real mounts, as root; `-- --kills N --cuts N --seed S`: docs/faults.md."""
    install(session)
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def simulations(session: nox.Session) -> None:
    """Supervision, services, sessions in simulated worlds, 50 times the usual seeds; `-- N` times, words to pytest."""
    install(session)
    times, *words = session.posargs or ["50"]
    files = [f"packages/btrun/tests/{name}.py" for name in SIMULATED]
    session.run("pytest", *files, *words, env={"BTRUN_SEEDS": times})


@nox.session
def hostile(session: nox.Session) -> None:
    """Every named attack, and all tests that docs/threat-model.md names; words go to pytest."""
    install(session)
    install_tpm(session)
    session.run("pytest", "tests/hostile", "tests/fuzz", *session.posargs)
    session.run("python", "-m", "tests.hostile", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Every parser under atheris: `-- --seconds N --only TARGET`; `-- --list`; `-- --only TARGET --input FILE`."""
    install(session)
    install_tpm(session)
    # The one tool that no lock names: it is needed here only, and has wheels for few Pythons. Tests replay without it.
    session.install(ATHERIS, success_codes=[0, 1])
    if "--list" not in session.posargs and "--input" not in session.posargs:
        probe = session.run("python", "-c", "import atheris", success_codes=[0, 1], silent=True)
        if probe:
            session.error(f"{ATHERIS} cannot be installed for this Python; it has wheels for 3.11 to 3.13 on Linux")
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session(name="fs-suite")
def fs_suite(session: nox.Session) -> None:
    """Public suites on real mounts, as root; PJDFSTEST=DIR and FSX=FILE name what is built elsewhere."""
    install(session)
    for program in ("fio", "stress-ng"):
        if shutil.which(program) is None:
            session.run("apt-get", "install", "--yes", program, external=True)
    session.run("pytest", "tests/fs_suite")
    session.run("python", "-m", "tests.fs_suite", *session.posargs)
