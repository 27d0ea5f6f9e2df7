"""Which keys an agent holds, for how long, and what it does with them. Pure: time is an argument.

empty ── hold ──► holding ── idle, longest, Lock ──► over          from `over` nothing leads back: a new process begins
"""

from __future__ import annotations

from ..errors import BlocktreeError, CredentialError
from ..identity import Identity
from ..kinds import Kind
from ..labels import Label
from ..principals import Principal
from ._messages import Failed, Held, Identified, Identify, Open, Opened, Reply, Sign, Signed
from ._times import Times


class Keeper:
    """Identities in memory. `now` is in seconds of any clock that goes on while the machine sleeps."""

    def __init__(self, times: Times) -> None:
        self.times = times
        self._held: dict[Principal, tuple[tuple[str, ...], Identity]] = {}
        self._begun = 0.0
        self._used = 0.0

    def hold(self, petname: str, identity: Identity, now: float) -> None:
        """Keep these keys; the time of all that are held goes on from the first.

        The same keys in a second domain, as a guest's, hold the chains of both.
        """
        if not self._held:
            self._begun = now
        petnames, known = self._held.get(identity.principal, ((), identity))
        kept = tuple(one for one in petnames if one != petname)
        self._held[identity.principal] = (*kept, petname), identity.with_chains(*(known.chains if kept else ()))
        self._used = now

    def held(self) -> list[Held]:
        """Whose keys are here, by petname."""
        found = [Held(name, principal) for principal, (petnames, _) in self._held.items() for name in petnames]
        return sorted(found, key=lambda held: held.petname)

    def deadline(self) -> float | None:
        """When the keys have to go, if nobody uses them; None where there are none."""
        if not self._held:
            return None
        return min(self._used + self.times.idle, self._begun + self.times.longest)

    def over(self, now: float) -> bool:
        """Whether the keys had their time."""
        deadline = self.deadline()
        return deadline is not None and now >= deadline

    def use(self, request: Identify | Sign | Open, now: float) -> Reply:
        """Do something with keys that are held. Never raises BlocktreeError: a failure is an answer."""
        try:
            return self._use(request, now)
        except BlocktreeError as error:
            return Failed(int(error.kind), error.message, error.hint)

    def _use(self, request: Identify | Sign | Open, now: float) -> Reply:
        identity = self._find(request.principal, now)
        self._used = now
        match request:
            case Identify():
                return Identified(identity.public, list(identity.chains))
            case Sign():
                return Signed(identity.signer.sign(_label(request.label), request.message))
            case Open():
                return Opened(identity.opener.open(_label(request.label), request.info, request.sealed))

    def _find(self, principal: Principal, now: float) -> Identity:
        if self.over(now) or principal not in self._held:
            raise CredentialError(
                f"the agent does not hold the keys of {principal}",
                kind=Kind.NOT_FOUND,
                hint="unlock them with: bt agent start",
            )
        return self._held[principal][1]

    def __repr__(self) -> str:
        return f"Keeper({self.held()})"


def _label(raw: bytes) -> Label:
    try:
        return Label(raw)
    except ValueError:
        raise CredentialError("the agent was asked to sign for an unknown purpose", kind=Kind.INVALID) from None
