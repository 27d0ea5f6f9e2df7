#!/usr/bin/env python3
"""Set up this checkout and run its main jobs; needs only Python >= 3.11 and git.

    python3 tools/dev.py demo          the main job, for real: domain, server, mounts, real files
    python3 tools/dev.py test          lint, types and all tests
    python3 tools/dev.py exec -- CMD   run a command in the same environment
    python3 tools/dev.py setup         only make the environment
    python3 tools/dev.py lock          re-resolve requirements.lock (hashes, no index host)

Every command first brings the environment (`.venv`, or $BLOCKTREE_VENV) up to date. A stamp of the lock file and
the packages' metadata makes that instant when nothing changed. Debian packages are installed where this runs as
root and apt-get exists; otherwise the exact line to run is printed. What keys in a TPM need (a chip in software, and a
library that is compiled) is made ready where that is possible, and left out with a line where it is not: the tests
that need it then say why they are skipped.

This file uses the standard library alone and imports nothing of the project.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("BLOCKTREE_VENV", ROOT / ".venv"))
LOCK = ROOT / "requirements.lock"
TPM_LOCK = ROOT / "requirements-tpm.lock"
PACKAGES = ("btserde", "btlib", "bttp", "btrun", "btfproto", "btfsd", "btfuse", "blocktree")
#: The compiled twins of the hottest loops; everything works without them, at a third of the speed.
SPEED = ROOT / "packages" / "btspeed"

MINIMUM = (3, 11)


class SetupError(Exception):
    """The environment cannot be made here; the text says what to run next."""


def run(arguments: Sequence[str | Path], **more: object) -> None:
    """Run a command, echoing it; a failing one raises SetupError."""
    words = [str(word) for word in arguments]
    print("+", " ".join(words), file=sys.stderr, flush=True)
    status = subprocess.run(words, check=False, **more).returncode  # type: ignore[call-overload]
    if status != 0:
        raise SetupError(f"this command failed with status {status}: {' '.join(words)}")


def missing_debian_packages() -> list[str]:
    """Name the Debian packages that the mount needs and this machine lacks."""
    missing = []
    if shutil.which("fusermount3") is None:
        missing.append("fuse3")
    if ctypes.util.find_library("fuse") is None:
        missing.append("libfuse2")
    if ctypes.util.find_library("fuse3") is None:
        missing.append("libfuse3-3")
    if shutil.which("git") is None:
        missing.append("git")
    try:
        import ensurepip  # noqa: F401 - Debian splits it off into its own package
    except ImportError:
        missing.append(f"python3.{sys.version_info.minor}-venv")
    return missing


def missing_tpm_packages() -> list[str]:
    """Name the Debian packages that keys in a TPM need and this machine lacks."""
    missing = []
    if shutil.which("swtpm") is None:
        missing.append("swtpm")
    if not has_tpm_headers():
        missing.append("libtss2-dev")
    if shutil.which("gcc") is None:
        missing += ["gcc", "libc6-dev"]
    if shutil.which("pkg-config") is None:
        missing.append("pkg-config")
    if not has_python_headers():
        missing.append(f"python3.{sys.version_info.minor}-dev")
    return missing


def missing_speed_packages() -> list[str]:
    """Name the Debian packages that compiling the hottest loops needs and this machine lacks."""
    missing = [] if shutil.which("gcc") else ["gcc", "libc6-dev"]
    if not has_python_headers():
        missing.append(f"python3.{sys.version_info.minor}-dev")
    if not has_header("openssl/evp.h"):
        missing.append("libssl-dev")
    if platform.machine() == "x86_64" and not has_header("intel-ipsec-mb.h"):
        missing.append("libipsec-mb-dev")
    return missing


def has_header(name: str) -> bool:
    """Whether the C compiler finds a header."""
    if shutil.which("gcc") is None:
        return False
    command = ["gcc", "-E", "-x", "c", "-"]
    return (
        subprocess.run(command, input=f"#include <{name}>\n".encode(), capture_output=True, check=False).returncode == 0
    )


def has_tpm_headers() -> bool:
    if shutil.which("pkg-config") is None:
        return False
    return subprocess.run(["pkg-config", "--exists", "tss2-esys"], check=False).returncode == 0


def has_python_headers() -> bool:
    return (Path(sysconfig.get_path("include")) / "Python.h").is_file()


def can_build_tpm() -> bool:
    """Whether the library that talks to a TPM can be compiled here."""
    return has_tpm_headers() and has_python_headers() and shutil.which("gcc") is not None


def ensure_debian_packages(missing: Sequence[str]) -> None:
    """Install missing system packages as root, or print the line that does and go on without."""
    if not missing:
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if shutil.which("apt-get") is None:
        print(f"dev.py: missing here: {', '.join(missing)}. Install them with your system's tool.", file=sys.stderr)
    elif os.geteuid() != 0:
        print(f"dev.py: run this once, then again: sudo {' '.join(install)}", file=sys.stderr)
    else:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=environment)
        run(install, env=environment)


def can_build_speed() -> bool:
    """Whether the hottest loops can be compiled here."""
    return has_header("openssl/evp.h") and has_python_headers()


def stamp() -> str:
    """Hash everything that decides what is installed."""
    can = [can_build_tpm(), can_build_speed(), has_header("intel-ipsec-mb.h")]
    digest = hashlib.sha256(sys.version.encode() + bytes(can))
    metadata = [ROOT / "packages" / name / "pyproject.toml" for name in PACKAGES]
    compiled = [SPEED / "pyproject.toml", SPEED / "setup.py", *sorted((SPEED / "src" / "btspeed").glob("*.[ch]"))]
    for file in [LOCK, TPM_LOCK, *metadata, *compiled]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def ensure_environment() -> None:
    """Make or refresh the virtual environment: locked dependencies, then the packages, editable."""
    ensure_debian_packages(missing_debian_packages())
    optional(
        "no keys in a TPM here, and their tests are skipped", lambda: ensure_debian_packages(missing_tpm_packages())
    )
    optional("nothing is compiled here", lambda: ensure_debian_packages(missing_speed_packages()))
    stamp_file = VENV / "blocktree-stamp"
    if stamp_file.is_file() and stamp_file.read_text() == stamp():
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        print(f"dev.py: making the environment in {VENV}", file=sys.stderr)
        venv.create(VENV, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "--require-hashes", "--requirement", str(LOCK)])
    editable = [word for name in PACKAGES for word in ("--editable", str(ROOT / "packages" / name))]
    run([*pip, "--no-deps", "--no-build-isolation", *editable])
    if can_build_tpm():
        print("dev.py: compiling what talks to a TPM; a minute, once", file=sys.stderr)
        step = [*pip, "--require-hashes", "--requirement", str(TPM_LOCK)]
        optional("no keys in a TPM here, and their tests are skipped", lambda: run(step))
    if can_build_speed():
        build = [*pip, "--no-deps", "--no-build-isolation", "--editable", str(SPEED)]
        optional("the hottest loops stay in Python here", lambda: run(build))
    stamp_file.write_text(stamp())


def optional(lost: str, step: Callable[[], None]) -> None:
    """Take a step that not everything needs; where it fails, say what is lost and go on."""
    try:
        step()
    except SetupError as error:
        print(f"dev.py: {lost}: {error}", file=sys.stderr)


def environment() -> dict[str, str]:
    """The variables of a process that runs inside the environment."""
    inside = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    inside["VIRTUAL_ENV"] = str(VENV)
    inside["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return inside


def call(arguments: Sequence[str]) -> int:
    """Run a command in the environment, from the top of the checkout, and give its status."""
    print("+", " ".join(arguments), file=sys.stderr, flush=True)
    return subprocess.run(list(arguments), cwd=ROOT, env=environment(), check=False).returncode


def command_demo(arguments: Sequence[str]) -> int:
    return call(["python", "tools/demo.py", *arguments])


def command_test(arguments: Sequence[str]) -> int:
    """Lint, types, tests: each runs even if an earlier one failed, so that one run shows everything."""
    checks = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        # A file's tests stay together: their fixtures hold domains, daemons and mounts that are dear to make.
        ["pytest", "--numprocesses=auto", "--dist=loadfile", *arguments],
    ]
    return max(call(check) for check in checks)


def command_exec(arguments: Sequence[str]) -> int:
    words = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if not words:
        raise SetupError("exec needs a command: python3 tools/dev.py exec -- CMD [ARGUMENT…]")
    inside = environment()
    program = shutil.which(words[0], path=inside["PATH"])
    if program is None:
        raise SetupError(f"no such command in the environment: {words[0]}")
    os.execvpe(program, words, inside)


def command_setup(arguments: Sequence[str]) -> int:
    print(f"dev.py: the environment is ready: {VENV}", file=sys.stderr)
    return 0


def command_lock(arguments: Sequence[str]) -> int:
    compile_lock = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"]
    compile_lock += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate", "--quiet"]
    sources = ["--group", "dev", "--group", "bench"]
    unnamed = [word for name in PACKAGES for word in ("--no-emit-package", name)]
    inputs = [f"packages/{name}/pyproject.toml" for name in PACKAGES]
    status = call([*compile_lock, *unnamed, *sources, *arguments, "--output-file", LOCK.name, *inputs])
    tpm = ["--extra", "tpm", "--constraint", LOCK.name, "--output-file", TPM_LOCK.name, "packages/btlib/pyproject.toml"]
    return status or call([*compile_lock, *unnamed, *arguments, *tpm])


COMMANDS = {
    "demo": command_demo,
    "test": command_test,
    "exec": command_exec,
    "setup": command_setup,
    "lock": command_lock,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to the command")
    options = parser.parse_args()
    if sys.version_info < MINIMUM:
        parser.exit(2, f"dev.py: needs Python >= 3.11; this is {sys.version.split()[0]}\n")
    try:
        if options.command != "lock" or not VENV.exists():
            ensure_environment()
        return COMMANDS[options.command](options.arguments)
    except SetupError as error:
        parser.exit(2, f"dev.py: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
