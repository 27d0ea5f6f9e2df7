"""Renewal in time, under a clock that jumps from one thing that is due to the next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import bttp
import bttp.blocking
import pytest
import trio
from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.testing import make_identity
from bttp.testing._evil import DOMAIN, ECHO, ROOT, WAIT
from trio.testing import MockClock

HOUR = 3600


def carol(*time: int) -> Identity:
    return DOMAIN.issue("carol", time=(time[0], time[1]))


class Recorder:
    """Keeps who was shown when; fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.shown: list[tuple[float, Identity]] = []
        self._failures = failures

    async def renew(self, identity: Identity) -> None:
        self.shown.append((trio.current_time(), identity))
        if self._failures:
            self._failures -= 1
            raise BlocktreeError("no link")


def renewed(who: Recorder, first: Identity, fresh: Sequence[Identity]) -> list[float]:
    """When what was shown, until the last, whose chains have no end."""
    rest = iter(fresh)

    async def main() -> None:
        began = trio.current_time()
        await bttp.keep_renewed(who, first, lambda: next(rest), now=lambda: trio.current_time() - began)

    clock = MockClock(autojump_threshold=0)
    began = clock.current_time()
    trio.run(main, clock=clock)
    assert next(rest, None) is None
    return [when - began for when, _ in who.shown]


@pytest.mark.parametrize(
    ("identity", "due"),
    [
        (carol(0, 1000), 900.0),
        (carol(500, 1000), 950.0),
        (carol(0, 1000 * HOUR), 999.0 * HOUR),
        (make_identity("carol"), None),
        (make_identity("carol", *carol(0, 1000).chains, *carol(0, 2000).chains), 1800.0),
    ],
)
def test_new_chains_are_due_a_tenth_of_their_life_or_an_hour_before_the_last_ends(
    identity: Identity, due: float | None
) -> None:
    assert bttp.renewal_due(identity) == due


def test_each_is_shown_in_its_time_until_the_chains_have_no_end() -> None:
    when = renewed(Recorder(), carol(0, 1000), [carol(0, 5000), carol(4000, 6000), make_identity("carol")])
    assert when == pytest.approx([900, 4500, 5800])


def test_what_does_not_last_longer_or_fails_is_asked_for_again_a_minute_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "bttp"):
        when = renewed(
            Recorder(failures=1),
            carol(0, 1000),
            [carol(0, 1000), carol(0, 5000), carol(0, 5000), make_identity("carol")],
        )
    assert when == pytest.approx([960, 1020, 4500])
    assert "do not last longer" in caplog.text
    assert "no link" in caplog.text


def test_a_server_in_a_thread_renews_itself_and_its_links_go_on() -> None:
    router, shown = bttp.Router(), threading.Event()
    router.add(ECHO, lambda request: request.body)
    short = DOMAIN.issue("server", time=(0, int(time.time()) + 2))

    def fresh() -> Identity:
        shown.set()
        return DOMAIN["server"]

    with (
        bttp.blocking.serve(["127.0.0.1:0"], short, router, roots=[ROOT]) as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=ROOT) as link,
    ):
        server.keep_renewed(short, fresh)
        assert shown.wait(WAIT)
        until = time.monotonic() + WAIT
        while link.peer.chains != DOMAIN["server"].chains:
            assert time.monotonic() < until
            assert bytes(link.call(ECHO, b"on", timeout=WAIT)) == b"on"
        assert not link.closed
