"""What can be configured: the names, types, bounds, defaults and meanings. The reference in `docs/btfsd.md` is this.

The tables of the file are Structs, a key is a field, its bounds and meaning stand in its `Meta`. Nothing is read here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Meta(ge=1, le=10_000_000)

AbsolutePath = Annotated[str, Meta(pattern="^/")]

Level = Literal["debug", "info", "warning", "error"]


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """[services]"""

    store: Annotated[bool, Meta(description="serve the store, for end-to-end clients: keys there, bytes here")] = True
    files: Annotated[bool, Meta(description="serve files, for thin clients: this server's keys open them")] = True


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """[log]"""

    level: Annotated[Level, Meta(description="the least important messages that are logged")] = "info"
    json: Annotated[bool, Meta(description="one JSON object a line instead of text")] = False


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """[endpoints]"""

    publish: Annotated[
        bool, Meta(description="write endpoint records into the tree, so that others find the server")
    ] = True
    names: Annotated[
        tuple[str, ...],
        Meta(description="host:port where others reach it, instead of where it listens (behind a router, say)"),
    ] = ()
    mdns: Annotated[bool, Meta(description="say in the local network that it is there; needs `btfproto[mdns]`")] = False


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """[membership]"""

    renew: Annotated[
        bool,
        Meta(
            description="renew memberships of half a year and more, from their last third to two years after their end"
        ),
    ] = True


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """[revocation]"""

    warn_hours: Annotated[
        float,
        Meta(gt=0, le=876_000, description="so long without a list in the store that can be believed: warn"),
    ] = 24.0
    refuse_hours: Annotated[
        float, Meta(gt=0, le=876_000, description="the same: refuse everybody but this machine, until there is one")
    ] = 720.0


class Meetings(msgspec.Struct, frozen=True, kw_only=True):
    """[meetings]"""

    listen: Annotated[
        str | None,
        Meta(description="host:port where two machines that share a code of `bt invite --via` meet; else they cannot"),
    ] = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """[limits]"""

    max_links: Annotated[int, Count, Meta(description="connections at once")] = 4096
    max_handshakes: Annotated[int, Count, Meta(description="connections that have not proven who they are yet")] = 128
    max_handshakes_per_address: Annotated[int, Count, Meta(description="the same, from one address")] = 16
    max_calls: Annotated[int, Count, Meta(description="requests of one connection served at once")] = 1024
    max_workers: Annotated[int, Meta(ge=1, le=256, description="threads of each service that answer requests")] = 8
    max_sessions: Annotated[int, Count, Meta(description="thin clients' sessions at once")] = 1024
    max_sessions_per_principal: Annotated[int, Count, Meta(description="the same, of one principal")] = 32
    max_inodes: Annotated[int, Count, Meta(description="files that one session may refer to")] = 1_000_000
    max_handles: Annotated[int, Count, Meta(description="open files of one session")] = 4096
    max_locks: Annotated[int, Count, Meta(description="file locks of one session")] = 1024
    grace_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="how long a session outlives its lost connection")
    ] = 60.0


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """[files]"""

    cache_mib: Annotated[int, Meta(ge=1, le=65_536, description="memory for file contents, for each volume served")] = (
        64
    )
    dirty_mib: Annotated[int, Meta(ge=1, le=65_536, description="unwritten changes that force a commit")] = 64
    commit_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="how often thin clients' changes are committed at the latest")
    ] = 3.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. Keys outside of a table come first."""

    domain: Annotated[
        str | None, Meta(description="petname or root (bt1…) of the domain to serve; needed where there are several")
    ] = None
    home: Annotated[
        AbsolutePath | None, Meta(description="directory of domains and credentials, as BLOCKTREE_HOME")
    ] = None
    listen: Annotated[
        tuple[str, ...], Meta(description="where to listen, beside the Unix socket: host:port, [v6]:port, unix:/path")
    ] = ()
    passphrase_file: Annotated[
        AbsolutePath | None, Meta(description="file whose first line unlocks this machine's credentials")
    ] = None
    stop_seconds: Annotated[
        float, Meta(gt=0, le=600, description="how long a graceful stop may take before the process ends anyway")
    ] = 5.0
    services: Services = Services()
    log: Log = Log()
    endpoints: Endpoints = Endpoints()
    membership: Membership = Membership()
    revocation: Revocation = Revocation()
    meetings: Meetings = Meetings()
    limits: Limits = Limits()
    files: Files = Files()
