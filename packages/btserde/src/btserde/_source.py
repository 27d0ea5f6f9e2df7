"""Python source under construction: its lines, its indentation and the objects its names stand for."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What generated code may raise when the value or the bytes are not as the type says. The walk then finds out more.
FAULTS = (
    struct.error,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    BufferError,
    RecursionError,
)


class Source:
    """Collects statements; `make` turns them into functions."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._margin = ""
        self._names = 0
        self._bound: dict[int, str] = {}
        self._namespace: dict[str, Any] = {"FAULTS": FAULTS}

    def line(self, text: str) -> None:
        self._lines.append(self._margin + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Write a header line, and indent what follows."""
        self.line(header)
        self._margin += "    "
        yield
        self._margin = self._margin[:-4]

    def name(self, prefix: str = "v") -> str:
        """A name not used before."""
        self._names += 1
        return f"{prefix}{self._names}"

    def bind(self, thing: object, prefix: str) -> str:
        """The global name of an object."""
        if id(thing) not in self._bound:
            name = self._bound[id(thing)] = self.name(prefix)
            self._namespace[name] = thing
        return self._bound[id(thing)]

    def share(self, **things: object) -> None:
        """Give objects global names that the generator itself spells out."""
        self._namespace.update(things)

    def packer(self, codes: list[str], method: str) -> str:
        """The global name of a method of the little-endian `struct.Struct` of these codes."""
        text = "".join(codes)
        name = f"{method}_{text}"
        if name not in self._namespace:
            self._namespace[name] = getattr(struct.Struct("<" + text), method)
        return name

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def make(self, title: str) -> dict[str, Callable[..., Any]]:
        """Run the source; returns its globals."""
        exec(compile(self.text, f"<btserde {title}>", "exec"), self._namespace)
        return self._namespace
