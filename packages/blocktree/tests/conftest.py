"""Machines for the tests of `bt`: homes of their own, and commands run in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from blocktree.__main__ import run
from btlib.credentials import FileCredentialStore, PassphraseCost

from .serving import free_port, running_server, with_an_apple

PASSPHRASE = "a passphrase for tests"
CHEAP = PassphraseCost(memory_kib=64, iterations=1, lanes=1)
COMMAND_SECONDS = 60  #: far more than any command takes; a hanging one shall fail


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and its words."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        """The JSON document of a command run with `--json`."""
        found: dict[str, object] = json.loads(self.out)
        return found


@dataclass(frozen=True)
class Machine:
    """A home, and `bt` in it."""

    home: Path
    call: Callable[[Path, list[str], dict[str, str]], Done]

    def __call__(self, *words: str | Path, code: int = 0, **environment: str) -> Done:
        """Run `bt` in this process; the exit code has to be the expected one."""
        done = self.call(self.home, [str(word) for word in words], environment)
        assert done.code == code, (done, words)
        return done

    def process(self, *words: str | Path, code: int = 0, stdin: str = "", **environment: str) -> Done:
        """Run `bt` as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "blocktree", *map(str, words)],
            env=self.environment(environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == code, (done.stdout, done.stderr, words)
        return Done(done.returncode, done.stdout, done.stderr)

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKTREE_")}
        return {**kept, **_variables(self.home), **(more or {})}

    @property
    def directory(self) -> Path:
        """Configuration of the domain `home`."""
        return self.home / "domains" / "home"

    @property
    def principal(self) -> str:
        """Of this machine in the domain `home`."""
        return str(FileCredentialStore(self.directory / "credentials").public().principal)

    @property
    def root(self) -> str:
        """The root's principal, of the domain that was made here."""
        return str(FileCredentialStore(self.directory / "root-credentials").public().principal)

    @property
    def store(self) -> Path:
        return self.home / "data" / "domains" / "home" / "store"


def _variables(home: Path) -> dict[str, str]:
    return {"BLOCKTREE_HOME": str(home), "BLOCKTREE_PASSPHRASE": PASSPHRASE}


@pytest.fixture
def machine_at(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[[Path], Machine]:
    """A machine whose home is at a path."""

    def call(home: Path, words: list[str], environment: dict[str, str]) -> Done:
        capfdbinary.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(FileCredentialStore.__init__, "__defaults__", (CHEAP,))
            for name, value in {**_variables(home), **environment}.items():
                patch.setenv(name, value)
            code = run(words)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Done(int(code), out.decode(), err.decode())

    return lambda home: Machine(home, call)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a machine that made the domain `home`, to copy from. Its passphrase is cheap to try."""
    top = tmp_path_factory.mktemp("made") / "home"
    machine = Machine(top, lambda home, words, environment: Done(0, "", ""))
    machine.process("init", "home", "--host", "nas", "--no-input")
    for name in ("credentials", "root-credentials"):
        FileCredentialStore(machine.directory / name, CHEAP).change_passphrase(PASSPHRASE, PASSPHRASE)
    return top


@pytest.fixture
def homes() -> Iterator[Path]:
    """A directory for homes, with a short name: a Unix socket's path has at most 107 bytes, and pytest's are longer."""
    with tempfile.TemporaryDirectory(prefix="bt-") as name:
        yield Path(name)


@pytest.fixture
def nas(machine_at: Callable[[Path], Machine], made_once: Path, homes: Path) -> Machine:
    """A machine with the domain `home`, whose tree is empty."""
    shutil.copytree(made_once, homes / "nas")
    return machine_at(homes / "nas")


@pytest.fixture
def laptop(machine_at: Callable[[Path], Machine], homes: Path) -> Machine:
    """Another machine, which knows no domain."""
    return machine_at(homes / "laptop")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def served(nas: Machine, port: int, tmp_path: Path) -> Iterator[Machine]:
    """The first machine, whose store btfsd serves."""
    with_an_apple(nas, tmp_path, "home:/notes", "home:/private")
    with running_server(nas, port, tmp_path / "btfsd.log"):
        yield nas
