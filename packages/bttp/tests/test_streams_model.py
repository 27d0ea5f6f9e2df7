"""Streams of two cores against a model: random opening, writing, taking and resetting over a cutting pipe."""

from __future__ import annotations

import random
from typing import Any

from btlib.kinds import Kind
from bttp import Limits
from bttp._core import LinkCore
from bttp._events import ItemReceived, StreamEnded, StreamReceived, StreamReset, StreamState
from bttp._frames import CHUNK
from bttp._states import State
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

LIMITS = Limits(stream_window=3 * CHUNK, link_window=5 * CHUNK, ping_seconds=1e6)
SIZES = st.sampled_from([0, 1, 100, 30_000, CHUNK, CHUNK + 1, 4 * CHUNK])


class End:
    """One side of one stream."""

    def __init__(self, core: LinkCore, number: int) -> None:
        self.core, self.number = core, number
        self.other: End = self
        self.sent: list[bytes] = []
        self.got: list[bytes] = []
        self.costs: list[int] = []
        self.finished = self.ended = self.over = False


class TwoCores(RuleBasedStateMachine):
    """What arrives is a beginning of what was sent; all of it, where nobody resets. Credit is never lost."""

    @initialize(seed=st.integers(0, 1000))
    def connect(self, seed: int) -> None:
        source = random.Random(seed)
        self.pair = Pair(client_limits=LIMITS, server_limits=LIMITS, chunk=lambda: source.choice([1, 7, 500, 70_000]))
        self.pair.run()
        self.cores = [self.pair.client, self.pair.server]
        self.inboxes = [self.pair.client_events, self.pair.server_events]
        for inbox in self.inboxes:
            inbox.clear()
        self.ends: list[End] = []
        self.opened: dict[int, End] = {}

    @rule(side=st.integers(0, 1))
    def open(self, side: int) -> None:
        end = End(self.cores[side], 0)
        end.number = self.cores[side].open(DOMAIN.path, b"", end)
        self.opened[end.number] = end
        self.ends.append(end)

    @rule(data=st.data(), size=SIZES)
    def write(self, data: st.DataObject, size: int) -> None:
        if usable := [end for end in self.ends if not (end.over or end.finished)]:
            end = data.draw(st.sampled_from(usable))
            item = random.Random(size).randbytes(size) + bytes([len(end.sent) % 256])
            if end.core.streams.write(end.number, item):
                end.sent.append(item)

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if usable := [end for end in self.ends if not (end.over or end.finished)]:
            self.finish_one(data.draw(st.sampled_from(usable)))

    def finish_one(self, end: End) -> None:
        end.core.streams.finish(end.number)
        end.finished = True

    @rule(data=st.data(), behind=st.booleans())
    def reset(self, data: st.DataObject, behind: bool) -> None:
        if usable := [end for end in self.ends if not end.over]:
            end = data.draw(st.sampled_from(usable))
            end.core.streams.reset(end.number, Kind.CANCELLED, "enough", behind=behind)
            end.over = True

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        if usable := [end for end in self.ends if end.costs]:
            self.take_all(data.draw(st.sampled_from(usable)))

    def take_all(self, end: End) -> None:
        for cost in end.costs:
            end.core.streams.taken(end.number, cost)
        end.costs.clear()

    @rule(side=st.integers(0, 1))
    def carry_some(self, side: int) -> None:
        self.cores[1 - side].receive_data(self.cores[side].data_to_send(), self.pair.now)

    @rule()
    def carry_all(self) -> None:
        self.pair.run()

    @invariant()
    def events_are_what_was_promised(self) -> None:
        if not hasattr(self, "pair"):
            return
        for side, core in enumerate(self.cores):
            while (event := core.next_event()) is not None:
                self.inboxes[side].append(event)
            for event in self.inboxes[side]:
                self.hear(side, event)
            self.inboxes[side].clear()
            assert core.state is State.OPEN, core.reason

    def hear(self, side: int, event: Any) -> None:
        if isinstance(event, StreamReceived):
            end = event.stream.token = End(self.cores[side], event.number)
            end.other, self.opened[event.number].other = self.opened[event.number], end
            self.ends.append(end)
        elif isinstance(event, ItemReceived):
            end = self.end_of(event.stream)
            end.costs.append(event.cost)
            if not end.over:
                end.got.append(bytes(event.body))
                assert end.got == end.other.sent[: len(end.got)]
        elif isinstance(event, StreamEnded):
            end = self.end_of(event.stream)
            end.ended = True
            if not end.over:
                assert end.got == end.other.sent
        elif isinstance(event, StreamReset):
            end = self.end_of(event.stream)
            assert end.other.over
            end.over = True

    def end_of(self, stream: StreamState) -> End:
        assert isinstance(stream.token, End)
        return stream.token

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        for end in self.ends:
            if not (end.over or end.finished):
                self.finish_one(end)
        for _ in range(20):
            self.pair.run()
            self.events_are_what_was_promised()
            for end in self.ends:
                self.take_all(end)
                if not (end.over or end.finished):
                    self.finish_one(end)
        for end in self.ends:
            assert end.over or (end.ended and end.got == end.other.sent)
        for core in self.cores:
            assert core.idle
            streams = core.streams
            assert streams._window + streams._stray == LIMITS.link_window
            assert streams._credit + self.cores[core is self.cores[0]].streams._stray == LIMITS.link_window
            assert streams._taken == 0


TestTwoCores = TwoCores.TestCase
TestTwoCores.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
