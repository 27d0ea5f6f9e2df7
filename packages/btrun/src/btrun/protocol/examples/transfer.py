"""A bank transfer with abort: the amount is held before it moves, and the client decides."""

from __future__ import annotations

from btserde import U64
from msgspec import Struct

from btrun.protocol import END, Protocol, Role, State


class Ask(Struct, frozen=True, kw_only=True):
    """Please hold `amount` of `source` for `target`."""

    source: str
    target: str
    amount: U64


class Leave(Struct, frozen=True, kw_only=True):
    """No more transfers."""


class Held(Struct, frozen=True, kw_only=True):
    """The amount is set aside; `fee` is what the transfer costs."""

    fee: U64


class Refused(Struct, frozen=True, kw_only=True):
    """No transfer: the account does not exist, or has too little."""

    reason: str


class Commit(Struct, frozen=True, kw_only=True):
    """Move it."""


class Abort(Struct, frozen=True, kw_only=True):
    """Give it back."""


class Moved(Struct, frozen=True, kw_only=True):
    """The target has it; `balance` is what the source has left."""

    balance: U64


class Released(Struct, frozen=True, kw_only=True):
    """The source has it again."""


class Transfer(Protocol):
    """Money moves from one account to another, or nothing happens."""

    client = Role("wants money moved")
    bank = Role("keeps the accounts")

    ready = State("the client asks for a transfer, or leaves")
    asked = State("the bank looks whether the money is there")
    held = State("the amount is set aside until the client decides", timeout=60)
    committing = State("the bank moves the amount")
    aborting = State("the bank gives the amount back")

    ready.lets(client, {Ask: asked, Leave: END})
    asked.lets(bank, {Held: held, Refused: ready})
    held.lets(client, {Commit: committing, Abort: aborting})
    committing.lets(bank, {Moved: ready})
    aborting.lets(bank, {Released: ready})
