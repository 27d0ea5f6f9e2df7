"""A lease is recalled: who wants to write does not wait until an idle writer's lease is over."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from btfproto.localfs import _lease
from btfproto.testing.provider import read_tree, write_file

from .test_coherence_model import Net


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("second", range(3))
def test_an_idle_writer_gives_its_lease_back_when_another_asks(
    monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    monkeypatch.setattr(_lease, "IDLE_SECONDS", 1e9)  # it does not give it back by itself
    monkeypatch.setattr(_lease, "LEASE_SECONDS", 60.0)  # and it is not over before the second loses patience
    if first == second:
        return
    with ExitStack() as stack:
        net = Net(stack)
        one, two = net.clients[first], net.clients[second]
        write_file(one, one.root, "one", b"1" * 10_000)
        write_file(two, two.root, "two", b"2")
        two.sync()
        assert read_tree(two, two.root) == {"one": b"1" * 10_000, "two": b"2"}
