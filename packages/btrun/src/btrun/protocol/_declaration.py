"""How a protocol is declared: a class with roles, states, and for each state who may send what.

    class Transfer(Protocol):
        '''Money moves from one account to another, or nothing happens.'''

        client = Role("wants money moved")
        bank = Role("keeps the accounts")

        ready = State("the client asks, or leaves")
        asked = State("the bank looks whether the money is there")

        ready.lets(client, {Ask: asked, Leave: END})
        asked.lets(bank, {Moved: ready, Refused: ready})

The first state is where a session starts. All names are ordinary values, so that a type checker finds a misspelt one.
The class is checked when it is made, and derives the table of each role; it has no instances and no subclasses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from msgspec import Struct

from ._fingerprint import fingerprint
from ._graph import END_NAME, Graph, Move, Node, Party
from ._lint import lint
from ._projection import ProjectionError, project
from ._queues import explore
from ._table import Table
from .errors import DeclarationError


def _one_line(text: str) -> str:
    return " ".join(text.split())


class Role:
    """One side of a protocol; its name is that of the attribute it is assigned to."""

    def __init__(self, meaning: str) -> None:
        self.meaning = _one_line(meaning)
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Role({self.name})"


class State:
    """A point of a session at which one role chooses the next message.

    `timeout` is how many seconds the next message may take; without one the other side may wait for ever.
    """

    def __init__(self, meaning: str, *, timeout: float | None = None) -> None:
        self.meaning = _one_line(meaning)
        self.timeout = timeout
        self.name = ""
        self._choices: list[tuple[Role, Role | None, Mapping[type[Struct], State]]] = []

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"State({self.name})"

    def lets(self, sender: Role, steps: Mapping[type[Struct], State], *, to: Role | None = None) -> None:
        """In this state `sender` may send one of these messages, each with the state after it.

        `to` names the receiver; between two roles it is the other one.
        """
        self._choices.append((sender, to, steps))

    def node(self, roles: Mapping[Role, str], states: Mapping[State, str]) -> Node:
        """This state as a plain value. Raises KeyError where it names a role or state of another protocol."""
        moves = [
            Move(
                sender=roles[sender],
                receiver=roles[to or _other(sender, roles)],
                message=message,
                target=states[target],
            )
            for sender, to, steps in self._choices
            for message, target in steps.items()
        ]
        return Node(name=self.name, meaning=self.meaning, moves=tuple(moves), timeout=self.timeout)


END: Final = State("the session is over")


class Protocol:
    """The base of all declarations."""

    graph: ClassVar[Graph]  #: the declaration as plain values
    tables: ClassVar[Mapping[str, Table]]  #: role → what it may do in each of its states
    fingerprint: ClassVar[int]  #: 64 bits that two sides compare: equal where nothing on the wire differs

    def __init_subclass__(cls) -> None:
        if cls.__bases__ != (Protocol,):
            raise DeclarationError(cls.__name__, ("it derives from another protocol; declare each as a whole",))
        cls.graph = _graph(cls)
        _refuse(cls, tuple(lint(cls.graph)))
        cls.tables = _tables(cls)
        _refuse(cls, tuple(explore(cls.tables)) if len(cls.tables) > 2 else ())
        cls.fingerprint = fingerprint(cls.graph)

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is a declaration; open a session with its handles")


def _graph(cls: type[Protocol]) -> Graph:
    members = vars(cls)
    roles = {value: name for name, value in members.items() if isinstance(value, Role)}
    states = {value: name for name, value in members.items() if isinstance(value, State)}
    if not states:
        raise DeclarationError(cls.__name__, ("it has no state",))
    _refuse(cls, tuple(_name_faults(members)))
    try:
        nodes = {name: state.node(roles, states | {END: END_NAME}) for state, name in states.items()}
    except KeyError as error:
        raise DeclarationError(cls.__name__, (f"{error.args[0]!r} is not one of its own",)) from None
    return Graph(
        name=cls.__name__,
        meaning=_one_line(cls.__doc__ or ""),
        parties=tuple(Party(name=name, meaning=role.meaning) for role, name in roles.items()),
        nodes=nodes,
        start=next(iter(nodes)),
    )


def _name_faults(members: Mapping[str, object]) -> Iterator[str]:
    own = {name: value for name, value in members.items() if isinstance(value, Role | State)}
    for name in own:
        if name in {END_NAME, *Protocol.__annotations__} or name.startswith("_"):
            yield f"the name {name} is taken; choose another"
    for name, value in own.items():
        if value.name != name:
            yield f"{name} and {value.name} are one and the same"


def _tables(cls: type[Protocol]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    faults = []
    for role in cls.graph.roles:
        try:
            tables[role] = project(cls.graph, role)
        except ProjectionError as error:
            faults.append(str(error))
    _refuse(cls, tuple(faults))
    return tables


def _refuse(cls: type[Protocol], findings: tuple[str, ...]) -> None:
    if findings:
        raise DeclarationError(cls.__name__, findings)


def _other(sender: Role, roles: Mapping[Role, str]) -> Role:
    others = [role for role in roles if role is not sender]
    if len(others) != 1:
        raise DeclarationError("", (f"among {len(roles)} roles, `to` must say to whom {sender!r} sends",))
    return others[0]
