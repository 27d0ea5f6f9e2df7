"""Process keys: what signs for a process whose identity is in a chip, where one signature takes tens of milliseconds.

    chain of the identity ─ one more writecap ─▶ keys of the process

                to write        the chain's own path and scope, WRITE
                to serve        the path where it serves, WRITE and EXECUTE
                both            not to be delegated, for some hours

The chip signs that writecap when the process first uses a chain, and again every few hours; everything else is signed
by keys that are made at start, live in this process's memory and die with it. Who revokes the identity revokes them
too: it stands in their chain. A client's links and all grants are still signed by the identity itself, and only it
opens readcaps.

Not pure: new keys need randomness. Time is an argument.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from dataclasses import replace

import msgspec

from .clocks import CLOCK_SKEW
from .errors import BlocktreeError
from .identity import Identity
from .key_pairs import KeyPair
from .paths import BlockPath
from .public_keys import PublicKeys
from .signing import Signer
from .writecaps import MAX_CAPS, SERVE, Chain, Rights, Writecap, issue_writecap

LIFETIME = 36 * 3600  #: seconds that one certificate lasts: for who is a day ahead too, and a stolen key is soon dead
RENEWAL = 6 * 3600  #: after this time it is made anew, so that more than a day is always left

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


class _Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate is to say."""

    chain: Chain
    last: Writecap
    right: Rights
    path: BlockPath


class ProcessKeys:
    """Keys of this process alone, and the certificates that an identity gave them. Thread-safe."""

    def __init__(self, owner: Signer) -> None:
        self._owner = owner
        self.keys = KeyPair.generate(owner.public.suite)  # what the identity promises, its writes keep
        self._certified: dict[tuple[bytes, Rights, BlockPath | None], Certified] = {}
        self._lock = threading.Lock()

    def certify(self, chain: Chain, now: int, right: Rights = Rights.WRITE, path: BlockPath | None = None) -> Certified:
        """Whom to act as under a chain of the identity: these keys, or the identity where it may not delegate.

        `path` narrows it; it lies at or below that of the chain.

        Raises what the identity's signer raises, where a certificate is due and the last one has run out.
        """
        last = chain.last
        if last is None or not (last.may_delegate and right in Rights(last.rights) and len(chain.caps) < MAX_CAPS):
            return Certified(signer=self._owner, chain=chain, issued=None)
        with self._lock:
            key = (chain.id, right, path)
            known = self._certified.get(key)
            if known is None or known.is_due(now):
                terms = _Terms(chain=chain, last=last, right=right, path=path or last.block_path)
                known = self._certified[key] = self._renewed(terms, known, now)
            return known

    def serving(self, chains: Iterable[Chain], path: BlockPath, now: int) -> tuple[Chain, ...]:
        """The chains with which these keys may serve at a path as the identity may. Raises as `certify`."""
        above = [chain for chain in chains if chain.last is not None and chain.last.block_path.is_prefix_of(path)]
        lasting = [chain for chain in above if chain.last is not None and chain.last.not_after >= now]
        certified = [self.certify(chain, now, SERVE, path) for chain in lasting or above]
        return tuple(each.chain for each in certified if each.signer is self.keys)

    def _renewed(self, terms: _Terms, known: Certified | None, now: int) -> Certified:
        try:
            return self._issue(terms, now)
        except BlocktreeError:
            if known is None or not known.is_valid(now):
                raise
            return known

    def _issue(self, terms: _Terms, now: int) -> Certified:
        last = terms.last
        extended = issue_writecap(
            self._owner,
            terms.chain,
            subject=self.keys.public.principal,
            path=terms.path,
            scope=last.scope,
            rights=terms.right,
            not_before=max(last.not_before, now - CLOCK_SKEW),
            not_after=min(last.not_after, now + LIFETIME),
            may_delegate=False,
            serial=secrets.token_bytes(_SERIAL_SIZE),
        )
        return Certified(signer=self.keys, chain=extended, issued=now)

    def __repr__(self) -> str:
        return f"ProcessKeys({self.keys.public!r})"


def for_process(identity: Identity) -> Identity:
    """The identity for a process that goes on for a while; one whose keys are in memory needs no others."""
    if isinstance(identity.signer, KeyPair):
        return identity
    return replace(identity, process_keys=ProcessKeys(identity.signer))


def server_identity(identity: Identity, path: BlockPath, now: int) -> Identity:
    """As whom a server at `path` speaks on its links: by its process keys, so that no stranger can keep the chip busy.

    It holds for some hours; ask again before. An identity without such keys, or without a chain that it may delegate,
    speaks for itself. Raises as `ProcessKeys.certify`.
    """
    keys = identity.process_keys
    chains = () if keys is None else keys.serving(identity.chains, path, now)
    if keys is None or not chains:
        return identity
    return Identity(signer=keys.keys, opener=keys.keys, chains=chains)
