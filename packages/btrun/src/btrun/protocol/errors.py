"""The errors of protocols: whose fault, in which protocol, role and state, and what was allowed there.

The fault of our own program is a `LocalProtocolError`, that of the other side a `RemoteProtocolError`; a declaration
that cannot work is a `DeclarationError` when its class is made. All are `RunError`s, of the kind PROTOCOL unless said
otherwise.
"""

from __future__ import annotations

from typing import ClassVar

from btlib import Kind, Principal
from msgspec import Struct

from .. import errors as run


class ProtocolError(run.RunError):
    """Root of the errors of protocols and their sessions."""

    default_kind: ClassVar[Kind] = Kind.PROTOCOL


class DeclarationError(ProtocolError, run.DeclarationError):
    """A protocol cannot be used as declared: the fault of its author. `findings` has one sentence each."""

    default_kind = Kind.INVALID

    def __init__(self, protocol: str, findings: tuple[str, ...]) -> None:
        super().__init__(f"the protocol {protocol} cannot be used: " + "; ".join(findings))
        self.protocol = protocol
        self.findings = findings


class Violation(Struct, frozen=True, kw_only=True):
    """What a monitor saw: everything that one needs to find the program that is wrong."""

    protocol: str
    role: str  #: the role of whoever broke the protocol
    state: str  #: the state of the session, as the side that noticed names it
    expected: tuple[str, ...]  #: the labels that the role may send in that state; empty where it may send nothing
    got: str  #: the label that was sent
    number: int  #: the message's number in the session, counted from 1 over both directions
    principal: Principal | None  #: who proved to be behind the role; None where it is our own program
    detail: str = ""  #: why a message with an allowed label was refused
    session: str = ""  #: the number of a session among more than two, in hexadecimal

    def sentence(self) -> str:
        """The violation as one sentence, for the errors of both sides."""
        allowed = " or ".join(self.expected) or "nothing"
        who = "this program" if self.principal is None else str(self.principal)
        fault = f": {self.detail}" if self.detail else f", where the {self.role} may send {allowed}"
        return (
            f"{who}, as the {self.role} of {self.protocol}, sent {self.got} in the state {self.state}{fault}"
            f" (message {self.number} of the session{self.session and ' ' + self.session})"
        )


class LocalProtocolError(ProtocolError):
    """Our own program used a session wrongly; nothing left this process, and the session is where it was."""


class LocalViolationError(LocalProtocolError):
    """Our own program tried to send what its state does not allow. A type checker would have said so."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.sentence())
        self.violation = violation


class ConsumedHandleError(LocalProtocolError):
    """A handle was used twice; each step consumes it and gives the handle of the next state."""


class RemoteProtocolError(ProtocolError):
    """The other side did what ends this session. Nothing can be sent or received in it any more."""


class ViolationError(RemoteProtocolError):
    """The other side sent what its state does not allow. The session is over, and the other side is told why."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.sentence())
        self.violation = violation


class SessionEndedError(RemoteProtocolError):
    """The other side ended the session before its end: it left, failed, or says that we broke the protocol."""


class VersionError(RemoteProtocolError):
    """The two sides have no version of the protocol in common. Compare them with `bt protocol diff`."""

    default_kind = Kind.NOT_SUPPORTED


class JoiningError(RemoteProtocolError):
    """The sides of a session among more than two do not mean the same session, or not the same roles or principals."""


class StateTimeoutError(RemoteProtocolError):
    """A state's time-out passed before its message came. The session is over."""

    default_kind = Kind.DEADLINE
