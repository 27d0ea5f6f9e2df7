"""A runtime's numbers as Prometheus text (exposition format 0.0.4). Pure: an inspection in, text out.

    async with bttp.metrics.serve_metrics("127.0.0.1:9464", lambda: prometheus_text(rt.inspect(), as_bank)): …

Actors are told by their classes, not by their paths: a series for each of a hundred thousand would be of no use. A
class whose last actor has ended has no line any more. What is counted since the start is a counter, all else a gauge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from bttp.metrics import label_text

from .inspection import Inspection
from .protocol import Handle, Side

__all__ = ["prometheus_text"]


def prometheus_text(found: Inspection, *sides: Side[Handle], labels: Mapping[str, str] | None = None) -> str:
    """What was found in a runtime, and how often the peers of these sides broke their protocols. All with `labels`."""
    common = dict(labels or {})
    blocks = [*_actors(found), *_services(found), *_runtime(found), *_violations(sides)]
    return "".join(line + "\n" for block in blocks for line in block.lines(common))


class _Metric:
    """One metric with its samples: labels of their own, and values."""

    def __init__(self, name: str, kind: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> None:
        self._name, self._kind, self._text, self._samples = f"btrun_{name}", kind, text, samples

    def lines(self, common: Mapping[str, str]) -> Iterator[str]:
        yield f"# HELP {self._name} {self._text}"
        yield f"# TYPE {self._name} {self._kind}"
        for labels, value in self._samples:
            yield f"{self._name}{label_text({**common, **labels})} {value}"


def _actors(found: Inspection) -> Iterator[_Metric]:
    living = Counter((view.kind, view.state) for view in found.actors)
    states = [({"class": kind, "state": state}, count) for (kind, state), count in living.items()]
    yield _Metric("actors", "gauge", "living actors", states)
    waiting: dict[str, list[int]] = {}
    for view in found.actors:
        waiting.setdefault(view.kind, []).append(view.waiting)
    in_all = [({"class": kind}, sum(counts)) for kind, counts in waiting.items()]
    yield _Metric("mailbox_messages", "gauge", "messages that wait for actors", in_all)
    fullest = [({"class": kind}, max(counts)) for kind, counts in waiting.items()]
    yield _Metric("mailbox_messages_most", "gauge", "messages that wait for the one with the most", fullest)


def _services(found: Inspection) -> Iterator[_Metric]:
    workers = [({"service": view.path}, view.workers) for view in found.services]
    yield _Metric("service_workers", "gauge", "living workers of services", workers)
    fences = [({"service": view.path}, view.fence) for view in found.services if view.fence is not None]
    yield _Metric("service_fence", "gauge", "fences of the leases that services hold", fences)


def _runtime(found: Inspection) -> Iterator[_Metric]:
    longest = max((call.seconds for call in found.blocked), default=0.0)
    yield _Metric("blocked_calls", "gauge", "calls that wait for answers", [({}, len(found.blocked))])
    yield _Metric("blocked_seconds", "gauge", "how long the longest of them waits", [({}, longest)])
    yield _Metric("dead_letters_total", "counter", "messages that reached nobody", [({}, found.dead_letters)])
    yield _Metric("workers", "gauge", "tasks that run actors, or are parked to do so", [({}, found.workers)])
    yield _Metric("timers", "gauge", "timers that are set", [({}, found.timers)])


def _violations(sides: tuple[Side[Handle], ...]) -> Iterator[_Metric]:
    counts = [
        ({"protocol": side.protocol.__name__, "role": role, "state": state}, count)
        for side in sides
        for (role, state), count in side.violations.by_role_and_state().items()
    ]
    if sides:
        yield _Metric("violations_total", "counter", "steps of peers in these roles that no state allowed", counts)
