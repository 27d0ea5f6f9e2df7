"""Dialing several endpoints of one server. Nothing waits for time here: the stagger is either nothing or for ever."""

from __future__ import annotations

import threading

import pytest
from btfproto._race import first_link
from bttp import AuthenticationError, UnreachableError

AT_ONCE = 0.0
NEVER = threading.TIMEOUT_MAX  # the next attempt begins only when the one before has failed


class Link:
    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def down(endpoint: str, timeout: float) -> Link:
    raise UnreachableError("Connection refused")


def test_one_endpoint_is_dialed_as_it_is() -> None:
    assert first_link(["a:1"], lambda endpoint, timeout: Link(endpoint), 5.0).endpoint == "a:1"
    with pytest.raises(UnreachableError, match="Connection refused"):
        first_link(["a:1"], down, 5.0)


def test_after_a_dead_endpoint_the_next_is_dialed_at_once() -> None:
    dialed = []

    def dial(endpoint: str, timeout: float) -> Link:
        dialed.append(endpoint)
        return Link(endpoint) if endpoint == "b:1" else down(endpoint, timeout)

    assert first_link(["a:1", "b:1", "c:1"], dial, 5.0, stagger=NEVER).endpoint == "b:1"
    assert dialed == ["a:1", "b:1"]


def test_an_endpoint_that_does_not_answer_holds_up_nobody_and_its_late_link_is_closed() -> None:
    answer, late = threading.Event(), Link("a:1")

    def dial(endpoint: str, timeout: float) -> Link:
        if endpoint == "a:1":
            answer.wait()
            return late
        return Link(endpoint)

    assert first_link(["a:1", "b:1"], dial, 5.0, stagger=AT_ONCE).endpoint == "b:1"
    answer.set()
    assert late.closed.wait(20)


def test_where_all_fail_each_is_named() -> None:
    with pytest.raises(UnreachableError, match="a:1: Connection refused; b:1: Connection refused"):
        first_link(["a:1", "b:1"], down, 5.0, stagger=NEVER)
    with pytest.raises(UnreachableError, match="no endpoint is known"):
        first_link([], down, 5.0)


def test_who_answered_and_was_not_believed_says_more_than_who_did_not_answer() -> None:
    def dial(endpoint: str, timeout: float) -> Link:
        if endpoint == "b:1":
            raise AuthenticationError("another root")
        return down(endpoint, timeout)

    with pytest.raises(AuthenticationError, match="another root"):
        first_link(["a:1", "b:1"], dial, 5.0, stagger=NEVER)


def test_a_server_that_is_not_believed_keeps_nobody_from_the_next() -> None:
    def dial(endpoint: str, timeout: float) -> Link:
        if endpoint == "a:1":
            raise AuthenticationError("another root")
        return Link(endpoint)

    assert first_link(["a:1", "b:1"], dial, 5.0, stagger=NEVER).endpoint == "b:1"
