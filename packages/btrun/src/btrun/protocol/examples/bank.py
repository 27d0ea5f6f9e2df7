"""Both sides of `transfer` as programs: a bank that holds accounts, and a client that pays when the fee is fair."""

from __future__ import annotations

from btrun.protocol import Channel

from .transfer import Abort, Ask, Commit, Held, Leave, Moved, Refused, Released
from .transfer_handles import (
    BankAborting,
    BankCommitting,
    BankHeld,
    BankReady,
    ClientAsked,
    ClientReady,
    as_bank,
    as_client,
)

FEE = 1


class Bank:
    """Accounts by name. What is held belongs to nobody until the client decides."""

    def __init__(self, accounts: dict[str, int]) -> None:
        self.accounts = accounts

    async def serve(self, channel: Channel) -> None:
        """One client's session. An amount that is held when the session breaks goes back."""
        async with as_bank(channel) as ready:
            while True:
                match await ready.receive():
                    case BankReady.Leave():
                        return
                    case BankReady.Ask(ask, asked):
                        refusal = self._refusal(ask)
                        if refusal is not None:
                            ready = await asked.send(Refused(reason=refusal))
                        else:
                            self.accounts[ask.source] -= ask.amount + FEE
                            ready = await self._decide(ask, await asked.send(Held(fee=FEE)))

    def _refusal(self, ask: Ask) -> str | None:
        if ask.source not in self.accounts or ask.target not in self.accounts:
            return "there is no such account"
        return "there is not enough" if self.accounts[ask.source] < ask.amount + FEE else None

    async def _decide(self, ask: Ask, held: BankHeld) -> BankReady:
        giving_back: BankAborting | None = None
        moving: BankCommitting | None = None
        try:
            match await held.receive():
                case BankHeld.Commit(_, committing):
                    moving = committing
                case BankHeld.Abort(_, aborting):
                    giving_back = aborting
        finally:
            if moving is None:
                self.accounts[ask.source] += ask.amount + FEE
        if giving_back is not None:
            return await giving_back.send(Released())
        assert moving is not None
        self.accounts[ask.target] += ask.amount
        return await moving.send(Moved(balance=self.accounts[ask.source]))


async def pay(channel: Channel, *asks: Ask, most: int = FEE) -> list[Moved | Refused | Released]:
    """Ask for each transfer in turn; abort where the fee is more than `most`."""
    outcomes: list[Moved | Refused | Released] = []
    async with as_client(channel) as ready:
        for ask in asks:
            outcome, ready = await _one(ready, ask, most)
            outcomes.append(outcome)
        await ready.send(Leave())
    return outcomes


async def _one(ready: ClientReady, ask: Ask, most: int) -> tuple[Moved | Refused | Released, ClientReady]:
    asked = await ready.send(ask)
    match await asked.receive():
        case ClientAsked.Refused(refused, ready):
            return refused, ready
        case ClientAsked.Held(offer, held):
            if offer.fee > most:
                return await (await held.send(Abort())).receive()
            return await (await held.send(Commit())).receive()
