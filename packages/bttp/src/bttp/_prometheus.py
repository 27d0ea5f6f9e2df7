"""Counters as Prometheus text (exposition format 0.0.4). Pure: snapshots in, text out.

    # HELP bttp_link_calls_sent_total …
    # TYPE bttp_link_calls_sent_total counter
    bttp_link_calls_sent_total{server="nas"} 17

Every field of a statistics struct is one metric; its name is that of the field. What can fall is a gauge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ._statistics import BrokerStatistics, LinkStatistics, ServerStatistics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_GAUGES = frozenset({"links", "handshakes", "subscribers"})
_HELP: dict[type, tuple[str, str]] = {
    LinkStatistics: ("link", "of all links, those that have ended included"),
    ServerStatistics: ("server", "of this server"),
    BrokerStatistics: ("broker", "of this broker of topics"),
}


def prometheus_text(
    *statistics: LinkStatistics | ServerStatistics | BrokerStatistics, labels: Mapping[str, str] | None = None
) -> str:
    """One block of lines for each counter of these snapshots (one of a kind), all with the same labels."""
    tail = label_text(labels or {})
    return "".join(line + "\n" for each in statistics for line in _lines(each, tail))


def _lines(snapshot: msgspec.Struct, tail: str) -> Iterator[str]:
    part, whose = _HELP[type(snapshot)]
    for field, value in zip(snapshot.__struct_fields__, msgspec.structs.astuple(snapshot), strict=True):
        kind = "gauge" if field in _GAUGES else "counter"
        name = f"bttp_{part}_{field}" + ("" if kind == "gauge" else "_total")
        yield f"# HELP {name} {field.replace('_', ' ')}, {whose}"
        yield f"# TYPE {name} {kind}"
        yield f"{name}{tail} {value}"


def label_text(labels: Mapping[str, str]) -> str:
    """Behind the name of a metric: `{server="nas"}`, or nothing."""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
