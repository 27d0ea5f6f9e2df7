"""What one principal may take of a server, over all its links."""

from __future__ import annotations

from bttp import LimitError, Peer, ServerLimits
from bttp._auth import Role, prove, verify
from bttp._shares import Shares, Tally
from bttp.testing._pair import DOMAIN

LIMITS = ServerLimits(max_links_per_principal=2, max_streams_per_principal=3, max_held_per_principal=100)


class Link:
    """A link that holds what it is told."""

    def __init__(self, streams_open: int = 0, bytes_held: int = 0) -> None:
        self.streams_open = streams_open
        self.bytes_held = bytes_held
        self.errors: list[LimitError] = []

    def cut_off(self, error: LimitError) -> None:
        self.errors.append(error)


def peer(*names: str) -> Peer:
    return Peer(tuple(verify(prove(DOMAIN[name], Role.CLIENT, b"link"), Role.CLIENT, b"link") for name in names))


def test_links_count_for_the_first_principal_that_proved_itself() -> None:
    shares, links = Shares(LIMITS), [Link() for _ in range(2)]
    assert [shares.enter(link, peer("client")) for link in links] == [None, None]
    full = shares.enter(Link(), peer("client", "server"))
    assert full is not None
    assert "max_links_per_principal" in full
    assert str(DOMAIN["client"].principal) in full
    assert shares.enter(Link(), peer("server", "client")) is None
    shares.leave(links[0])
    assert shares.enter(Link(), peer("client")) is None


def test_anonymous_peers_are_one_principal_together() -> None:
    shares = Shares(LIMITS)
    assert [shares.enter(Link(), Peer()) for _ in range(2)] == [None, None]
    assert "anonymous" in str(shares.enter(Link(), Peer()))


def test_a_link_that_never_entered_may_leave() -> None:
    shares = Shares(LIMITS)
    shares.leave(Link())
    assert shares.cut_off() == 0


def test_streams_are_counted_over_all_links_of_a_principal() -> None:
    shares, one, two, other = Shares(LIMITS), Link(2), Link(1), Link(3)
    for link, name in ((one, "client"), (two, "client"), (other, "server")):
        assert shares.enter(link, peer(name)) is None
        assert shares.one_more_stream(link) is None
    two.streams_open = 2
    assert "max_streams_per_principal" in str(shares.one_more_stream(one))
    assert shares.one_more_stream(other) is None


def test_the_heaviest_link_of_who_holds_too_much_is_cut_off() -> None:
    shares, light, heavy, other = Shares(LIMITS), Link(0, 40), Link(0, 61), Link(0, 100)
    for link, name in ((light, "client"), (heavy, "client"), (other, "server")):
        shares.enter(link, peer(name))
    assert shares.cut_off() == 1
    assert (light.errors, other.errors) == ([], [])
    assert "max_held_per_principal" in str(heavy.errors[0])
    shares.leave(heavy)
    assert shares.cut_off() == 0


def test_handlers_are_counted_beyond_the_end_of_their_links() -> None:
    shares, first, second = Shares(ServerLimits(max_handlers_per_principal=2)), Link(), Link()
    shares.enter(first, peer("client"))
    tally = shares.tally(first)
    tally.running += 2
    shares.leave(first)
    shares.enter(second, peer("client"))
    assert shares.tally(second) is tally
    assert "max_handlers_per_principal" in str(shares.too_many_handlers(tally))
    tally.running -= 1
    assert shares.too_many_handlers(tally) is None
    tally.running -= 1
    shares.leave(second)
    shares.enter(first, peer("client"))
    assert shares.tally(first) is not tally
    assert shares.too_many_handlers(Tally()) is None
