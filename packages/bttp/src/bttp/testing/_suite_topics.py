"""The conformance suite: topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

from btlib.kinds import Kind
from btlib.paths import BlockPath

from .._limits import Limits
from .._topics import Message, WhenSlow
from ..errors import RemoteError
from ._stage import WAIT, LinkUnderTest, ShellUnderTest, Stage, ask, expect, linked, next_of

MANY = 100  # messages of 60 kB: more than a link and its windows hold


def check_topics(shell: ShellUnderTest) -> None:
    """Messages reach those who subscribed to their topic or a path above it, in order; others hear nothing."""
    with linked(shell) as (stage, link):
        top = stage.place.child("topics")
        warm, cold = top.child("warm"), top.child("cold")

        def subscribe(path: BlockPath, below: bool) -> AbstractContextManager[Callable[[], Message]]:
            return shell.subscribe(link, path, below=below, when_slow=WhenSlow.BLOCK, queue=10)

        with subscribe(warm, False) as receive_one, subscribe(top, True) as receive_every:
            one, every = (partial(next_of, stage, link, receive) for receive in (receive_one, receive_every))
            assert ask(link, warm, b"1") == (2).to_bytes(4, "little")
            assert ask(link, cold, b"2") == (1).to_bytes(4, "little")
            assert ask(link, top, b"") == (1).to_bytes(4, "little")
            link.send(warm, bytes(100_000))
            heard = [(message.topic, len(message.body), message.lost) for message in (one(), one())]
            assert heard == [(warm, 1, 0), (warm, 100_000, 0)]
            heard = [
                (message.topic, len(message.body), message.lost) for message in (every(), every(), every(), every())
            ]
            assert heard == [(warm, 1, 0), (cold, 1, 0), (top, 0, 0), (warm, 100_000, 0)]
        until = time.monotonic() + WAIT
        while stage.broker.statistics.subscribers:
            assert time.monotonic() < until
            threading.Event().wait(0.005)
        assert ask(link, warm, b"nobody") == bytes(4)


def check_a_server_publishes_without_a_link(shell: ShellUnderTest) -> None:
    """What the process of the broker publishes reaches its subscribers as anything does, and waits for the slow."""
    stage = Stage()
    root, topic = stage.domain.principal, stage.place.child("topics").child("own")
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.connect(server.endpoints[0], stage.domain["alice"], root, stage.place) as link,
    ):
        assert server.publish(stage.broker, topic, b"nobody") == 0
        with shell.subscribe(link, topic, below=False, when_slow=WhenSlow.BLOCK, queue=4) as receive:
            with ThreadPoolExecutor(1) as pool:
                bodies = [bytes([number]) * 60_000 for number in range(MANY)]
                publishing = pool.submit(lambda: [server.publish(stage.broker, topic, body) for body in bodies])
                heard = [next_of(stage, link, receive) for _ in range(MANY)]
                assert publishing.result(WAIT) == [1] * MANY
            assert [(message.topic, message.body[0], message.lost) for message in heard] == [
                (topic, number, 0) for number in range(MANY)
            ]


def check_slow_subscribers(shell: ShellUnderTest) -> None:
    """Each subscriber chooses what happens to messages for which it has no room, and is told what it lost."""
    for when_slow in WhenSlow:
        with linked(shell) as (stage, link), ThreadPoolExecutor(1) as pool:
            topic = stage.place.child("topics").child("slow")
            with shell.subscribe(link, topic, below=False, when_slow=when_slow, queue=4) as receive:
                sending = pool.submit(_publish, link, topic)
                _check_choice(stage, link, when_slow, sending, partial(next_of, stage, link, receive))


def _check_choice(
    stage: Stage, link: LinkUnderTest, when_slow: WhenSlow, sending: Future[None], receive: Callable[[], Message]
) -> None:
    if when_slow is WhenSlow.BLOCK:
        assert [receive().body[0] for _ in range(MANY)] == list(range(MANY))
    sending.result(WAIT)
    if when_slow is WhenSlow.DISCONNECT:
        expect(RemoteError, Kind.LIMIT, lambda: [receive() for _ in range(MANY)])
        assert stage.broker.statistics.disconnected == 1
    elif when_slow is not WhenSlow.BLOCK:
        lost = stage.broker.statistics.lost
        assert lost > MANY // 2
        _check_losses(link, stage.place.child("topics").child("slow"), receive, lost)


def _publish(link: LinkUnderTest, topic: BlockPath) -> None:
    for number in range(MANY):
        ask(link, topic, bytes([number]) * 60_000)


def _check_losses(link: LinkUnderTest, topic: BlockPath, receive: Callable[[], Message], lost: int) -> None:
    """Nothing is missing that is not counted, in its place."""
    place = 0
    for _ in range(MANY - lost):
        message = receive()
        place += message.lost
        assert message.body[0] == place
        place += 1
    ask(link, topic, b"end")
    message = receive()
    assert bytes(message.body) == b"end"
    assert place + message.lost == MANY
