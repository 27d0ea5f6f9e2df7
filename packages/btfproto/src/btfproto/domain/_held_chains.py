"""`HeldChains`: what a program that runs on holds in a domain, looked up anew in its records.

    identity   itself with everything that it was given: to write with
    shown      as it came, but for what was renewed since: to prove on links

A membership is renewed by servers, and a grant by hand; both stand in the principal's records, where whoever runs with
the older ones finds them. It asks nobody by itself and knows no clock. Thread-safe: two that look at once look twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from btlib.errors import CapabilityError, IntegrityError
from btlib.identity import Identity
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from btfproto.errors import FsError

from ._handover import end_of, terms_of
from ._open import read_held
from ._reader import DomainReader
from ._renewal import longest, renewal_from

HOUR = 3_600
DAY = 24 * HOUR
LOOKS = 20  #: in the time from when a chain is renewed to its end; one an hour at least, and more towards the end
WARN_DAYS = 14  #: before the end: time for an owner who is on holiday


class HeldChains:
    """See the module."""

    def __init__(self, reader: DomainReader, identity: Identity, scopes: Iterable[bytes] = ()) -> None:
        """`scopes`: where to look beside the root scope and those that the chains name."""
        self.reader = reader
        self.identity = self.shown = identity
        self._own = identity
        self._scopes = tuple(scopes)

    def look(self, now: int) -> bool:
        """Ask the records; whether something is to be shown that was not. Raises FsError, StoreError."""
        try:
            found = read_held(self.reader, self._own, self._scopes, now).identity
            valid = [chain for chain in found.chains if self._is_valid(chain, now)]
        except (IntegrityError, CapabilityError) as error:
            raise FsError(error.kind, error.message, error.hint) from error
        self.identity = found
        before, self.shown = self.shown, following(self._own, valid)
        return self.shown.chains != before.chains

    def due(self, now: int) -> tuple[Chain, ...]:
        """Those of the chains to show that near their end, or have run out, with nothing that follows."""
        return tuple(chain for chain in longest(self.shown.chains) if chain.last and now >= renewal_from(chain.last))

    @property
    def due_from(self) -> float:
        """The second from which on one is due."""
        return min((renewal_from(chain.last) for chain in longest(self.shown.chains) if chain.last), default=math.inf)

    def ending(self, now: int) -> list[Chain]:
        """All that it holds of which there are two weeks left, or less, with nothing that follows."""
        near = (chain for chain in self.identity.chains if time_left(chain, now) not in (None, "ended"))
        return [chain for chain in near if not self.lasts_longer(chain, now)]

    def lasts_longer(self, chain: Chain, now: int) -> bool:
        """Whether something that gives the same as a chain follows it."""
        alike = (other for other in self.identity.chains if terms_of(other) == terms_of(chain))
        return any(end_of(other) > end_of(chain) and self._is_valid(other, now) for other in alike)

    def _is_valid(self, chain: Chain, now: int) -> bool:
        reader = self.reader
        return verify_chain(
            chain,
            root=reader.root,
            subject=self._own.principal,
            right=Rights(0),
            now=now,
            revocations=reader.revocations,
        ).allowed


def following(own: Identity, found: Sequence[Chain]) -> Identity:
    """The identity with what follows its chains before them: peers look at the first few."""
    better: list[Chain] = []
    for chain in own.chains:
        alike = [other for other in found if terms_of(other) == terms_of(chain)]
        best = max((chain, *alike), key=end_of)
        if best != chain and best not in better:
            better.append(best)
    kept = Identity(signer=own.signer, opener=own.opener, chains=tuple(better), process_keys=own.process_keys)
    return kept.with_chains(*own.chains)


def pause_before_look(chain: Chain, now: int, lapsed: int) -> int:
    """Seconds until it is worth another look, where nothing follows a chain yet; `lapsed` once it has run out."""
    last = chain.last
    if last is None or now < renewal_from(last):
        return HOUR
    if now > last.not_after:
        return lapsed
    return max(1, min(HOUR, (last.not_after - renewal_from(last)) // LOOKS, (last.not_after - now) // 2))


def time_left(chain: Chain, now: int) -> str | None:
    """How long a chain lasts, for people, from when on it is worth a word; None before that."""
    last = chain.last
    if last is None or now < max(renewal_from(last), last.not_after - WARN_DAYS * DAY):
        return None
    left = last.not_after - now
    if left < 0:
        return "ended"
    return f"ends in {left // DAY} days" if left >= 2 * DAY else f"ends in {left // HOUR} hours"
