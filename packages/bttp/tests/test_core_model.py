"""Two cores against a model: random calls, answers, cancellations and time over a pipe that cuts bytes anywhere."""

from __future__ import annotations

import random
from typing import Any

from bttp import Limits
from bttp._events import CallCancelled, CallFailed, CallReceived, ReplyReceived, SendReceived
from bttp._frames import CHUNK
from bttp._states import State
from bttp.errors import DeadlineError
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

LIMITS = Limits(send_window=200_000, ping_seconds=1e6)
SIZES = st.sampled_from([0, 1, 100, CHUNK, CHUNK + 1, 3 * CHUNK])


class TwoCores(RuleBasedStateMachine):
    """What was asked is answered once: with its own answer, or not at all after it was cancelled or timed out."""

    @initialize(seed=st.integers(0, 1000))
    def connect(self, seed: int) -> None:
        source = random.Random(seed)
        self.pair = Pair(client_limits=LIMITS, server_limits=LIMITS, chunk=lambda: source.choice([1, 7, 500, 70_000]))
        self.pair.run()
        self.cores = [self.pair.client, self.pair.server]
        self.inboxes = [self.pair.client_events, self.pair.server_events]
        for inbox in self.inboxes:
            inbox.clear()
        self.waiting: list[dict[int, tuple[int, bytes]]] = [{}, {}]  # by side: token → number, body
        self.serving: list[dict[int, CallReceived]] = [{}, {}]
        self.sent: list[list[bytes]] = [[], []]
        self.got: list[list[bytes]] = [[], []]
        self.deadlines: dict[tuple[int, int], float] = {}
        self.next = 0

    def body(self, size: int) -> bytes:
        self.next += 1
        return (self.next.to_bytes(4, "little") * (size // 4 + 1))[:size]

    @rule(side=st.integers(0, 1), size=SIZES, timeout=st.one_of(st.none(), st.integers(1, 20)))
    def call(self, side: int, size: int, timeout: int | None) -> None:
        body = self.body(size)
        path = DOMAIN.path.child(str(self.next % 5))
        number = self.cores[side].call(path, body, self.next, timeout, self.pair.now)
        self.waiting[side][self.next] = number, body
        if timeout is not None:
            self.deadlines[side, self.next] = self.pair.now + timeout

    @rule(side=st.integers(0, 1), size=SIZES)
    def send(self, side: int, size: int) -> None:
        body = self.body(size)
        if self.cores[side].send(DOMAIN.path, body):
            self.sent[side].append(body)

    @rule(side=st.integers(0, 1), data=st.data(), wrong=st.booleans())
    def answer(self, side: int, data: st.DataObject, wrong: bool) -> None:
        if self.serving[side]:
            number = data.draw(st.sampled_from(sorted(self.serving[side])))
            call = self.serving[side].pop(number)
            self.cores[side].reply(number, [b"re:", call.body])
            if wrong:
                self.cores[side].reply(number, b"a second answer")

    @rule(side=st.integers(0, 1), data=st.data())
    def cancel(self, side: int, data: st.DataObject) -> None:
        if self.waiting[side]:
            token = data.draw(st.sampled_from(sorted(self.waiting[side])))
            self.cores[side].cancel(self.waiting[side].pop(token)[0])

    @rule(side=st.integers(0, 1))
    def carry_some(self, side: int) -> None:
        self.cores[1 - side].receive_data(self.cores[side].data_to_send(), self.pair.now)

    @rule()
    def carry_all(self) -> None:
        self.pair.run()

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.pair.advance(seconds)

    @invariant()
    def events_are_what_was_promised(self) -> None:
        if not hasattr(self, "pair"):
            return
        for side, core in enumerate(self.cores):
            while (event := core.next_event()) is not None:
                self.inboxes[side].append(event)
            for event in self.inboxes[side]:
                self.take(side, event)
            self.inboxes[side].clear()
            assert core.state is State.OPEN, core.reason

    def take(self, side: int, event: Any) -> None:
        if isinstance(event, CallReceived):
            self.cores[side].hold(event)
            self.serving[side][event.number] = event
        elif isinstance(event, CallCancelled):
            self.serving[side].pop(event.number, None)
        elif isinstance(event, SendReceived):
            self.got[1 - side].append(bytes(event.body))
            self.cores[side].consumed(event.cost)
        elif isinstance(event, ReplyReceived):
            token: Any = event.token
            assert bytes(event.body) == b"re:" + self.waiting[side].pop(token)[1]
        elif isinstance(event, CallFailed):
            token = event.token
            assert isinstance(event.error, DeadlineError)
            assert self.deadlines[side, token] <= self.pair.now
            del self.waiting[side][token]

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        for _ in range(3):
            self.pair.run()
            self.events_are_what_was_promised()
            for side in (0, 1):
                for number in list(self.serving[side]):
                    self.cores[side].reply(number, [b"re:", self.serving[side].pop(number).body])
        assert self.waiting == [{}, {}]
        assert [sorted(one) for one in self.got] == [sorted(one) for one in self.sent]
        assert self.cores[0].idle
        assert self.cores[1].idle


TestTwoCores = TwoCores.TestCase
TestTwoCores.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
