"""Attacks on a server of links, over real sockets. For whoever writes another server.

    class Mine:                                      # a `LinkServer`
        @contextmanager
        def serve(self, demand: Demand) -> Iterator[str]: ...

    @pytest.mark.parametrize("name", ATTACKS)
    def test_my_server(name: str) -> None:
        ATTACKS[name].run(Mine())

An attack raises AssertionError where it succeeds, where it is not ended within WAIT seconds, and where an honest client
is not served afterwards. What is expected of a refusal is its kind, not its words.
"""

from __future__ import annotations

from . import _attacks_members, _attacks_openings  # noqa: F401 (they fill ATTACKS)
from ._attack import ATTACKS, BttpServer, Demand, LinkServer
from ._evil import DOMAIN, ECHO, ROOT, WAIT

__all__ = ["ATTACKS", "DOMAIN", "ECHO", "ROOT", "WAIT", "BttpServer", "Demand", "LinkServer"]
