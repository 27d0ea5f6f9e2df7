"""What a broker says and keeps: the codec, and the queue of one subscriber under each of its choices."""

from __future__ import annotations

import pytest
from btlib import BlockPath
from btlib.testing import make_domain_identities
from bttp import BttpError, Message, RemoteProtocolError, WhenSlow
from bttp._topics import (
    SUBSCRIBED,
    Queue,
    Ticket,
    Wish,
    encode_losses,
    encode_message,
    encode_wish,
    parse_item,
    parse_wish,
)
from hypothesis import given, settings
from hypothesis import strategies as st

TOPIC = make_domain_identities("alice").path.child("topic")
wishes = st.builds(Wish, below=st.booleans(), when_slow=st.sampled_from(WhenSlow), queue=st.integers(1, 2**32 - 1))


@settings(deadline=None)  # a busy machine is no failure
@given(wishes)
def test_a_wish_survives(wish: Wish) -> None:
    assert parse_wish(encode_wish(wish)) == wish


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=8))
def test_other_first_words_are_a_typed_error_or_a_wish(words: bytes) -> None:
    try:
        wish = parse_wish(words)
    except BttpError:
        return
    assert encode_wish(wish) == words


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=300), st.sampled_from([TOPIC, BlockPath(TOPIC.root, ()), TOPIC.child("ä" * 100)]))
def test_a_message_survives_and_truncated_it_is_refused_or_shorter(body: bytes, topic: BlockPath) -> None:
    item = encode_message(topic, body)
    assert parse_item(memoryview(item)) == Message(topic, memoryview(body))
    for size in range(len(item) - len(body)):
        with pytest.raises(RemoteProtocolError):
            parse_item(memoryview(item)[:size])


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=100))
def test_any_other_item_is_a_typed_error(item: bytes) -> None:
    try:
        parse_item(memoryview(item))
    except RemoteProtocolError:
        return
    assert item[0] in (0, 1)


def test_losses_are_items_and_the_welcome_is_none() -> None:
    assert parse_item(memoryview(encode_losses(7))) == 7
    with pytest.raises(RemoteProtocolError):
        parse_item(memoryview(SUBSCRIBED))


def queue(when_slow: WhenSlow, max_bytes: int = 1000) -> Queue:
    return Queue(Wish(when_slow=when_slow, queue=2), max_bytes)


def all_of(one: Queue) -> list[bytes | int]:
    out: list[bytes | int] = []
    while (item := one.take()) is not None:
        out.append(item if len(item) == 1 else int(parse_item(memoryview(item))))  # type: ignore[arg-type]
    return out


def offer(one: Queue, *items: bytes) -> list[bool | Ticket]:
    return [one.offer(item, lambda: None) for item in items]


@pytest.mark.parametrize(
    ("when_slow", "rest"),
    [(WhenSlow.DROP_OLDEST, [3, b"d", b"e"]), (WhenSlow.DROP_NEWEST, [b"a", b"b", 3])],
)
def test_what_is_dropped_is_counted_in_its_place(when_slow: WhenSlow, rest: list[bytes | int]) -> None:
    one = queue(when_slow)
    assert offer(one, b"a", b"b", b"c", b"d", b"e") == [True] * 5
    assert one.lost == 3
    assert all_of(one) == rest
    assert offer(one, b"f") == [True]
    assert all_of(one) == [b"f"]


def test_a_disconnecting_queue_says_when_it_is_full() -> None:
    assert offer(queue(WhenSlow.DISCONNECT), b"a", b"b", b"c") == [True, True, False]


def test_publishers_wait_in_the_order_in_which_they_came() -> None:
    one, settled = queue(WhenSlow.BLOCK), []
    offer(one, b"a", b"b")
    tickets = [one.offer(item, lambda item=item: settled.append(item)) for item in (b"c", b"d", b"e")]  # type: ignore[misc]
    assert all(isinstance(ticket, Ticket) for ticket in tickets)
    one.withdraw(tickets[1])  # type: ignore[arg-type]
    assert one.take() == b"a"
    assert settled == [b"c"]
    assert all_of(one) == [b"b", b"c", b"e"]
    assert settled == [b"c", b"e"]
    one.withdraw(tickets[0])  # type: ignore[arg-type]


def test_a_closed_queue_keeps_no_publisher() -> None:
    one, settled = queue(WhenSlow.BLOCK), []
    offer(one, b"a", b"b")
    one.offer(b"c", lambda: settled.append(b"c"))
    one.close()
    assert settled == [b"c"]


def test_bytes_are_bounded_too_but_one_message_always_fits() -> None:
    one = queue(WhenSlow.DROP_OLDEST, max_bytes=3)
    offer(one, b"abcdefg")
    assert one.lost == 0
    offer(one, b"x", b"y")
    assert all_of(one) == [1, b"x", b"y"]
