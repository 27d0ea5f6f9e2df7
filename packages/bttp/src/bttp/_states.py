"""The states of a link, as data. This module alone says which step leads where, and which frames a state takes.

The core moves only through `step`. A frame that the state does not take is a violation, whatever its payload.
"""

from __future__ import annotations

import enum

from ._frames import FrameKind
from .errors import LocalProtocolError


class State(enum.Enum):
    """Where a link stands."""

    PREFACE = "waits for the client's certificate"  #: servers only
    HANDSHAKE = "TLS handshake"
    HELLO = "waits for the peer's HELLO"
    PROOF = "waits for the peer's AUTH frames"
    DECISION = "the peer is proven; this side decides"
    ACCEPTANCE = "waits for the server's decision"  #: clients only
    OPEN = "open"
    DRAINING = "no new calls; those under way finish"
    CLOSED = "closed"


class Step(enum.Enum):
    """What moves a link on."""

    PREFACE_READ = enum.auto()
    TLS_DONE = enum.auto()
    HELLO_READ = enum.auto()
    PROVEN = enum.auto()  #: every announced AUTH frame was verified
    ADMITTED = enum.auto()  #: a client took the server
    ACCEPTED = enum.auto()  #: the server took the client
    DRAIN = enum.auto()  #: GOAWAY sent or received
    CLOSE = enum.auto()


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.PREFACE, Step.PREFACE_READ): State.HANDSHAKE,
    (State.HANDSHAKE, Step.TLS_DONE): State.HELLO,
    (State.HELLO, Step.HELLO_READ): State.PROOF,
    (State.PROOF, Step.PROVEN): State.DECISION,
    (State.DECISION, Step.ADMITTED): State.ACCEPTANCE,
    (State.DECISION, Step.ACCEPTED): State.OPEN,
    (State.ACCEPTANCE, Step.ACCEPTED): State.OPEN,
    (State.OPEN, Step.DRAIN): State.DRAINING,
    (State.DRAINING, Step.DRAIN): State.DRAINING,
    **{(state, Step.CLOSE): State.CLOSED for state in State},
}

_LAST_WORDS = frozenset({FrameKind.REFUSE, FrameKind.VIOLATION})
_TALK = frozenset(FrameKind) - {FrameKind.HELLO}

#: Which frames a state takes. States that are not named take none.
FRAMES: dict[State, frozenset[FrameKind]] = {
    State.HELLO: _LAST_WORDS | {FrameKind.HELLO},
    State.PROOF: _LAST_WORDS | {FrameKind.AUTH},
    State.ACCEPTANCE: _LAST_WORDS | {FrameKind.ACCEPT},
    State.OPEN: _TALK,
    State.DRAINING: _TALK,
}

TALKING = frozenset({State.OPEN, State.DRAINING})


def step(state: State, what: Step) -> State:
    """The next state. Raises LocalProtocolError where the table has none."""
    try:
        return TRANSITIONS[state, what]
    except KeyError:
        raise LocalProtocolError(f"a link that is {state.name} ({state.value}) cannot do {what.name}") from None


def diagram() -> str:
    """The table as lines of text, as the documents show it."""
    lines = [f"{old.name} --{what.name}--> {new.name}" for (old, what), new in TRANSITIONS.items()]
    return "\n".join(line for line in lines if "--CLOSE-->" not in line) + "\nevery state --CLOSE--> CLOSED\n"
