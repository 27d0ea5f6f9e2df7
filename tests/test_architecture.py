"""The architecture as a test: who may import whom, and which modules are pure.

Both tables below are the design. They are checked by reading the imports of every source file; nothing is executed.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGES = Path(__file__).resolve().parent.parent / "packages"

#: Which sibling packages (and which others, beside the standard library) each package may import.
ALLOWED: dict[str, set[str]] = {
    "btspeed": set(),
    "btserde": {"btspeed", "msgspec"},
    "btlib": {
        "btspeed",
        "btserde",
        "msgspec",
        "cryptography",
        "mnemonic",
        "shamir_mnemonic",
        "spake2",
        "keyring",
        "tpm2_pytss",
    },
    "bttp": {"btspeed", "btserde", "btlib", "msgspec", "cryptography", "anyio", "uvloop", "opentelemetry"},
    "btrun": {"btserde", "btlib", "bttp", "msgspec", "anyio"},
    "btfproto": {"btspeed", "btserde", "btlib", "bttp", "msgspec", "anyio", "cryptography", "zeroconf"},
    "btfsd": {"btserde", "btlib", "bttp", "btrun", "btfproto", "msgspec", "anyio", "typer"},
    "btfuse": {"btspeed", "btserde", "btlib", "bttp", "btfproto", "msgspec", "fuse", "mfusepy"},
    "blocktree": {
        "btserde",
        "btlib",
        "bttp",
        "btrun",
        "btfproto",
        "btfsd",
        "btfuse",
        "msgspec",
        "typer",
        "rich",
        "segno",
        "click",
    },
}

#: Test kits are public modules of their packages; they may use the test tools.
TEST_KITS = {"pytest", "hypothesis"}

#: Modules of the standard library that touch the world. A pure module imports none of them: time, randomness and
#: bytes come as arguments.
WORLD = {
    "asyncio",
    "datetime",
    "fcntl",
    "io",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
    "anyio",
}

#: The purity table. In these libraries every module is pure, except the shells that a pattern here names (below
#: `src/<name>/`). A new module is pure unless somebody writes it down.
SHELLS: dict[str, list[str]] = {
    "btspeed": [],
    "btserde": [],
    "btlib": [
        "_private_files.py",  # files that only their owner may read
        "agent/__main__.py",
        "agent/_client.py",
        "agent/_place.py",
        "agent/_process.py",
        "agent/_server.py",
        "agent/_wire.py",
        "credentials/_file.py",
        "credentials/_kept.py",
        "hardening.py",  # limits of this process
        "home/*",
        "key_pairs.py",  # new keys need randomness
        "process_keys.py",  # keys of a moment
        "testing/audit.py",
        "testing/swtpm.py",
        "testing/vectors.py",
        "tpm/_chip.py",  # talks to the chip
        "tpm/_store.py",
        "unlocking.py",  # the order in which a passphrase is looked for
    ],
    "bttp": [
        "_anyio*",
        "_asyncio*",
        "_broker.py",
        "_certificates.py",  # ephemeral keys, memory files for OpenSSL
        "_keyed.py",  # the lock of the replay caches, and their clock
        "_loops.py",
        "_metrics.py",
        "_reconnecting.py",
        "_renewing.py",
        "_runners.py",
        "_server.py",
        "_shell*.py",
        "_sockets.py",
        "_stream.py",
        "_workers.py",
        "tapping.py",  # a file of frames
        "blocking/*",
        "sealed/_keeper.py",  # new keys need randomness
        "sealed/_asking.py",  # a log line
        "sealed/_links.py",
        "sealed/_reading.py",  # a log line
        "sealed/_topic.py",
        "testing/*",
    ],
    "btrun": [
        "_doors.py",  # threads of a server come through them, and wait
        "_inspection_service.py",  # a log line
        "_following.py",
        "_life.py",
        "_loops.py",
        "_pool.py",
        "_providers.py",
        "_publishing.py",
        "_runtime.py",
        "_starter.py",
        "_supervisor.py",
        "blocking.py",
        "dead_letters.py",  # a log line
        "protocol/_gathering.py",
        "protocol/_handles.py",
        "protocol/_joining.py",  # does not wait for ever for the other side
        "protocol/_memory.py",
        "protocol/_session.py",
        "protocol/_streams.py",
        "protocol/_versions.py",  # as joining
        "protocol/examples/*",
        "services.py",
        "testing/*",
    ],
    "btfproto": [
        "_bell.py",  # wakes waiters
        "_chain_watch.py",  # the thread that looks for the next chains
        "_dial.py",  # connects again
        "_places.py",  # the clock, the environment
        "_staleness.py",  # the log
        "_race.py",  # threads that dial
        "_revocation_memory.py",  # a file of what was revoked
        "care/_archive.py",  # reads a backup
        "care/_backup.py",  # copies a store
        "care/_collection.py",  # fresh request ids
        "care/_copies.py",  # the files of a copy
        "care/_files.py",  # reads the files of a store
        "endpoints/discovery.py",  # multicast DNS
        "endpoints/_book.py",  # a file, and its lock
        "localfs/_coherence.py",  # the thread that hears of changes
        "localfs/_committer.py",  # the commit thread
        "localfs/_core.py",  # the lock
        "localfs/_fs.py",
        "localfs/_keeper.py",  # files and notes of what could not be saved
        "localfs/_lease.py",
        "localfs/_locking.py",  # one question about locks at once
        "localfs/_new_directory.py",
        "localfs/_pins.py",  # a file of pins
        "localfs/_reading.py",  # the thread that reads ahead
        "localfs/_renewing.py",  # a warning about a file that keeps its old key
        "localfs/_rescuing.py",  # the thread that keeps what could not be saved
        "localfs/_room.py",  # how long ago a store was asked for its room
        "opening.py",
        "past.py",  # randomness for a request id; the lock
        "remote/*",
        "revocations.py",  # the lock
        "store/_*",
        "store/rebuild.py",
        "store/remote/*",
        "testing/*",
    ],
}


def sources(package: str) -> Iterator[Path]:
    yield from sorted((PACKAGES / package / "src" / package).rglob("*.py"))


def imported_modules(file: Path) -> Iterator[str]:
    """Full names of the modules that a file imports absolutely (type-checking-only imports included)."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module


