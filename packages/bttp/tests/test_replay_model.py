"""Calls with keys over links that are cut anywhere, to servers that are started anew: no request is ever done twice.

Both cores, the replay cache and the client's decisions are the real ones; the pipe between them loses whatever has not
arrived when it is cut.
"""

from __future__ import annotations

from collections import Counter

from btlib.kinds import Kind
from bttp import BttpError, ReplayLimits
from bttp._events import CallFailed, CallReceived, ReplyReceived
from bttp._fields import encode_fields
from bttp._keyed import begin_keyed, keep_answer
from bttp._redial import Retry
from bttp._replay import Record, ReplayCache
from bttp.testing import Pair
from bttp.testing._pair import DOMAIN
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

PATH = DOMAIN.path.child("orders")


class Order:
    """A request of the client, until it has an outcome."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.retry = Retry(name, None, 0.0)
        self.under_way = False  # on the present link
        self.repeated = False
        self.answer: bytes | None = None
        self.error: BttpError | None = None

    @property
    def open(self) -> bool:
        return self.answer is None and self.error is None


class Shop(RuleBasedStateMachine):
    """A client that sends orders until it has an answer, and a server that counts how often it carries each out."""

    @initialize()
    def begin(self) -> None:
        self.orders: list[Order] = []
        self.done: Counter[bytes] = Counter()
        self.now = 0.0
        self.restart()

    def connect(self) -> None:
        self.pair = Pair(instances=(0, self.replays.instance(b"this process")))
        self.pair.run()
        self.pair.client_events.clear()
        self.pair.server_events.clear()
        for order in self.orders:
            order.under_way = False

    @rule()
    def restart(self) -> None:
        """The server dies with all that it remembered, and what its handlers were at."""
        self.replays = ReplayCache(ReplayLimits(max_answer=8))
        self.working: list[tuple[CallReceived, Pair, Record]] = []
        self.connect()

    @rule()
    def cut(self) -> None:
        """The link is lost; handlers go on."""
        self.connect()

    @rule(size=st.integers(1, 12))
    def order(self, size: int) -> None:
        self.orders.append(Order(b"%d" % len(self.orders) + b"." * size))

    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        idle = [order for order in self.orders if order.open and not order.under_way]
        if idle:
            order = data.draw(st.sampled_from(idle))
            repeat = order.retry.sending(self.pair.client.peer_instance, self.now)
            order.repeated = repeat is not None
            fields = encode_fields(order.name, None, repeat)
            self.pair.client.call(PATH, order.name, order, None, self.now, fields)
            order.under_way = True

    @rule(data=st.data())
    def send_and_carry(self, data: st.DataObject) -> None:
        self.send(data)
        self.carry_requests()

    @rule()
    def carry_requests(self) -> None:
        self.pair.server.receive_data(self.pair.client.data_to_send(), self.now)
        while (event := self.pair.server.next_event()) is not None:
            assert isinstance(event, CallReceived)
            record = begin_keyed(self.pair.server, self.replays, event)
            if record is not None:
                self.done[bytes(event.body)] += 1  # from here on it may have acted
                self.working.append((event, self.pair, record))

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A handler gives its answer, to the link that its call came by, whether that lives or not."""
        if self.working:
            event, pair, record = self.working.pop(data.draw(st.integers(0, len(self.working) - 1)))
            keep_answer(self.replays, record, bytes(event.body))
            pair.server.reply(event.number, bytes(event.body))

    @rule()
    def carry_answers(self) -> None:
        self.pair.client.receive_data(self.pair.server.data_to_send(), self.now)
        while (event := self.pair.client.next_event()) is not None:
            if isinstance(event, ReplyReceived):
                order = self.order_of(event.token)
                order.answer = bytes(event.body)
            elif isinstance(event, CallFailed):
                self.fail(self.order_of(event.token), event.error)

    def order_of(self, token: object) -> Order:
        assert isinstance(token, Order)
        token.under_way = False
        return token

    def fail(self, order: Order, error: BttpError) -> None:
        try:
            self.now += order.retry.after(error, order.repeated, self.now)
        except BttpError as final:
            order.error = final

    @rule(seconds=st.sampled_from([0.5, 100.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_done_twice(self) -> None:
        if hasattr(self, "pair"):
            assert all(count == 1 for count in self.done.values())
            for order in self.orders:
                assert order.answer in (None, order.name)
                if order.answer is not None:
                    assert self.done[order.name] == 1
                if order.error is not None:
                    assert order.error.kind in (Kind.STALE, Kind.BUSY)

    def teardown(self) -> None:
        """With a network that holds, every order gets its answer, or hears that nobody knows."""
        if not hasattr(self, "pair"):
            return
        for _ in range(4):
            for order in self.orders:
                if order.open and not order.under_way:
                    repeat = order.retry.sending(self.pair.client.peer_instance, self.now)
                    order.repeated = repeat is not None
                    fields = encode_fields(order.name, None, repeat)
                    self.pair.client.call(PATH, order.name, order, None, self.now, fields)
                    order.under_way = True
            self.carry_requests()
            while self.working:
                event, pair, record = self.working.pop()
                keep_answer(self.replays, record, bytes(event.body))
                pair.server.reply(event.number, bytes(event.body))
            self.carry_answers()
        self.nothing_is_done_twice()
        assert not [order.name for order in self.orders if order.open]


TestShop = Shop.TestCase
TestShop.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
