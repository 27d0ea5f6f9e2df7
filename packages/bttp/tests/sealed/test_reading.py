"""The accounts of a subscription: what refused messages told is not lost with them, and nothing floods."""

from __future__ import annotations

import logging

import pytest
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from bttp import BttpError, Message
from bttp.sealed import SealedTopic, TopicKeeper
from bttp.sealed._reading import ASK_SECONDS, ASKS_AT_ONCE, Reading

DOMAIN = make_domain_identities("keeper", "alice")
TOPIC = DOMAIN.path.child("warm")


def test_what_refused_messages_told_is_told_with_the_next(caplog: pytest.LogCaptureFixture) -> None:
    topic = SealedTopic(TOPIC, DOMAIN["alice"], TopicKeeper(DOMAIN["keeper"], TOPIC, [DOMAIN["alice"].public]).bundle)
    session, reading = topic.session(), Reading(topic)
    with caplog.at_level(logging.WARNING, "bttp"):
        for _ in range(3):
            assert reading.open(Message(TOPIC, memoryview(b"bad"), lost=2, gap=True)) is None
    good = [reading.open(Message(TOPIC, memoryview(session.seal(b"good")), lost=1)) for _ in range(2)]
    assert [(each.lost, each.gap) for each in good if each is not None] == [(7, True), (1, False)]
    assert reading.refusals == {Kind.PROTOCOL: 3}
    assert len(caplog.records) == 1
    assert caplog.records[0].__dict__["fields"] == {"event": "message refused", "path": str(TOPIC), "kind": "PROTOCOL"}


def test_keys_are_asked_for_a_few_times_at_once_and_then_once_in_a_while() -> None:
    reading = Reading(SealedTopic(TOPIC, DOMAIN["alice"]))
    assert [reading.may_ask(5.0) for _ in range(ASKS_AT_ONCE + 2)] == [True] * ASKS_AT_ONCE + [False] * 2
    later = [reading.may_ask(5.0 + share * ASK_SECONDS) for share in (0.5, 1.0, 1.5, 2.0, 2.25)]
    assert later == [False, True, False, True, False]
    assert sum(reading.may_ask(1000.0) for _ in range(100)) == ASKS_AT_ONCE


def test_what_is_counted_has_its_kind() -> None:
    reading = Reading(SealedTopic(TOPIC, DOMAIN["alice"]))
    reading.refuse(Message(TOPIC, memoryview(b"")), BttpError("x", kind=Kind.STALE))
    assert reading.refusals[Kind.STALE] == 1