def standard_library(name: str) -> bool:
    import sys

    return name in sys.stdlib_module_names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    wrong = [
        f"{file.relative_to(PACKAGES)} imports {module}"
        for file in sources(package)
        for module in imported_modules(file)
        if (top := module.split(".")[0]) not in ALLOWED[package] | {package}
        and not standard_library(top)
        and not (top in TEST_KITS and "testing" in file.relative_to(PACKAGES).as_posix())
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ALLOWED)
def test_no_private_module_of_another_package_is_imported(package: str) -> None:
    wrong = [
        f"{file.relative_to(PACKAGES)} imports {module}"
        for file in sources(package)
        for module in imported_modules(file)
        if (parts := module.split("."))[0] in ALLOWED
        and parts[0] != package
        and any(part.startswith("_") for part in parts[1:])
    ]
    assert wrong == []


def matching_shells(package: str, file: Path) -> list[str]:
    name = file.relative_to(PACKAGES / package / "src" / package).as_posix()
    return [pattern for pattern in SHELLS[package] if fnmatch(name, pattern)]


def touches_world(file: Path) -> bool:
    return any(module.split(".")[0] in WORLD for module in imported_modules(file))


@pytest.mark.parametrize("package", SHELLS)
def test_pure_modules_touch_nothing_of_the_world(package: str) -> None:
    wrong = [
        f"{file.relative_to(PACKAGES)} imports {module}"
        for file in sources(package)
        if not matching_shells(package, file)
        for module in imported_modules(file)
        if module.split(".")[0] in WORLD
    ]
    assert wrong == []


@pytest.mark.parametrize("package", SHELLS)
def test_every_pattern_of_the_purity_table_is_needed(package: str) -> None:
    needed = {shell for file in sources(package) if touches_world(file) for shell in matching_shells(package, file)}
    assert needed == set(SHELLS[package])


def test_only_the_tpm_package_imports_the_tpm_library() -> None:
    tpm = PACKAGES / "btlib" / "src" / "btlib" / "tpm"
    importers = {file.parent for file in sources("btlib") if "tpm2_pytss" in {*map(_top, imported_modules(file))}}
    assert importers == {tpm}


def _top(module: str) -> str:
    return module.split(".")[0]


def test_only_the_binding_imports_the_fuse_library() -> None:
    importers = {
        file.name for file in sources("btfuse") for module in imported_modules(file) if module in ("fuse", "mfusepy")
    }
    assert importers <= {"_binding.py"}


@pytest.mark.parametrize("package", ALLOWED)
def test_declared_dependencies_cover_what_is_imported(package: str) -> None:
    project = tomllib.loads((PACKAGES / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [word for words in project.get("optional-dependencies", {}).values() for word in words]
    distributions = {
        "fusepy": "fuse",
        "opentelemetry-api": "opentelemetry",
        "shamir-mnemonic": "shamir_mnemonic",
        "tpm2-pytss": "tpm2_pytss",
    }
    declared = {word.split(">")[0].split("[")[0] for word in [*project["dependencies"], *extras]}
    modules = {distributions.get(word, word) for word in declared}
    used = {
        module.split(".")[0]
        for file in sources(package)
        if "testing" not in file.relative_to(PACKAGES).as_posix()
        for module in imported_modules(file)
    }
    undeclared = {name for name in used if not standard_library(name)} - modules - {package}
    assert undeclared == set(), f"imported but not declared in {package}/pyproject.toml"
