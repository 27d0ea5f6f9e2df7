"""`bt protocol`: look at a protocol's declaration, compare two, and write the handles that programs use.

A declaration is named MODULE:NAME, or FILE.py:NAME for one that is not installed. Naming it runs the module's code, as
importing it does. No domain, key or passphrase is needed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from btlib.kinds import Kind
from btrun.protocol import Protocol, changes, handles_source
from btrun.protocol import diagram as diagram_text
from btrun.protocol import diff as diff_text
from btrun.protocol import show as show_text

from ..errors import CommandError
from ..options import Json
from ..output import give, say

DECLARATION = "MODULE:NAME"

Declaration = Annotated[str, typer.Argument(metavar=DECLARATION, help="A protocol's class; FILE.py:NAME too.")]
OldDeclaration = Annotated[str, typer.Argument(metavar="OLD", help="The protocol as it was, MODULE:NAME.")]
NewDeclaration = Annotated[str, typer.Argument(metavar="NEW", help="The protocol as it is now, MODULE:NAME.")]
RoleName = Annotated[str | None, typer.Option("--role", metavar="ROLE", help="Only what this role sees and does.")]


def build() -> typer.Typer:
    """The family of commands."""
    app = typer.Typer(help="Show, compare and use declarations of protocols.", no_args_is_help=True)
    for command in (show, diagram, diff, handles):
        app.command()(command)
    return app


def show(declaration: Declaration, role: RoleName = None, json: Json = False) -> None:
    """Show a protocol: its roles, its states, and who may send what.

    Example: bt protocol show btrun.protocol.examples.transfer:Transfer
    """
    protocol = _with_role(load(declaration), role)
    _give(protocol, show_text(protocol, role), json=json)


def diagram(declaration: Declaration, role: RoleName = None, json: Json = False) -> None:
    """Print a protocol as a Mermaid state diagram.

    Example: bt protocol diagram --role bank btrun.protocol.examples.transfer:Transfer
    """
    protocol = _with_role(load(declaration), role)
    _give(protocol, diagram_text(protocol, role), json=json)


def diff(old: OldDeclaration, new: NewDeclaration, json: Json = False) -> None:
    """Say what a change of a protocol breaks, and for whom. It exits with 1 if it breaks anything.

    Example: bt protocol diff released/transfer.py:Transfer bank.transfer:Transfer
    """
    before, after = load(old), load(new)
    found = changes(before, after)
    if json:
        give(
            {
                "old": f"{before.fingerprint:016x}",
                "new": f"{after.fingerprint:016x}",
                "changes": [{"role": change.role, "safe": change.safe, "text": change.text} for change in found],
            }
        )
    else:
        say(diff_text(before, after).rstrip())
    if not all(change.safe for change in found):
        raise typer.Exit(1)


def handles(
    declaration: Declaration,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if the file differs.")] = False,
    json: Json = False,
) -> None:
    """Write the typed handles of a protocol. They lie beside its module, as MODULE_handles.py.

    Example: bt protocol handles bank.transfer:Transfer
    """
    protocol = load(declaration)
    file = _file_of(protocol)
    path = file.with_name(f"{file.stem}_handles.py")
    text = handles_source(protocol)
    differs = not path.exists() or path.read_text(encoding="utf-8") != text
    if differs and not check:
        path.write_text(text, encoding="utf-8")
    if json:
        give({"file": str(path), "differs": differs})
    else:
        say(f"{path} {('differs' if check else 'written') if differs else 'is as it should be'}")
    if differs and check:
        raise typer.Exit(1)


def load(declaration: str) -> type[Protocol]:
    """The protocol that is named. Raises CommandError."""
    place, separator, name = declaration.rpartition(":")
    if not separator or not place or not name:
        raise CommandError(
            f"{declaration} names no protocol", hint=f"write {DECLARATION}, as in bank.transfer:Transfer"
        )
    with _current_directory_first():
        module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, Protocol) and found is not Protocol:
        return found
    names = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, Protocol)]
    there = ", ".join(key for key in names if key != "Protocol") or "none"
    raise CommandError(f"{place} has no protocol {name}", kind=Kind.NOT_FOUND, hint=f"its protocols: {there}")


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        raise CommandError(
            f"the module {name} cannot be imported: {error}",
            kind=Kind.NOT_FOUND,
            hint="run it where that module is installed, or name its file: FILE.py:NAME",
        ) from error


def _module_of_file(file: Path) -> ModuleType:
    """A module from a file, under the file's own name, without taking that name from an installed module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise CommandError(
            f"there is no file {file}", kind=Kind.NOT_FOUND, hint="name a module, or a file: FILE.py:NAME"
        )
    module = importlib.util.module_from_spec(spec)
    # Annotations of its messages are looked up in `sys.modules`; the old entry comes back afterwards.
    before = sys.modules.get(file.stem)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        relative = "relative import" in str(error)
        raise CommandError(
            f"{file} cannot be imported: {error}",
            kind=Kind.NOT_FOUND,
            hint="name it as a module of its package, as in bank.transfer:Transfer" if relative else None,
        ) from error
    finally:
        if before is None:
            del sys.modules[file.stem]
        else:
            sys.modules[file.stem] = before
    return module


@contextmanager
def _current_directory_first() -> Iterator[None]:
    """Modules of the directory in which one works are found, as by `python -m`."""
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")


def _with_role(protocol: type[Protocol], role: str | None) -> type[Protocol]:
    if role is not None and role not in protocol.tables:
        raise CommandError(
            f"{protocol.__name__} has no role {role}",
            kind=Kind.NOT_FOUND,
            hint=f"its roles: {', '.join(protocol.tables)}",
        )
    return protocol


def _file_of(protocol: type[Protocol]) -> Path:
    module = sys.modules.get(protocol.__module__)
    if module is None or module.__file__ is None:
        raise CommandError(
            f"handles import {protocol.__module__}, which is not installed under this name",
            hint=f"name it as a module: {DECLARATION}",
        )
    return Path(module.__file__)


def _give(protocol: type[Protocol], text: str, *, json: bool) -> None:
    if json:
        give({"protocol": protocol.__name__, "fingerprint": f"{protocol.fingerprint:016x}", "text": text})
    else:
        say(text.rstrip())
