"""A run of fixed-size values in generated code that decodes: unpacked by one call."""

from __future__ import annotations

from struct import calcsize

from ._source import Source


class Run:
    """Fixed-size values announced but not yet unpacked, and the checks to be made once they are."""

    def __init__(self, source: Source, at_start: bool) -> None:
        self._source = source
        self._at_start = at_start
        self._codes: list[str] = []
        self._names: list[str] = []
        self._checks: list[str] = []

    def fixed(self, code: str) -> str:
        """Announce a value; returns the name it will have after `unpack`."""
        self._codes.append(code)
        self._names.append(self._source.name())
        return self._names[-1]

    def check(self, statement: str) -> None:
        self._checks.append(statement)

    def unpack(self) -> None:
        """Write the call, and move `pos`."""
        if self._codes:
            pos = "0" if self._at_start else "pos"
            names = ", ".join(self._names)
            if self._codes == ["B"]:
                self._source.line(f"{names} = data[{pos}]")
            else:
                self._source.line(f"{names}, = {self._source.packer(self._codes, 'unpack_from')}(data, {pos})")
            size = calcsize("<" + "".join(self._codes))
            self._source.line(f"pos = {size}" if self._at_start else f"pos += {size}")
        elif self._at_start:
            self._source.line("pos = 0")
        self._at_start = False
        self._finish()

    def unpack_all(self) -> None:
        """Write the call where the input is this run and nothing more."""
        self._source.line(f"{', '.join(self._names)}, = {self._source.packer(self._codes, 'unpack')}(data)")
        self._finish()

    def _finish(self) -> None:
        for statement in self._checks:
            self._source.line(statement)
        self._codes, self._names, self._checks = [], [], []
