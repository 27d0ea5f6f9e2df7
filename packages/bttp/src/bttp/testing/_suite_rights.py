"""The conformance suite: proofs on open links, rights that end, and revocations."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.revocations import Revocations
from btlib.testing import make_identity

from .._limits import MAX_PRINCIPALS, Limits
from ..errors import AuthenticationError, ConnectionLostError, RemoteError
from ._stage import WAIT, LinkUnderTest, ShellUnderTest, Stage, ask, expect, linked


class _Revoked:
    """What is revoked so far."""

    def __init__(self) -> None:
        self._now = Revocations()

    def revoke(self, principal: Principal) -> None:
        self._now = Revocations(version=1, principals={**self._now.principals, principal: 0})

    def __call__(self, _root: Principal) -> Revocations:
        return self._now


def check_another_principal_joins_an_open_link(shell: ShellUnderTest) -> None:
    """A path that was forbidden to the first is open when the second has proven itself; a link carries only so many."""
    stage = Stage()
    root, narrow = stage.domain.principal, stage.domain.issue("bob", ("hosts", "inline"))
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.connect(server.endpoints[0], narrow, root, None) as link,
    ):
        expect(RemoteError, Kind.FORBIDDEN, lambda: ask(link, stage.place.child("thread")))
        link.prove(stage.domain["alice"])
        assert ask(link, stage.place.child("thread"), b"both") == b"both"
        for number in range(MAX_PRINCIPALS - 2):
            link.prove(make_identity(str(number)))
        refused = expect(AuthenticationError, Kind.LIMIT, lambda: link.prove(make_identity("one more")))
        assert "carries no more" in str(refused)
        assert ask(link, stage.place.child("thread"), b"still") == b"still"


def check_a_link_ends_with_the_rights_of_its_peer_unless_they_are_renewed(shell: ShellUnderTest) -> None:
    """Both sides hear that they have expired, at once; who proves new chains before, goes on."""
    stage = Stage()
    root, path = stage.domain.principal, stage.place.child("slow-async")
    short = stage.domain.issue("carol", time=(0, int(time.time()) + 2))
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.connect(server.endpoints[0], short, root, None) as renewed,
        shell.connect(server.endpoints[0], short, root, None) as ending,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            renewed.prove(stage.domain.issue("carol"))
            with renewed.stream(stage.place.child("stuck")) as stream:
                waiting = pool.submit(ending.call, path, timeout=WAIT)
                expect(ConnectionLostError, Kind.EXPIRED, lambda: waiting.result(WAIT))
                assert isinstance(ending.reason, AuthenticationError)
                assert ending.reason.kind is Kind.EXPIRED
                stream.send(b"still open")
                assert ask(renewed, stage.place.child("async"), b"on") == b"on"
                assert stream.reason is None
        finally:
            stage.release.set()


def check_revocations_reach_what_is_under_way(shell: ShellUnderTest) -> None:
    """Calls and streams end by which only the revoked principal could reach; the link goes on for the other."""
    stage, revoked = Stage(), _Revoked()
    root, narrow = stage.domain.principal, stage.domain.issue("bob", ("hosts", "inline"))
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits(), revoked) as server,
        shell.connect(server.endpoints[0], narrow, root, None) as link,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            link.prove(stage.domain["alice"])
            with link.stream(stage.place.child("echo"), b"first", timeout=WAIT) as stream:
                assert bytes(stream.receive() or b"") == b"first"
                waiting = pool.submit(link.call, stage.place.child("slow-async"), timeout=WAIT)
                assert stage.started.wait(WAIT)
                revoked.revoke(stage.domain["alice"].principal)
                server.recheck()
                expect(RemoteError, Kind.FORBIDDEN, lambda: waiting.result(WAIT))
                expect(RemoteError, Kind.FORBIDDEN, stream.receive)
            expect(RemoteError, Kind.FORBIDDEN, lambda: ask(link, stage.place.child("async")))
            assert ask(link, stage.place.child("inline"), b"bob") == b"bob"
            revoked.revoke(narrow.principal)
            with shell.connect(server.endpoints[0], stage.domain.issue("dora"), root, None) as other:
                server.recheck()
                expect(ConnectionLostError, Kind.FORBIDDEN, lambda: _until_lost(link, stage))
                assert isinstance(link.reason, AuthenticationError)
                assert ask(other, stage.place.child("async"), b"dora") == b"dora"
        finally:
            stage.release.set()


def _until_lost(link: LinkUnderTest, stage: Stage) -> None:
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        ask(link, stage.place.child("inline"))


def check_a_client_leaves_a_server_that_was_revoked(shell: ShellUnderTest) -> None:
    """Its calls fail with the reason, on both sides; a server that renews itself before is kept."""
    stage, revoked = Stage(), _Revoked()
    root = stage.domain.principal
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.connect(server.endpoints[0], stage.domain["alice"], root, None, revoked) as link,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            server.renew(stage.domain.issue("second server", ("hosts",)))
            assert len(link.peer.principals) == 2
            waiting = pool.submit(link.call, stage.place.child("slow-async"), timeout=WAIT)
            assert stage.started.wait(WAIT)
            revoked.revoke(stage.domain["server"].principal)
            link.recheck()
            assert ask(link, stage.place.child("async"), b"the other") == b"the other"
            revoked.revoke(root)
            link.recheck()
            assert not link.closed  # a root cannot be revoked
            stage.release.set()
            assert bytes(waiting.result(WAIT)) == b"1"
        finally:
            stage.release.set()
    revoked = _Revoked()
    with (
        shell.serve(stage.domain["server"], stage.router, root, Limits()) as server,
        shell.connect(server.endpoints[0], stage.domain["alice"], root, None, revoked) as link,
    ):
        revoked.revoke(stage.domain["server"].principal)
        link.recheck()
        assert isinstance(link.reason, AuthenticationError)
        assert link.reason.kind is Kind.FORBIDDEN


def check_links_work_as_ever_after_a_recheck(shell: ShellUnderTest) -> None:
    """Where nothing was revoked, nothing happens."""
    with linked(shell) as (stage, link), link.stream(stage.place.child("echo"), b"first", timeout=WAIT) as stream:
        link.recheck()
        assert bytes(stream.receive() or b"") == b"first"
        assert ask(link, stage.place.child("async"), b"on") == b"on"
