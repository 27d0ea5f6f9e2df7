"""`Places`: where the server of a domain can be dialed, by everything that this machine knows.

    1. the endpoint that somebody named for this once: then only that
    2. `server` in the domain's settings
    3. the endpoint records that this machine has seen (`EndpointBook`), those of the longest prefix
    4. with BLOCKTREE_MDNS=1, who says in the local network to be a server of this domain, where nobody else answered

None of it is trusted: whoever answers has to prove the server's path when the link opens.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.revocations import NO_REVOCATIONS, Revocations
from bttp.errors import AuthenticationError, BttpError, UnreachableError

from ._race import Made, first_link
from .domain import DomainReader
from .endpoints import BOOK_FILE, EndpointBook, Resolution, read_published
from .endpoints.discovery import MDNS_VARIABLE, discover
from .errors import FsError
from .revocations import RevocationMemory
from .store import Store

log = logging.getLogger("btfproto.endpoints")


def book_of(domain: Domain) -> EndpointBook:
    """What this machine has seen of a domain's endpoint records."""
    return EndpointBook(domain.data / BOOK_FILE, domain.root)


def learn_endpoints(domain: Domain, store: Store, target: BlockPath, revocations: Revocations) -> None:
    """Remember what the store says of a path and of the domain, for the day when the server is not where it was.

    Who came so far has a store; so a failure is a line in the log, and not the caller's.
    """
    try:
        published = read_published(DomainReader(store, domain.root), target)
        found = [(path, signed) for path, records in published.items() for signed in records]
        for record in book_of(domain).learn(found, now=int(time.time()), revocations=revocations):
            log.debug("learnt that %s serves %s at %s", record.server, record.path, ", ".join(record.endpoints))
    except BlocktreeError as error:
        log.info("endpoint records were not learnt: %s", error)


@dataclass(frozen=True, kw_only=True)
class Places:
    """`named`: the endpoint for this once. Thread-safe."""

    domain: Domain
    named: str | None
    memory: RevocationMemory | None
    environ: Mapping[str, str]

    @property
    def server_path(self) -> BlockPath:
        """What the server has to prove: as configured; else what the domain's endpoint record says."""
        settings = self.domain.settings
        if settings.server_path is None and settings.server is None and self.named is None:
            found = self._resolved(self.domain.root_path).found
            if found:
                return found[0].record.server
        return self.domain.server_path

    @property
    def mdns(self) -> bool:
        return self.named is None and self.environ.get(MDNS_VARIABLE, "") not in ("", "0")

    def endpoints(self) -> tuple[str, ...]:
        """Where to dial, in this order; the book is read each time, since others may learn meanwhile."""
        if self.named is not None:
            return (self.named,)
        configured = [] if self.domain.server is None else [self.domain.server]
        recorded = self._resolved(self.server_path)
        ours = [found for found in recorded.found if found.record.server == self.server_path]
        known = [endpoint for found in ours for endpoint in found.record.endpoints]
        return tuple(dict.fromkeys([*configured, *known]))

    def serving(self, target: BlockPath) -> tuple[str, ...]:
        """Where to dial for what is served at a path: the same, but by the records for that path."""
        if self.named is not None:
            return (self.named,)
        configured = [] if self.domain.server is None else [self.domain.server]
        return tuple(dict.fromkeys([*self._resolved(target).endpoints, *configured]))

    def require(self) -> Places:
        """Itself, if there is anywhere to dial. Raises FsError with what to do, and why records do not help."""
        if self.mdns or self.endpoints():
            return self
        refused = self._resolved(self.server_path).refused
        why = f": {refused[0].reason}" if refused else ""
        raise FsError(
            Kind.INVALID,
            f"no server is known for the domain {self.domain.petname}{why}",
            "name one: --server HOST:PORT, for a mount -o server=HOST:PORT, or set `server` in "
            f"{self.domain.settings_file}",
        )

    def dial(self, dial: Callable[[str, float], Made], timeout: float) -> Made:
        """A link to whoever answers first. Raises BttpError, with the reason why a record did not help."""
        endpoints = self.endpoints()
        try:
            return first_link(endpoints, dial, timeout)
        except AuthenticationError:
            raise
        except BttpError as error:
            fresh = self._heard(endpoints)
            if not fresh:
                raise self._explained(error) from error
            log.info("found by multicast DNS: %s", ", ".join(fresh))
            return first_link(fresh, dial, timeout)

    def _heard(self, dialed: tuple[str, ...]) -> tuple[str, ...]:
        try:
            found = discover(self.domain.root) if self.mdns else ()
        except FsError as error:
            log.warning("%s", error)
            found = ()
        return tuple(endpoint for endpoint in found if endpoint not in dialed)

    def _explained(self, error: BttpError) -> BttpError:
        refused = () if self.named is not None else self._resolved(self.server_path).refused
        return UnreachableError(f"{error.message}; {refused[0].reason}") if refused else error

    def _resolved(self, target: BlockPath) -> Resolution:
        remembered = None if self.memory is None else self.memory.load()
        revoked = NO_REVOCATIONS if remembered is None else remembered.seen.record.effective
        try:
            return book_of(self.domain).resolve(target, now=int(time.time()), revocations=revoked)
        except FsError as error:
            log.warning("%s", error)
            return Resolution(target=target, found=(), refused=())

    def __str__(self) -> str:
        return self.named or ", ".join(self.endpoints()) or "(anywhere in the local network)"


def places_of(
    domain: Domain, named: str | None, memory: RevocationMemory | None, environ: Mapping[str, str] = os.environ
) -> Places:
    return Places(domain=domain, named=named, memory=memory, environ=environ)
