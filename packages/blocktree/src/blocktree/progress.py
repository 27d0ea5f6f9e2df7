"""The progress of a copy: a bar with rate and remaining time on a terminal, nothing elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from .output import visible

NAME_WIDTH = 28  #: columns for the current item's name


class Meter(Protocol):
    """What a copy reports to, as a context manager. Satisfies `files.copying.Progress`."""

    wants_totals: bool  #: whether to count first

    def expect(self, items: int, size: int) -> None: ...
    def item(self, path: str) -> None: ...
    def bytes(self, count: int) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Silence:
    """Shows nothing."""

    wants_totals = False

    def expect(self, items: int, size: int) -> None:
        pass

    def item(self, path: str) -> None:
        pass

    def bytes(self, count: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Bar:
    """One line: the current name, a bar, items, bytes, rate and remaining time."""

    wants_totals = True

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[items]}"),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), expand=True)
        self._task = self._progress.add_task("counting", total=None, items="")
        self._items = 0
        self._expected = 0
        self._size = 0

    def expect(self, items: int, size: int) -> None:
        self._expected += items
        self._size += size
        self._progress.update(self._task, total=self._size)

    def item(self, path: str) -> None:
        self._items += 1
        name = visible(path.rpartition("/")[2])
        short = name if len(name) <= NAME_WIDTH else f"…{name[1 - NAME_WIDTH :]}"
        counted = f"{self._items}/{self._expected}"
        self._progress.update(self._task, description=escape(f"{short:{NAME_WIDTH}}"), items=counted)

    def bytes(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._progress.update(self._task, description=f"{'done':{NAME_WIDTH}}")
        self._progress.stop()
