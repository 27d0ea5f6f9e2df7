"""A process with a runtime that offers the service `ledger`: arguments are its name and the endpoint of the store."""

from __future__ import annotations

import os
import sys

import anyio
import bttp
from btfproto.opening import store_at
from btfproto.store import BlockChange, Commit, Committed, Found, HeadWant, Store
from btfsd.leases import StoreLeases
from btlib.kinds import Kind
from btlib.testing import make_domain_identities
from btrun import Actor, Ask, RunError, Runtime, handle
from btrun.services import Single
from btserde import U64

DOMAIN = make_domain_identities("nas", "a", "b", "teller")
SERVER = DOMAIN.path.child("hosts").child("nas").child("btfsd")
SCOPE = DOMAIN.path.child("apps").child("bank")
BLOCK = b"the ledger block"
LEASE_SECONDS = 3.0  #: of which a loaded machine does not sleep through two thirds


class Enter(Ask[tuple[str, U64]], frozen=True):
    """Add an entry to the ledger; who did it, and under which fence."""

    deposit: str


class Ledger(Actor):
    """Keeps everything in the store, and nothing in itself."""

    def __init__(self, name: str, store: Store, leases: StoreLeases, *, fence: int) -> None:
        self.name = name
        self.store = store
        self.leases = leases
        self.fence = fence

    @handle
    def enter(self, message: Enter) -> tuple[str, int]:
        found = self.store.read_heads([HeadWant(BLOCK)])[0]
        version, before = (found.head.version, found.head.signed) if isinstance(found, Found) else (0, b"")
        entry = f"{message.deposit}@{self.fence} ".encode()
        change = BlockChange(block=BLOCK, expected=version, version=version + 1, signed=before + entry)
        fences = [self.leases.fence("ledger", self.fence)]
        answer = self.store.commit(Commit(request=os.urandom(16), changes=[change], fences=fences))
        if not isinstance(answer, Committed):
            raise RunError(f"{self.name} is fenced off: {answer}", kind=Kind.STALE)
        return self.name, self.fence


async def main(name: str, endpoint: str) -> None:
    store = store_at(endpoint, DOMAIN[name], SERVER)
    leases = StoreLeases(store, SCOPE)
    async with Runtime(DOMAIN[name], SCOPE.child(name)) as rt:
        rt.service("ledger", Ledger, name, store, leases, single=Single(leases, seconds=LEASE_SECONDS))
        async with bttp.serve(["127.0.0.1:0"], DOMAIN[name], rt.router, roots=[DOMAIN.principal]) as server:
            print(server.endpoints[0], flush=True)
            await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
