"""From what a user names to a file system: the domain, the passphrase, the mode, the provider.

alone         the store is in this process, and this mount its only client
end-to-end    keys here, bytes on a server, or with the btfsd that has this machine's store open
thin          keys and bytes on the server
"""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from btfproto.localfs import FsOptions, LocalFs
from btfproto.opening import open_files
from btfproto.provider import FsProvider
from btlib.errors import BlocktreeError
from btlib.home import Domain, Home
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.process_keys import for_process
from btlib.unlocking import unlock_domain
from bttp.tapping import tap_from_environment

from ._options import MountOptions

PROGRAM = "btfuse"
#: Names that are made, moved or removed reach other clients with the next group: sooner than it is timed for one alone.
SHARED_COMMIT_SECONDS = 1.0
#: A store that is held may be a mount that is just committing its last group: as long as that usually takes.
BUSY_SECONDS = 1.5
_BUSY_PAUSE = 0.05


@dataclass(frozen=True, kw_only=True)
class Opened:
    provider: FsProvider
    name: str  #: what findmnt shows as the source
    mode: str
    shared: bool  #: others may change the tree meanwhile
    remote_locks: bool
    read_only: bool


def open_source(source: str, options: MountOptions, environ: Mapping[str, str]) -> Opened:
    """Open what is to be mounted, asking for the passphrase where it is not given. Raises BlocktreeError."""
    where = environ if options.home is None else {**environ, "BLOCKTREE_HOME": str(options.home)}
    tap_from_environment(environ)
    domain, path = Home.find(where).resolve(source)
    identity = _unlock(domain, options, where)

    def attach() -> FsProvider:
        chosen = _fs_options(options)
        return open_files(
            domain,
            identity,
            path,
            server=options.endpoint,
            remote=options.server,
            thin=options.thin,
            options=chosen,
            staleness=options.staleness,
            program=PROGRAM,
        )

    provider = _patiently(attach)
    try:
        read_only = options.read_only or provider.statfs().read_only
    except BaseException:
        provider.shutdown()
        raise
    shared = not isinstance(provider, LocalFs) or provider.options.shared
    return Opened(
        provider=provider,
        name=source,
        mode="thin" if options.thin else "end-to-end" if shared else "alone",
        shared=shared,
        remote_locks=shared,
        read_only=read_only,
    )


def _fs_options(options: MountOptions) -> FsOptions:
    chosen = FsOptions(read_only=options.read_only)
    seconds = options.commit_seconds or (SHARED_COMMIT_SECONDS if options.server else chosen.commit_interval)
    return msgspec.structs.replace(chosen, commit_interval=seconds, patience=options.patience)


def _unlock(domain: Domain, options: MountOptions, environ: Mapping[str, str]) -> Identity:
    prompt = (lambda: _ask(domain)) if sys.stdin is not None and sys.stdin.isatty() else None
    return for_process(unlock_domain(domain, environ, options.passphrase_file, prompt))


def _ask(domain: Domain) -> str:
    return getpass.getpass(f"Passphrase of {domain.host} in {domain.petname}: ")


def _patiently(attach: Callable[[], FsProvider]) -> FsProvider:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return attach()
        except BlocktreeError as error:
            if error.kind is not Kind.BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_BUSY_PAUSE)
