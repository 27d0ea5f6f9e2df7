"""Writes the typed handles of a protocol as a Python module.

Python's types cannot compute with types, so the handles are written out: one class for each state of each role, with
`send` for exactly the messages that may be sent there, or `receive` with one case for each that may come. The module
is checked in beside the declaration (`bt protocol handles MODULE:NAME`), and a test compares it with what would be
generated now. The same text comes out of the same declaration; formatters leave it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ._declaration import Protocol
from ._table import Row, Step, Table
from .errors import DeclarationError

#: Names that the module gets from elsewhere.
IMPORTED = {"Any", "ClassVar", "Final", "Handle", "NamedTuple", "Side", "Struct", "Taking"}


def handles_source(protocol: type[Protocol]) -> str:
    """The text of the module with the handles of all roles. Raises DeclarationError where names clash."""
    return "\n".join(_lines(protocol)) + "\n"


def _lines(protocol: type[Protocol]) -> Iterator[str]:
    module, name = protocol.__module__, protocol.__name__
    modules = _modules(protocol)
    classes = {role: _classes(table) for role, table in protocol.tables.items()}
    _check_names(name, [found for names in classes.values() for found in names.values()])
    yield f'"""Handles of {name}: what each role may do in each of its states.'
    yield ""
    yield f"Generated from {module}; do not edit. To make it again:"
    yield f"bt protocol handles {module}:{name}"
    yield '"""'
    yield ""
    yield "# fmt: off"
    yield "# ruff: noqa"
    yield from _imports(protocol, modules)
    yield ""
    yield f"FINGERPRINT: Final = 0x{protocol.fingerprint:016X}"
    for role, table in protocol.tables.items():
        for row in table.rows:
            if not row.is_end:
                yield from ("", "", *_class(row, table, classes[role], modules))
    yield ""
    for role, table in protocol.tables.items():
        yield ""
        yield from _side(name, role, table, classes[role])


def _imports(protocol: type[Protocol], modules: Mapping[str, str]) -> Iterator[str]:
    """What the module uses, and no more: each name where some row needs it."""
    rows = [row for table in protocol.tables.values() for row in table.rows]
    choice = any(len(row.sends) > 1 for row in rows)
    typing = ["ClassVar", "Final", "NamedTuple", *(["Any", "overload"] if choice else [])]
    yield ""
    yield "from __future__ import annotations"
    yield ""
    yield f"from typing import {', '.join(sorted(typing))}"
    yield ""
    if choice:
        yield "from msgspec import Struct"
        yield ""
    yield from (f"import {module} as {alias}" for module, alias in modules.items())
    yield f"from btrun.protocol import {'Ended, ' if any(row.is_end for row in rows) else ''}Handle, Side, Taking"


def _modules(protocol: type[Protocol]) -> dict[str, str]:
    """Module → its name in the text: the declaration's, and those of messages from elsewhere."""
    others = {move.message.__module__ for _, move in protocol.graph.moves()} - {protocol.__module__}
    return {protocol.__module__: "declared"} | {
        module: f"declared_{number}" for number, module in enumerate(sorted(others), start=2)
    }


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _classes(table: Table) -> dict[int, str]:
    """Row number → name of its handle class."""
    return {row.index: "Ended" if row.is_end else f"{_camel(table.role)}{_camel(row.name)}" for row in table.rows}


def _check_names(protocol: str, classes: list[str]) -> None:
    """Raises DeclarationError where two states come to the same class: `a` in `b_c` and `a_b` in `c`."""
    taken = IMPORTED
    for name in classes:
        if name != "Ended" and name in taken:
            raise DeclarationError(protocol, (f"two handles would be called {name}; rename a role or a state",))
        taken = taken | {name}


def _class(row: Row, table: Table, classes: Mapping[int, str], modules: Mapping[str, str]) -> Iterator[str]:
    def names(step: Step) -> str:
        return f"{modules[step.message.__module__]}.{step.message.__qualname__}"

    yield f"class {classes[row.index]}(Handle):"
    yield f'    """As the {table.role}: {_quoted(row.meaning)}."""'
    yield ""
    yield f'    state: ClassVar[str] = "{row.name}"'
    yield ""
    yield "    __slots__ = ()"
    if row.sends:
        yield from _send(tuple(row.sends.values()), classes, names)
    else:
        yield from _receive(tuple(row.receives.values()), classes, names)


def _quoted(text: str) -> str:
    """The text as it stands in a docstring."""
    return text.rstrip(".").replace("\\", "\\\\").replace('"', '\\"')


def _send(steps: tuple[Step, ...], classes: Mapping[int, str], names: Callable[[Step], str]) -> Iterator[str]:
    if len(steps) == 1:
        yield ""
        yield f"    def send(self, message: {names(steps[0])}) -> Taking[{classes[steps[0].then.index]}]:"
        yield "        return self._send(message)"
        return
    for step in steps:
        yield ""
        yield "    @overload"
        yield f"    def send(self, message: {names(step)}) -> Taking[{classes[step.then.index]}]: ..."
    yield ""
    yield "    def send(self, message: Struct) -> Taking[Any]:"
    yield "        return self._send(message)"


def _receive(steps: tuple[Step, ...], classes: Mapping[int, str], names: Callable[[Step], str]) -> Iterator[str]:
    for step in steps:
        yield ""
        yield f"    class {step.label}(NamedTuple):"
        yield f"        message: {names(step)}"
        yield f"        then: {classes[step.then.index]}"
    yield ""
    yield f"    def receive(self) -> Taking[{' | '.join(step.label for step in steps)}]:"
    yield "        return self._receive()"


def _side(name: str, role: str, table: Table, classes: Mapping[int, str]) -> Iterator[str]:
    start = classes[table.start.index]
    others = [classes[row.index] for row in table.rows[1:] if not row.is_end]
    yield f"as_{role}: Final = Side("
    yield f"    declared.{name},"
    yield f'    "{role}",'
    yield f"    {start},"
    if others:
        yield f"    ({', '.join(others)}{',' if len(others) == 1 else ''}),"
    yield "    fingerprint=FINGERPRINT,"
    yield ")"
