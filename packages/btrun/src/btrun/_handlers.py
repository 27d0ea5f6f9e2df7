"""Which handler takes which message: read from the annotations of an actor class, once. Pure.

    @handle                                   the type is that of the annotation; unions are several types
    async def deposit(self, message: Deposit) -> None: ...

    @handle(Withdraw, shielded=True)          the type is given (for classes that annotations cannot name)

The handler of a message is that of its own class, or else that of its nearest base class that has one.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from .errors import DeclarationError

F = TypeVar("F", bound=Callable[..., object])

_MARK = "_btrun_handles"


class Route:
    """A handler: the plain function, how to run it, and what it answers (an annotation, or None if unknown)."""

    __slots__ = ("answer", "function", "is_async", "shielded")

    def __init__(self, function: Callable[..., Any], shielded: bool, answer: object) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.shielded = shielded
        self.answer = answer


def _called(actor: object, call: object) -> None:
    raise AssertionError("a call is opened by whoever finds its route")


CALLED = Route(_called, shielded=False, answer=None)  #: marks a call: the route is that of the message in it


class Mark:
    """What `handle` leaves on a function until its class is complete."""

    __slots__ = ("shielded", "types")

    def __init__(self, types: tuple[type, ...], shielded: bool) -> None:
        self.types = types
        self.shielded = shielded


@overload
def handle(*types: type, shielded: bool = False) -> Callable[[F], F]: ...
@overload
def handle(function: F, /) -> F: ...
def handle(*types: Any, shielded: bool = False) -> Any:
    """Declares a method of an actor as a handler.

    `shielded`: when the caller gives up or its time is over, the handler goes on to its end.
    """
    if len(types) == 1 and inspect.isfunction(types[0]):
        setattr(types[0], _MARK, Mark((), shielded))
        return types[0]

    def mark(function: F) -> F:
        setattr(function, _MARK, Mark(types, shielded))
        return function

    return mark


def read_handlers(cls: type, depth: int) -> dict[type, Route]:
    """The handlers of a class, its bases' included. `depth`: how far up the stack the class statement stands."""
    table: dict[type, Route] = {}
    for base in reversed(cls.__mro__[1:]):
        table.update(base.__dict__.get("_handlers", {}))
    table = {message: _overridden(cls, route) for message, route in table.items()}
    scope = sys._getframe(depth).f_locals
    for name, function in vars(cls).items():
        mark = getattr(function, _MARK, None)
        if mark is None:
            continue
        hints = _hints(function, {**scope, **vars(cls), cls.__name__: cls})
        answer = hints.get("return")
        for message in mark.types or _declared(cls, name, function, hints):
            if (other := table.get(message)) is not None and other.function.__qualname__.startswith(
                f"{cls.__qualname__}."
            ):
                raise DeclarationError(
                    f"{cls.__qualname__} has two handlers for {message.__name__}: {other.function.__name__} and {name}"
                )
            table[message] = Route(function, mark.shielded, answer)
    return table


def find_route(table: Mapping[type, Route], message: type) -> Route | None:
    """The handler of the nearest base class of a message's class."""
    return next((table[base] for base in message.__mro__ if base in table), None)


def _overridden(cls: type, route: Route) -> Route:
    """The same route to the method of that name as a subclass has it, if it replaced it without a mark of its own."""
    function = vars(cls).get(route.function.__name__)
    if inspect.isfunction(function) and not hasattr(function, _MARK):
        return Route(function, route.shielded, route.answer)
    return route


def _hints(function: Callable[..., object], scope: dict[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=scope)
    except NameError as error:
        if getattr(function, _MARK).types:
            return {}
        raise DeclarationError(
            f"the annotations of {function.__qualname__} cannot be read: {error}",
            hint="write the type into the decorator: @handle(Type)",
        ) from error


def _declared(cls: type, name: str, function: Callable[..., object], hints: dict[str, Any]) -> tuple[type, ...]:
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 2 or parameters[1] not in hints:
        raise DeclarationError(
            f"{cls.__qualname__}.{name} does not say which messages it takes",
            hint="a handler has one parameter, with an annotation: def deposit(self, message: Deposit)",
        )
    hint = hints[parameters[1]]
    members = (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )
    plain = tuple(typing.get_origin(member) or member for member in members)
    if not all(isinstance(member, type) for member in plain):
        raise DeclarationError(f"{cls.__qualname__}.{name} takes {hint}, which is no class or union of classes")
    return plain
