"""Every distribution builds, installs alone with its declared dependencies, and imports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDS_COMPILER = {"btspeed"}
PACKAGES = sorted(
    path.name
    for path in (ROOT / "packages").iterdir()
    if (path / "pyproject.toml").is_file() and (path.name not in NEEDS_COMPILER or shutil.which("cc"))
)

pytestmark = pytest.mark.slow


def run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of all packages, built from the sources as they are now."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = [ROOT / "packages" / name for name in PACKAGES]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    run(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, *sources)
    return folder


@pytest.mark.parametrize("package", PACKAGES)
def test_package_installs_alone_and_imports(package: str, wheelhouse: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    environment = tmp_path / "environment"
    run(uv, "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    (wheel,) = wheelhouse.glob(f"{package}-*.whl")
    run(uv, "pip", "install", "--quiet", "--python", python, "--find-links", wheelhouse, wheel)
    where = run(python, "-I", "-c", f"import {package}; print({package}.__file__)").strip()
    assert Path(where).is_relative_to(environment)
    assert (Path(where).parent / "py.typed").is_file()


def test_every_package_carries_what_a_stranger_needs() -> None:
    wanted = ["README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"]
    missing = [
        f"{name}/{file}" for name in PACKAGES for file in wanted if not (ROOT / "packages" / name / file).is_file()
    ]
    assert missing == []
