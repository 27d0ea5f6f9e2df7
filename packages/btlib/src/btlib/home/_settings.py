"""`domain.toml`: what this machine knows about one domain, apart from secrets.

    format = 1
    root = "bt1…"                              the domain's root principal
    host = "nas"                               this machine is /<root>/hosts/nas
    store = "store"                            bytes lie here, under the data directory, or at an absolute path
    server = "nas.example:7464"                where the domain's btfsd listens; unix:/path too
    server_path = "/bt1…/hosts/nas/btfsd"      and the path that it must prove to hold

`store` and `server` are both optional: a machine may hold the bytes, reach them over the network, or both. The file is
for people to read and mend, so every complaint names file and key.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from .._private_files import write_private
from ..errors import BlocktreeError
from ..paths import BlockPath, check_name
from ..principals import Principal
from ._errors import ConfigError

Parsed = TypeVar("Parsed")

FORMAT = 1
SETTINGS_LIMIT = 64 * 1024  #: bytes of a domain.toml that are read; a real one has some hundred


class DomainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a `domain.toml`, checked."""

    root: Principal
    host: str
    store: Path | None = None
    server: str | None = None
    server_path: BlockPath | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    root: str
    host: str
    store: str | None = None
    server: str | None = None
    server_path: str | None = None


def read_settings(file: Path) -> DomainSettings:
    """Read and check one file; raises ConfigError that names the file and the key."""
    raw = _convert(file, _parse(file, _read(file)))
    if raw.format != FORMAT:
        raise ConfigError(
            f"{file}: format is {raw.format}, and this version reads format {FORMAT}",
            hint="update the program that reads it",
        )
    root = _checked(file, "root", Principal.parse, raw.root)
    server_path = None
    if raw.server_path is not None:
        server_path = _checked(file, "server_path", BlockPath.parse, raw.server_path)
        if server_path.root != root:
            raise ConfigError(f"{file}: the keys `root` and `server_path` name different roots", hint=f"edit {file}")
    return DomainSettings(
        root=root,
        host=_checked(file, "host", check_name, raw.host),
        store=None if raw.store is None else Path(raw.store),
        server=raw.server,
        server_path=server_path,
    )


def write_settings(file: Path, settings: DomainSettings) -> None:
    """Replace the file, durably."""
    values = {
        "root": str(settings.root),
        "host": settings.host,
        "store": settings.store,
        "server": settings.server,
        "server_path": settings.server_path,
    }
    lines = [f"format = {FORMAT}"]
    lines += [f"{key} = {_toml_string(str(value))}" for key, value in values.items() if value is not None]
    write_private(file, ("\n".join(lines) + "\n").encode(), replace=True)


def _toml_string(text: str) -> str:
    # A JSON string is a TOML basic string, except that TOML wants DEL escaped too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(SETTINGS_LIMIT).decode()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", hint=f"look at: ls -l {file}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start})", hint=f"edit {file}") from error


def _parse(file: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, and brackets in brackets, too
        raise ConfigError(f"{file} is not TOML: {error}", hint=f"edit {file}") from error


def _convert(file: Path, content: dict[str, object]) -> _File:
    try:
        return msgspec.convert(content, _File)
    except msgspec.ValidationError as error:
        reason = str(error).replace(" - at `$.", ", at key `").replace("field", "key")
        raise ConfigError(f"{file}: {reason}", hint=f"edit {file}") from error


def _checked(file: Path, key: str, parse: Callable[[str], Parsed], text: str) -> Parsed:
    try:
        return parse(text)
    except BlocktreeError as error:
        raise ConfigError(f"{file}: key `{key}`: {error}", hint=f"edit {file}") from error
