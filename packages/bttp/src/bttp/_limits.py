"""The limits of a link and of a server, each with its reason. A refusal names the limit by its setting here."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one side of a link takes. Settings of the same names; the peer learns the first five in HELLO."""

    max_calls: int = 1024  #: calls and streams served at once; each may hold a task, a thread's turn and a body
    max_body: int = 64 * 1024 * 1024  #: bytes of one body, request or reply; it lies in memory as one piece
    send_window: int = 1024 * 1024  #: bytes of `send` messages that may wait for their handlers
    stream_window: int = 256 * 1024  #: bytes of a stream's items that may wait; a small call waits for them too
    link_window: int = 16 * 1024 * 1024  #: the same, of all streams together: bounds what slow readers hold
    max_receiving: int = 256 * 1024 * 1024  #: bytes of unfinished bodies; each is allocated when it is announced
    max_queued: int = 64 * 1024 * 1024  #: bytes waiting to leave, above which no new request reaches a handler
    handshake_seconds: float = 10.0  #: from the first byte to an open link: what a slow peer may take
    handshake_bytes: int = 128 * 1024  #: bytes taken from a peer before it is authenticated; real ones need 2–70 KiB
    ping_seconds: float = 10.0  #: silence after which the peer is asked for a sign of life
    pings: int = 3  #: signs of life asked for in vain before the link counts as lost


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a server takes over all its links."""

    max_links: int = 4096  #: open links; each costs a descriptor and some 100 KiB
    max_handshakes: int = 128  #: links not yet authenticated; each may cost a few ms of signature checks
    max_handshakes_per_address: int = 16  #: the same, from one address: one host cannot use the others' share
    max_links_per_principal: int = 256  #: open links of one principal: a member cannot use the others' share
    max_streams_per_principal: int = 4096  #: open streams of one principal over all its links
    max_handlers_per_principal: int = 8192  #: handlers that run for one principal, whose links may have ended
    max_held_per_principal: int = 512 * 1024 * 1024  #: bytes that wait for one principal, or of its unfinished bodies
    max_workers: int = 8  #: threads for handlers that are not `async`; more only fight for the interpreter


SEND_COST = 64  #: what a `send` costs of the window beside its body, so that empty ones are bounded too
ITEM_COST = 256  #: the same for an item of a stream, which may wait for long: about what it takes beside its bytes
MAX_STREAM_QUEUED = 256 * 1024  #: bytes of one stream that may wait to leave, whatever credit the peer gives
MAX_STREAMS_QUEUED = 8 * 1024 * 1024  #: the same, of all streams of a link
HELD_SECONDS = 1.0  #: how often a server looks what its principals hold: cheap, and little can be queued in between
MAX_ROUTES = 256  #: paths that a side keeps short numbers for; a wrapped number replaces the oldest
MAX_PRINCIPALS = 8  #: AUTH frames of one side
