"""Reading the configuration: a TOML file, over it `BTFSD_*` of the environment, over it the command line.

    [limits]                          BTFSD_LIMITS_MAX_LINKS=100
    max_links = 100

Every problem is found in one pass and named with its key, and file and line or variable; nothing is guessed and nothing
ignored. Lists in the environment are separated by commas.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import msgspec

from ._settings import Settings
from .errors import ConfigurationError

PREFIX = "BTFSD_"
FILE_VARIABLE = "BTFSD_CONFIG"  #: names the file, and is no setting
DEFAULT_FILE = Path("/etc/blocktree/btfsd.toml")  #: read where it exists and nothing else is said
FILE_LIMIT = 1 << 20  #: bytes of a configuration file that are read

Key = tuple[str, ...]

_TCP = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\s/\[\]]+):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Value:
    """A setting as somebody wrote it, and where."""

    value: object
    source: str  #: `file, line 3`, `BTFSD_LISTEN`, `--listen`


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings in force. `sources` says of each key that is not a default where it comes from."""

    settings: Settings
    file: Path | None
    sources: Mapping[Key, str] = field(default_factory=dict)


def load_configuration(
    file: Path | None, environ: Mapping[str, str], options: Mapping[Key, object] | None = None
) -> Configuration:
    """Raises ConfigurationError with every problem found. `options` are the command line's."""
    chosen = _choose_file(file, environ)
    problems: list[str] = []
    values = _from_file(chosen, problems) if chosen is not None else {}
    values |= _from_environment(environ, problems)
    values |= {key: Value(value, f"--{key[-1]}") for key, value in (options or {}).items()}
    settings = _build(values, problems)
    if problems:
        raise ConfigurationError(problems, f"edit {chosen}" if chosen is not None else None)
    return Configuration(settings, chosen, {key: value.source for key, value in values.items()})


def known_keys() -> dict[Key, Any]:
    """Every key, with the field that describes it."""
    return dict(_fields(Settings, ()))


def _fields(table: type[msgspec.Struct], above: Key) -> Iterator[tuple[Key, msgspec.structs.FieldInfo]]:
    for info in msgspec.structs.fields(table):
        key = (*above, info.name)
        if isinstance(info.type, type) and issubclass(info.type, msgspec.Struct):
            yield from _fields(info.type, key)
        else:
            yield key, info


def _choose_file(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _from_file(file: Path, problems: list[str]) -> dict[Key, Value]:
    text = _read(file)
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, and brackets in brackets, too
        raise ConfigurationError([f"{file}: no TOML: {error}"], f"edit {file}") from error
    known = known_keys()
    found = {}
    for key, value in _flatten(content, (), {key[0] for key in known if len(key) > 1}):
        line = line_of(text, key)
        where = f"{file}, line {line}" if line else str(file)
        if key in known:
            found[key] = Value(value, where)
        else:
            problems.append(f"{where}: there is no key `{dotted(key)}`{_like(key, known)}")
    return found


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(FILE_LIMIT).decode()
    except OSError as error:
        raise ConfigurationError([f"{file} cannot be read: {error.strerror}"], "give another with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{file} is not UTF-8 text (byte {error.start})"], f"edit {file}") from error


def _flatten(table: Mapping[str, object], above: Key, tables: set[str]) -> Iterator[tuple[Key, object]]:
    for name, value in table.items():
        key = (*above, name)
        if isinstance(value, dict) and not above and name in tables:
            yield from _flatten(value, key, set())
        else:
            yield key, value


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[Key, Value]:
    known = {variable(key): key for key in known_keys()}
    found = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name == FILE_VARIABLE:
            continue
        if name not in known:
            problems.append(f"{name}: there is no such setting{_like_text(name, list(known))}")
            continue
        if any("\ud800" <= character <= "\udfff" for character in text):  # how Python shows bytes that are no UTF-8
            problems.append(f"{name}: {text!a} is not valid UTF-8")
            continue
        found[known[name]] = Value(_parsed(text, known_keys()[known[name]].type), name)
    return found


def _parsed(text: str, kind: object) -> object:
    """The value that a variable's text stands for; what fits no type stays text, for the type check to refuse."""
    accepted = [kind, *get_args(kind)]
    if bool in accepted:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), text)
    if any(getattr(part, "__origin__", None) is tuple for part in accepted):
        return [part.strip() for part in text.split(",") if part.strip()]
    if int in accepted or float in accepted:
        try:
            return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)
        except ValueError:
            return text
    return text


def _build(values: Mapping[Key, Value], problems: list[str]) -> Settings:
    """Check each value by itself, so that all problems are found."""
    known = known_keys()
    tables: dict[str, dict[str, object]] = {}
    top: dict[str, object] = {}
    for key, value in values.items():
        try:
            checked = msgspec.convert(value.value, known[key].type)
        except msgspec.ValidationError as error:
            problems.append(f"{value.source}: key `{dotted(key)}`: {_plain(str(error))}, got {value.value!r}")
            continue
        if len(key) == 1:
            top[key[0]] = checked
        else:
            tables.setdefault(key[0], {})[key[1]] = checked
    for endpoint in top.get("listen", ()):  # type: ignore[attr-defined]
        if not is_endpoint(endpoint):
            problems.append(
                f"{values['listen',].source}: key `listen`: {endpoint!r} is no endpoint; "
                "write host:port, [v6]:port or unix:/path"
            )
    fields = {info.name: info.type for info in msgspec.structs.fields(Settings)}
    made = {name: fields[name](**content) for name, content in tables.items()}
    return Settings(**top, **made)  # type: ignore[arg-type]


def is_endpoint(text: str) -> bool:
    """Whether a text has the form of an endpoint; that one can listen there shows when one does."""
    if text.startswith("unix:"):
        return text.startswith("unix:/") and "\0" not in text
    return bool(_TCP.fullmatch(text)) and int(text.rpartition(":")[2]) <= 65_535


def dotted(key: Key) -> str:
    return ".".join(key)


def variable(key: Key) -> str:
    """The variable of the environment that overrides a key."""
    return PREFIX + "_".join(key).upper()


def line_of(text: str, key: Key) -> int | None:
    """The line on which a key is set, as people write it; None where it is written in another way."""
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            table = tuple(header[1].split("."))
            if table == key:
                return number
        elif (assigned := re.match(r"\s*([\w.-]+)\s*=", line)) and (*table, *assigned[1].split(".")) == key:
            return number
    return None


def _plain(message: str) -> str:
    """msgspec's words in ours."""
    return message.replace("Expected `", "expected `").replace("`str` matching regex '^/'", "an absolute path")


def _like(key: Key, known: Mapping[Key, object]) -> str:
    tables = sorted({other[0] for other in known if len(other) > 1})
    return _like_text(dotted(key), [*(dotted(other) for other in known), *tables])


def _like_text(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
