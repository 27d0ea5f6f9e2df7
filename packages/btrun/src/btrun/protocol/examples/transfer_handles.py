"""Handles of Transfer: what each role may do in each of its states.

Generated from btrun.protocol.examples.transfer; do not edit. To make it again:
bt protocol handles btrun.protocol.examples.transfer:Transfer
"""

# fmt: off
# ruff: noqa

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple, overload

from msgspec import Struct

import btrun.protocol.examples.transfer as declared
from btrun.protocol import Ended, Handle, Side, Taking

FINGERPRINT: Final = 0x2D25639CC71B5E47


class ClientReady(Handle):
    """As the client: the client asks for a transfer, or leaves."""

    state: ClassVar[str] = "ready"

    __slots__ = ()

    @overload
    def send(self, message: declared.Ask) -> Taking[ClientAsked]: ...

    @overload
    def send(self, message: declared.Leave) -> Taking[Ended]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class ClientAsked(Handle):
    """As the client: the bank looks whether the money is there."""

    state: ClassVar[str] = "asked"

    __slots__ = ()

    class Held(NamedTuple):
        message: declared.Held
        then: ClientHeld

    class Refused(NamedTuple):
        message: declared.Refused
        then: ClientReady

    def receive(self) -> Taking[Held | Refused]:
        return self._receive()


class ClientHeld(Handle):
    """As the client: the amount is set aside until the client decides."""

    state: ClassVar[str] = "held"

    __slots__ = ()

    @overload
    def send(self, message: declared.Commit) -> Taking[ClientCommitting]: ...

    @overload
    def send(self, message: declared.Abort) -> Taking[ClientAborting]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class ClientCommitting(Handle):
    """As the client: the bank moves the amount."""

    state: ClassVar[str] = "committing"

    __slots__ = ()

    class Moved(NamedTuple):
        message: declared.Moved
        then: ClientReady

    def receive(self) -> Taking[Moved]:
        return self._receive()


class ClientAborting(Handle):
    """As the client: the bank gives the amount back."""

    state: ClassVar[str] = "aborting"

    __slots__ = ()

    class Released(NamedTuple):
        message: declared.Released
        then: ClientReady

    def receive(self) -> Taking[Released]:
        return self._receive()


class BankReady(Handle):
    """As the bank: the client asks for a transfer, or leaves."""

    state: ClassVar[str] = "ready"

    __slots__ = ()

    class Ask(NamedTuple):
        message: declared.Ask
        then: BankAsked

    class Leave(NamedTuple):
        message: declared.Leave
        then: Ended

    def receive(self) -> Taking[Ask | Leave]:
        return self._receive()


class BankAsked(Handle):
    """As the bank: the bank looks whether the money is there."""

    state: ClassVar[str] = "asked"

    __slots__ = ()

    @overload
    def send(self, message: declared.Held) -> Taking[BankHeld]: ...

    @overload
    def send(self, message: declared.Refused) -> Taking[BankReady]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class BankHeld(Handle):
    """As the bank: the amount is set aside until the client decides."""

    state: ClassVar[str] = "held"

    __slots__ = ()

    class Commit(NamedTuple):
        message: declared.Commit
        then: BankCommitting

    class Abort(NamedTuple):
        message: declared.Abort
        then: BankAborting

    def receive(self) -> Taking[Commit | Abort]:
        return self._receive()


class BankCommitting(Handle):
    """As the bank: the bank moves the amount."""

    state: ClassVar[str] = "committing"

    __slots__ = ()

    def send(self, message: declared.Moved) -> Taking[BankReady]:
        return self._send(message)


class BankAborting(Handle):
    """As the bank: the bank gives the amount back."""

    state: ClassVar[str] = "aborting"

    __slots__ = ()

    def send(self, message: declared.Released) -> Taking[BankReady]:
        return self._send(message)


as_client: Final = Side(
    declared.Transfer,
    "client",
    ClientReady,
    (ClientAsked, ClientHeld, ClientCommitting, ClientAborting),
    fingerprint=FINGERPRINT,
)

as_bank: Final = Side(
    declared.Transfer,
    "bank",
    BankReady,
    (BankAsked, BankHeld, BankCommitting, BankAborting),
    fingerprint=FINGERPRINT,
)
