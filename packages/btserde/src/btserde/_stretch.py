"""A stretch of generated code that encodes: what it has prepared to be joined."""

from __future__ import annotations

from ._length import MAX_SHORT
from ._source import Source


class Stretch:
    """Pieces, which are expressions of bytes-like objects, and a run of fixed-size arguments not yet packed.

    A piece that begins with `*` stands for several.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pieces: list[str] = []
        self._codes: list[str] = []
        self._arguments: list[str] = []

    def fixed(self, code: str, argument: str) -> None:
        self._codes.append(code)
        self._arguments.append(argument)

    def length(self, n: str) -> None:
        """End the run with a length, packed by the same call."""
        if not self._codes:
            self.piece(f"(SHORT[{n}] if {n} <= {MAX_SHORT} else encode_length({n}))")
            return
        short, two, four = (self._source.packer([*self._codes, code], "pack") for code in ("B", "BH", "BI"))
        run = ", ".join(self._arguments)
        self._codes, self._arguments = [], []
        self.piece(
            f"({short}({run}, {n}) if {n} <= {MAX_SHORT} else {two}({run}, 253, {n}) if {n} <= 65535"
            f" else {four}({run}, 254, {n}))"
        )

    def piece(self, expression: str) -> None:
        self._flush()
        self._pieces.append(expression)

    def pieces(self) -> list[str]:
        self._flush()
        return self._pieces

    def tuple(self) -> str:
        pieces = self.pieces()
        if len(pieces) == 1 and pieces[0][0] == "*":
            return pieces[0][1:]
        return "(" + "".join(f"{piece}, " for piece in pieces) + ")"

    def bytes(self) -> str:
        pieces = self.pieces()
        return pieces[0] if len(pieces) == 1 and pieces[0][0] != "*" else f'b"".join({self.tuple()})'

    def _flush(self) -> None:
        if self._codes:
            pack, arguments = self._source.packer(self._codes, "pack"), ", ".join(self._arguments)
            self._codes, self._arguments = [], []
            self._pieces.append(f"{pack}({arguments})")
