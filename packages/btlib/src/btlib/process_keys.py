"""Process keys: what signs for a process whose identity is in a chip, where one signature takes tens of milliseconds.

    chain of the identity ─ one more writecap ─▶ keys of the process        WRITE only, the same path and scope,
                                                                            not to be delegated, for some hours

The chip signs that writecap when the process first writes under a chain, and again every few hours; everything else is
signed by keys that are made at start, live in this process's memory and die with it. Who revokes the identity revokes
them too: it stands in their chain. Links and grants are still signed by the identity itself.

Not pure: new keys need randomness. Time is an argument.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import replace

import msgspec

from .errors import CredentialError
from .identity import Identity
from .key_pairs import KeyPair
from .public_keys import PublicKeys
from .signing import Signer
from .writecaps import MAX_CAPS, Chain, Rights, Writecap, issue_writecap

LIFETIME = 12 * 3600  #: seconds that one certificate lasts: a day's outage of the chip is seen, a stolen key soon dead
RENEWAL = LIFETIME // 2  #: after this time it is made anew, so that there are hours to repair what is in the way
CLOCK_SKEW = 300  #: seconds by which clocks of one domain may differ: writecaps begin that much earlier

_SERIAL_SIZE = 16


class Certified(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to write as: the signer, its chain, and when to ask again (unix seconds)."""

    signer: Signer
    chain: Chain
    issued: int | None  #: None: it is the identity itself, for as long as its own chain lasts

    @property
    def public(self) -> PublicKeys:
        return self.signer.public

    def is_due(self, now: int) -> bool:
        """Whether it should be made anew, because it ages or because the clock was put back."""
        return self.issued is not None and not self.issued - CLOCK_SKEW <= now < self.issued + RENEWAL

    def is_valid(self, now: int) -> bool:
        """Whether a verifier would take it."""
        last = self.chain.last
        return last is None or last.not_before <= now <= last.not_after


class ProcessKeys:
    """Keys of this process alone, and the certificates that an identity gave them. Thread-safe."""

    def __init__(self, owner: Signer) -> None:
        self._owner = owner
        self._keys = KeyPair.generate(owner.public.suite)  # what the identity promises, its writes keep
        self._certified: dict[bytes, Certified] = {}
        self._lock = threading.Lock()

    def certify(self, chain: Chain, now: int) -> Certified:
        """Whom to write as under a chain of the identity: these keys, or the identity where it may not delegate.

        Raises CredentialError where a certificate is due, the chip does not answer and the last one has run out.
        """
        last = chain.last
        if last is None or not (last.may_delegate and last.rights & Rights.WRITE and len(chain.caps) < MAX_CAPS):
            return Certified(signer=self._owner, chain=chain, issued=None)
        with self._lock:
            known = self._certified.get(chain.id)
            if known is None or known.is_due(now):
                known = self._certified[chain.id] = self._renewed(chain, last, known, now)
            return known

    def _renewed(self, chain: Chain, last: Writecap, known: Certified | None, now: int) -> Certified:
        try:
            return self._issue(chain, last, now)
        except CredentialError:
            if known is None or not known.is_valid(now):
                raise
            return known

    def _issue(self, chain: Chain, last: Writecap, now: int) -> Certified:
        extended = issue_writecap(
            self._owner,
            chain,
            subject=self._keys.public.principal,
            path=last.block_path,
            scope=last.scope,
            rights=Rights.WRITE,
            not_before=max(last.not_before, now - CLOCK_SKEW),
            not_after=min(last.not_after, now + LIFETIME),
            may_delegate=False,
            serial=secrets.token_bytes(_SERIAL_SIZE),
        )
        return Certified(signer=self._keys, chain=extended, issued=now)

    def __repr__(self) -> str:
        return f"ProcessKeys({self._keys.public!r})"


def for_process(identity: Identity) -> Identity:
    """The identity for a process that goes on for a while; one whose keys are in memory needs no others."""
    if isinstance(identity.signer, KeyPair):
        return identity
    return replace(identity, process_keys=ProcessKeys(identity.signer))
