"""Counters of a link, a server, a broker. Plain numbers that only grow (`links`, `handshakes`, `subscribers` apart)."""

from __future__ import annotations

import msgspec


class LinkStatistics(msgspec.Struct, kw_only=True):
    """What one link did."""

    calls_sent: int = 0
    calls_received: int = 0
    sends_sent: int = 0
    sends_received: int = 0
    streams_sent: int = 0  #: opened by this side
    streams_received: int = 0  #: opened by the peer
    items_sent: int = 0
    items_received: int = 0
    bytes_sent: int = 0  #: ciphertext
    bytes_received: int = 0  #: ciphertext
    deadlines_passed: int = 0  #: calls of this side that got no answer in time, streams that were not over
    late_replies: int = 0  #: frames for calls and streams that are over; dropped
    refused_calls: int = 0  #: received calls answered with a limit, without a handler
    dropped_sends: int = 0  #: received messages that no handler took

    def snapshot(self) -> LinkStatistics:
        return msgspec.structs.replace(self)

    def add(self, other: LinkStatistics) -> None:
        """Count what another link did, too."""
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class ServerStatistics(msgspec.Struct, kw_only=True):
    """What a server did."""

    links: int = 0  #: open now
    handshakes: int = 0  #: under way now
    accepted: int = 0  #: links opened
    refused: int = 0  #: peers whose proofs were not enough
    turned_away: int = 0  #: connections closed at once for a limit on handshakes or links
    broken: int = 0  #: connections that ended for garbage, a time-out or a violation

    def snapshot(self) -> ServerStatistics:
        return msgspec.structs.replace(self)


class BrokerStatistics(msgspec.Struct, kw_only=True):
    """What a broker did."""

    subscribers: int = 0  #: now
    published: int = 0
    delivered: int = 0  #: items given to subscribers' streams
    lost: int = 0  #: by the choice of their subscribers
    disconnected: int = 0  #: subscribers that were too slow and had chosen that
